"""Where things are on a page: what is cut off, what lies over what, what is too small."""

CUT_OFF = """() => {
  const cut = [];
  if (document.documentElement.scrollWidth > window.innerWidth) cut.push("the page scrolls sideways");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    const parent = text.parentElement;
    const shown = parent.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (!text.data.trim() || !shown || parent.closest(".visually-hidden, .skip, noscript, option, math, svg")) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const rects = [...range.getClientRects()].filter(({ width }) => width > 0);
    let edge = { left: 0, right: window.innerWidth };
    for (let at = parent; at !== document.body; at = at.parentElement) {
      const { overflowX, textOverflow, webkitLineClamp, clipPath, display } = getComputedStyle(at);
      if (clipPath !== "none") { edge = null; break; } // for screen readers only
      if (edge.width !== undefined) continue;
      const isShortened = textOverflow === "ellipsis" || webkitLineClamp !== "none";
      if (isShortened || ["auto", "scroll"].includes(overflowX)) { edge = null; break; } // on purpose
      if (!["inline", "contents"].includes(display)) edge = at.getBoundingClientRect();
    }
    if (edge !== null && rects.some(({ left, right }) => left < edge.left - 1.5 || right > edge.right + 1.5)) {
      cut.push(`${parent.localName}.${parent.className}: ${text.data.trim().slice(0, 50)}`);
    }
  }
  return cut;
}"""
"""Texts that are wider than what holds them, unless that scrolls or shortens them by itself."""

OVERLAPPING = """() => {
  const shown = (found) => found.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const open = document.querySelector("dialog[open]") ?? document.body;
  const controls = [...open.querySelectorAll("button, select, input:not([type=checkbox]), textarea, summary, a[href]")]
    .filter((found) => shown(found) && !found.closest(".prose, .skip, [inert]"));
  const layer = (found) => found.closest(".menu, #model-list, .toast, .dock, .topbar, .sidebar, dialog, main, .views");
  const within = (one, other) => one.contains(other) || other.contains(one);
  const over = [];
  controls.forEach((one, index) => {
    const a = one.getBoundingClientRect();
    for (const other of controls.slice(index + 1)) {
      const b = other.getBoundingClientRect();
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 2 && layer(one) === layer(other) && !within(one, other)) {
        over.push([one, other].map((found) => found.id || found.className).join(" over "));
      }
    }
  });
  return over;
}"""
"""Controls of the same part of the page that lie over each other."""

SMALL = """() => {
  const targets = [...document.querySelectorAll("button, select, summary, input, textarea, a[href], [role=option]")]
    .filter((found) => found.checkVisibility({ visibilityProperty: true }))
    .filter((found) => !found.closest(".prose p, .prose li, .skip"))
    .map((found) => ({ found, box: (found.closest("label") ?? found).getBoundingClientRect() }));
  const close = (one, other) => {
    const x = Math.max(other.left - one.left - one.width / 2, one.left + one.width / 2 - other.right, 0);
    const y = Math.max(other.top - one.top - one.height / 2, one.top + one.height / 2 - other.bottom, 0);
    return Math.hypot(x, y) < 12;
  };
  return targets
    .filter(({ box }) => box.width < 24 || box.height < 24)
    .filter((one) => targets.some((other) => other !== one && close(one.box, other.box)))
    .map(({ found, box }) => `${found.id || found.className || found.textContent}: ${box.width} x ${box.height}`);
}"""
"""Targets under 24 px with another less than 12 px from their middle (WCAG 2.5.8); links within a text are exempt."""
