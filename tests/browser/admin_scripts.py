"""What tests ask of the administrators' page inside the browser."""

STORES = """JSON.stringify([
  Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, location.href, history.state,
  document.title, window.name,
])"""
"""Everywhere that a page could leave something."""

STRANGE = """[...document.querySelectorAll(
  "main :is(script, iframe, img, object, embed, link, style, base, meta, video, audio, a:not([href^='#/'])," +
  "form form," +
  "[onerror], [onload], [onclick], [onfocus])",
)].map((found) => found.outerHTML)"""
"""Elements that this page never makes."""

NAMELESS = """() => {
  const visible = (found) => found.checkVisibility();
  const labelled = (found) => (found.labels?.length ?? 0) > 0 || found.getAttribute("aria-label");
  const named = (found) => labelled(found) || found.textContent.trim();
  const all = (selector) => [...document.querySelectorAll(selector)];
  return [
    ...all("input, select").filter((found) => visible(found) && !labelled(found)),
    ...all("button, summary").filter((found) => visible(found) && !named(found)),
    ...all("svg:not([aria-hidden])").filter((svg) => svg.getAttribute("role") !== "img" || !labelled(svg)),
    ...all("table").filter((table) => !table.caption?.textContent),
    ...all("th").filter((head) => !head.scope),
    ...all("[id]").filter((found) => all(`#${CSS.escape(found.id)}`).length > 1),
  ].map((found) => found.outerHTML.slice(0, 120));
}"""
"""What somebody who does not see the page could not tell apart, and ids that are there twice."""

SPOKEN = """() => {
  const foreign = "bdi, code, .code-cell, .tick, title, svg, option";
  return [...document.querySelectorAll("main *, .bar *")]
    .filter((found) => found.checkVisibility() && found.children.length === 0 && !found.closest(foreign))
    .map((found) => found.textContent.trim());
}"""
"""The page's own words, without names and figures."""

OVERFLOWING = """() => {
  const wide = document.documentElement.scrollWidth > window.innerWidth;
  const scrolls = (found) => found.closest(".table-frame, .visually-hidden, .skip, .views");
  const out = [...document.querySelectorAll("body *")]
    .filter((found) => !scrolls(found) && found.getBoundingClientRect().right > window.innerWidth + 1);
  return [...(wide ? ["the page"] : []), ...out.map((found) => found.outerHTML.slice(0, 100))];
}"""

TOO_SMALL = """() => [...document.querySelectorAll(
    "button, select, input:not([type=checkbox]), summary, label.check",
  )]
  .filter((found) => found.checkVisibility())
  .map((found) => [found.getBoundingClientRect(), found.id || found.textContent])
  .filter(([box]) => box.height < 43.5 || box.width < 43.5)
  .map(([box, name]) => `${name} ${box.width} × ${box.height}`)"""
"""What a finger could miss: 44 px, WCAG 2.5.5."""

FAINT = r"""() => {
  const parse = (text) => text.match(/[\d.]+/g).map(Number);
  const linear = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (found) => {
    for (let each = found; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor);
  };
  const written = (found) => [...found.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const ratio = (found) => {
    const drawn = found instanceof SVGElement;
    const style = getComputedStyle(found);
    const a = light(parse(drawn ? style.fill : style.color));
    const b = light(behind(drawn ? found.closest("div") : found));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  return [...document.querySelectorAll("main *, .bar *")]
    .filter((found) => found.checkVisibility() && !found.closest(".visually-hidden, title") && written(found))
    .map((found) => [ratio(found), found.textContent.slice(0, 40)])
    .filter(([contrast]) => contrast < 4.5)
    .map(([contrast, text]) => `${contrast.toFixed(2)} ${text}`);
}"""
"""Text with less contrast than 4.5 to 1, WCAG 1.4.3."""
