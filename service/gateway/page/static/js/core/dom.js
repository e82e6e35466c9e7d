/** Build DOM nodes without any HTML text: what a caller types is always text. */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] `on…` are listeners, `class`, `data-…`, `aria-…` and `role` attributes
 * @param {...(Node|string|null|undefined|false|0)} children
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) set(element, name, value);
  element.append(...children.filter(isShown));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name in element && !name.includes("-") && name !== "list" && name !== "role") element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Make these the children. A node that is there already stays as it is: its focus, its player, what a reader has read. */
export function show(parent, ...children) {
  const wanted = children.filter(isShown).map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  const stays = new Set(wanted);
  for (const node of [...parent.childNodes]) if (!stays.has(node)) node.remove();
  wanted.forEach((node, index) => {
    const there = parent.childNodes[index] ?? null;
    if (there !== node) parent.insertBefore(node, there);
  });
  return parent;
}

/** What a condition that does not hold leaves (null, false, 0) is no child. */
const isShown = (child) => child instanceof Node || typeof child === "string";

export function button(text, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, text);
}

/** A labelled control. */
export function field(label, control, hint = "") {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

/** A modal dialog, closed by Escape or its button; removed when closed. */
export function dialog(title, ...children) {
  const box = h("dialog", { "aria-label": title }, h("h2", {}, title), ...children);
  box.append(h("form", { method: "dialog", class: "row end" }, h("button", {}, "Close")));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

/** A message that screen readers announce. */
export function notice(text, kind = "error") {
  return h("p", { class: kind, role: kind === "error" ? "alert" : "status" }, text);
}
