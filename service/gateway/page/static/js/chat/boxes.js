/** Things that an answer has found, drawn over the picture; and a box drawn by hand to ask about. */

import { h } from "../core/dom.js";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080"];
const SVG = "http://www.w3.org/2000/svg";

function place(rect, [left, top, right, bottom]) {
  const sizes = { x: left, y: top, width: right - left, height: bottom - top };
  for (const [name, value] of Object.entries(sizes)) rect.setAttribute(name, String(Math.round(value * 1000)));
}

/**
 * A box drawn over a picture by dragging, or written as four numbers, to ask "what is this".
 * @param {(box: [number, number, number, number]|null) => void} onchange shares of the picture
 */
export function boxInput(picture, onchange) {
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", "0 0 1000 1000");
  layer.setAttribute("preserveAspectRatio", "none");
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("stroke", COLOURS[0]);
  layer.append(rect);
  const text = h("input", { type: "text", placeholder: "0.1, 0.2, 0.6, 0.8", oninput: () => show(read(text.value)) });
  let from = null;
  const at = (event) => {
    const area = layer.getBoundingClientRect();
    const share = (value, start, size) => Math.round(Math.min(1, Math.max(0, (value - start) / size)) * 1000) / 1000;
    return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
  };
  const show = (box) => {
    place(rect, box ?? [0, 0, 0, 0]);
    onchange(box);
  };
  layer.addEventListener("pointerdown", (event) => { event.preventDefault(); layer.setPointerCapture(event.pointerId); from = at(event); });
  layer.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = at(event);
    const box = [Math.min(from[0], x), Math.min(from[1], y), Math.max(from[0], x), Math.max(from[1], y)];
    text.value = box.join(", ");
    show(box);
  });
  layer.addEventListener("pointerup", () => (from = null));
  return h("div", {}, h("div", { class: "over-picture" }, picture, layer),
    h("label", { class: "field" }, h("span", {}, "Box to ask about"), text, h("small", {}, "left, top, right, bottom, 0 to 1; or drag")));
}

function read(text) {
  const numbers = text.split(/[,\s]+/).filter(Boolean).map(Number);
  const valid = numbers.length === 4 && numbers.every((value) => value >= 0 && value <= 1) && numbers[0] < numbers[2] && numbers[1] < numbers[3];
  return valid ? numbers : null;
}

/** @param {{label: string, box_norm: [number, number, number, number]}[]} objects left, top, right, bottom, 0 to 1 */
export function boxes(picture, objects) {
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", "0 0 1000 1000");
  layer.setAttribute("preserveAspectRatio", "none");
  layer.setAttribute("aria-hidden", "true");
  const rects = objects.map(({ box_norm: box }, index) => {
    const rect = document.createElementNS(SVG, "rect");
    place(rect, box);
    rect.setAttribute("stroke", COLOURS[index % COLOURS.length]);
    layer.append(rect);
    return rect;
  });
  const phrases = objects.map(({ label }, index) => {
    const phrase = h("li", { tabIndex: 0 }, label || `object ${index + 1}`);
    phrase.style.borderColor = COLOURS[index % COLOURS.length];
    const mark = (on) => rects[index].classList.toggle("marked", on);
    for (const [event, on] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]])
      phrase.addEventListener(event, () => mark(on));
    return phrase;
  });
  return h("div", { class: "found" }, h("div", { class: "over-picture" }, picture, layer), h("ul", { "aria-label": "Found objects" }, ...phrases));
}
