/** What every drawing shares: a canvas with a name, a ramp of colours, numbers as words. */

import { h } from "../core/dom.js";

/** @returns {[HTMLCanvasElement, CanvasRenderingContext2D]} */
export function canvas(width, height, label) {
  const element = h("canvas", { width, height, role: "img", "aria-label": label });
  return [element, element.getContext("2d", { willReadFrequently: true })];
}

/** A blue-green-yellow-red ramp. @returns {[number, number, number]} */
export function turbo(share) {
  const ramp = (centre) => Math.round(255 * Math.max(0, Math.min(1, 1.5 - Math.abs(4 * share - centre))));
  return [ramp(3), ramp(2), ramp(1)];
}

export const format = (value) => (Math.abs(value) >= 1000 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3));
