/**
 * As much of a document as the markdown renderer uses, and a count of what it is made to do: nodes made, characters
 * put into text, and nodes put into a place.
 */

export const work = { units: 0 };

globalThis.Node = class Node {
  parent = null;

  remove() {
    if (this.parent === null) return;
    const { children } = this.parent;
    const at = children.lastIndexOf(this);
    children.splice(at, 1);
    this.parent = null;
  }

  before(...nodes) {
    this.parent.insert(nodes, this.parent.children.lastIndexOf(this));
  }
};

class Text extends Node {
  constructor(data) {
    super();
    this.data = data;
    work.units += data.length + 1;
  }

  get textContent() {
    return this.data;
  }

  get html() {
    return this.data.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }
}

class Element extends Node {
  children = [];
  attributes = new Map();

  constructor(tag) {
    super();
    this.tag = tag;
    work.units += 1;
  }

  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }

  hasAttribute(name) {
    return this.attributes.has(name);
  }

  classList = {
    toggle: (name, on) => (on ? this.setAttribute("class", name) : this.attributes.delete("class")),
  };

  insert(nodes, at) {
    const made = nodes.map((node) => (node instanceof Node ? node : new Text(node)));
    for (const node of made) {
      node.remove();
      node.parent = this;
    }
    work.units += made.length;
    this.children.splice(at, 0, ...made);
  }

  append(...nodes) {
    this.insert(nodes, this.children.length);
  }

  replaceChildren(...nodes) {
    for (const child of this.children) child.parent = null;
    this.children = [];
    this.append(...nodes);
  }

  get textContent() {
    return this.children.map((child) => child.textContent).join("");
  }

  get html() {
    const attributes = [...this.attributes].sort().map(([name, value]) => ` ${name}="${value}"`).join("");
    return `<${this.tag}${attributes}>${this.children.map((child) => child.html).join("")}</${this.tag}>`;
  }
}

globalThis.document = {
  documentElement: new Element("html"),
  createElement: (tag) => new Element(tag),
  createElementNS: (_, tag) => new Element(tag),
};

export function makeElement() {
  return new Element("div");
}
