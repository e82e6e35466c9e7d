/** A box drawn over a picture by mouse or finger, or written as four numbers, to ask what is in it. */

import { field, h } from "../core/dom.js";
import { COLOURS, addBox, overlay, placeBox } from "./overlay.js";

const NONE = [0, 0, 0, 0];

/** `medium.box` is left, top, right, bottom as shares of the picture, or null. */
export function boxInput(picture, medium) {
  const { node, layer } = overlay(picture);
  layer.classList.add("grabbed");
  const rect = addBox(layer, medium.box ?? NONE, COLOURS[0]);
  const change = (box) => {
    medium.box = box;
    placeBox(rect, box ?? NONE);
  };
  const text = h("input", { type: "text", placeholder: "0.1, 0.2, 0.6, 0.8", value: medium.box?.join(", ") ?? "", oninput: () => change(read(text.value)) });
  let from = null;
  const at = (event) => {
    const area = layer.getBoundingClientRect();
    const share = (value, start, size) => Math.round(Math.min(1, Math.max(0, (value - start) / size)) * 1000) / 1000;
    return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
  };
  layer.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    layer.setPointerCapture(event.pointerId);
    from = at(event);
  });
  layer.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = at(event);
    const box = [Math.min(from[0], x), Math.min(from[1], y), Math.max(from[0], x), Math.max(from[1], y)];
    text.value = box.join(", ");
    change(read(text.value));
  });
  for (const end of ["pointerup", "pointercancel"]) layer.addEventListener(end, () => (from = null));
  return h("div", {}, node, field("Box to ask about", text, "left, top, right, bottom, 0 to 1; or drag"));
}

function read(text) {
  const numbers = text.split(/[,\s]+/).filter(Boolean).map(Number);
  const valid = numbers.length === 4 && numbers.every((value) => value >= 0 && value <= 1) && numbers[0] < numbers[2] && numbers[1] < numbers[3];
  return valid ? numbers : null;
}
