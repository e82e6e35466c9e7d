/** Things that an answer has found, drawn over the picture; and a box drawn by hand to ask about. */

import { h } from "../core/dom.js";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080"];
const SVG = "http://www.w3.org/2000/svg";

/** @param {{label: string, box_norm: {x0: number, y0: number, x1: number, y1: number}}[]} objects shares of the picture, 0 to 1 */
export function boxes(picture, objects) {
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", "0 0 1000 1000");
  layer.setAttribute("preserveAspectRatio", "none");
  layer.setAttribute("aria-hidden", "true");
  const rects = objects.map(({ box_norm: box }, index) => {
    const rect = document.createElementNS(SVG, "rect");
    const sizes = { x: box.x0, y: box.y0, width: box.x1 - box.x0, height: box.y1 - box.y0 };
    for (const [name, value] of Object.entries(sizes)) rect.setAttribute(name, String(value * 1000));
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
