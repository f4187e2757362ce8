// Elements, numbers and times, as the page writes them.

/** An element with attributes and children; text is always text, never markup. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") node.addEventListener("click", value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** A whole number for people. */
export const count = (n) => Number(n).toLocaleString("en");

/** So many of something that takes an s. */
export const many = (n, what) => `${count(n)} ${what}${n === 1 ? "" : "s"}`;

/** Milliseconds for people. */
export function span(ms) {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

/** Changes the text only if it is another, so that nothing is read out again. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** Makes these the children of a box, in this order. Only what has moved is moved, and the focus moves along. */
export function arrange(box, items) {
  const focus = document.activeElement;
  items.forEach((item, at) => { if (box.children[at] !== item) box.insertBefore(item, box.children[at] ?? null); });
  while (box.children.length > items.length) box.lastChild.remove();
  if (box.contains(focus) && focus !== document.activeElement) focus.focus({ preventScroll: true });
}
