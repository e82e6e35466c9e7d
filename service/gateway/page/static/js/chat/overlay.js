/** A layer of boxes over a picture. */

import { h } from "../core/dom.js";

const SVG = "http://www.w3.org/2000/svg";
export const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080"];

/** @returns {{node: Element, layer: SVGElement}} */
export function overlay(picture) {
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", "0 0 1000 1000");
  layer.setAttribute("preserveAspectRatio", "none");
  return { node: h("div", { class: "over-picture" }, picture, layer), layer };
}

export function addBox(layer, box, colour) {
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("stroke", colour);
  layer.append(rect);
  placeBox(rect, box);
  return rect;
}

/** @param {[number, number, number, number]} box left, top, right, bottom, 0 to 1 */
export function placeBox(rect, [left, top, right, bottom]) {
  const sizes = { x: left, y: top, width: right - left, height: bottom - top };
  for (const [name, value] of Object.entries(sizes)) rect.setAttribute(name, String(Math.round(value * 1000)));
}
