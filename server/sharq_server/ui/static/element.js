// Elements from data, and the least change that makes what is shown equal to them.
//
// `el("a", {href, class: "x", onclick}, …children)`: children are nodes, texts and numbers; null and false are
// none, and lists are taken apart. Data becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "path", "rect", "line", "polyline", "circle", "text", "title"]);

const FIELDS = new Set(["INPUT", "SELECT"]);

export function el(name, properties, ...children) {
  const node = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  const handlers = {};
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      node[key] = value;
      handlers[key] = value;
    } else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.handlers = handlers;
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(node, child);
    else if (child instanceof Node) node.append(child);
    else if (child !== null && child !== undefined && child !== false) node.append(String(child));
  }
}

// Make the children of `place` equal to these. What stays keeps its node, and with it the focus, what was typed and
// what was selected. Among its neighbours a node is known by its attribute `data-key`; one with `data-own` is filled
// by somebody else and left alone.
export function show(place, ...children) {
  const wanted = document.createDocumentFragment();
  add(wanted, children);
  merge(place, wanted);
}

function merge(place, wanted) {
  const keyed = new Map();
  for (const child of place.childNodes) {
    const key = keyOf(child);
    if (key) keyed.set(key, child);
  }
  let at = place.firstChild;
  for (const made of [...wanted.childNodes]) {
    const key = keyOf(made);
    let had = key ? keyed.get(key) : at;
    if (had && !key && keyOf(had)) had = null;
    if (had && alike(had, made)) {
      if (had === at) at = at.nextSibling;
      else place.insertBefore(had, at);
      update(had, made);
    } else {
      place.insertBefore(made, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function alike(had, made) {
  return had.nodeType === made.nodeType && had.nodeName === made.nodeName && keyOf(had) === keyOf(made);
}

function update(had, made) {
  if (had.nodeType !== Node.ELEMENT_NODE) {
    if (had.data !== made.data) had.data = made.data;
    return;
  }
  for (const { name } of [...had.attributes]) {
    if (!made.hasAttribute(name) && !(name === "open" && had.nodeName === "DETAILS")) had.removeAttribute(name);
  }
  for (const { name, value } of made.attributes) {
    if (had.getAttribute(name) !== value) had.setAttribute(name, value);
  }
  for (const key of Object.keys(had.handlers ?? {})) {
    if (!(key in (made.handlers ?? {}))) had[key] = null;
  }
  Object.assign(had, made.handlers);
  had.handlers = made.handlers;
  // What is typed at the moment is the user's; elsewhere a field has the value that it is given.
  const value = FIELDS.has(had.nodeName) && had.type !== "checkbox" && had !== document.activeElement ? made.value : null;
  if (!made.hasAttribute("data-own")) merge(had, made);
  if (value !== null && had.value !== value) had.value = value;
}
