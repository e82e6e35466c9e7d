/** Copying. `navigator.clipboard` exists on https and on this machine only; the old command works everywhere. */

import { button, h } from "./dom.js";

/** @param {() => string} read what to copy */
export function copyButton(read) {
  const element = button("Copy", async () => {
    element.textContent = (await copy(read())) ? "Copied" : "Not copied";
    setTimeout(() => (element.textContent = "Copy"), 2000);
  });
  return element;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text);
  }
}

/** All outside of an open dialog is inert, so that the field with the text has to be inside of it. */
function copyByCommand(text) {
  const before = document.activeElement;
  const field = h("textarea", { value: text, readOnly: true, class: "hidden", "aria-hidden": "true" });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}
