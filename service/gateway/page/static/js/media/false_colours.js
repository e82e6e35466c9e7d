/** Maps in false colours, with their scale. */

import { h, show } from "../core/dom.js";
import { canvas, format, turbo } from "./canvas.js";

const WIDEST = 320;

/**
 * A map of numbers. Those that are no reading are grey: what is not finite, and zero where `zeroIsNone`.
 * @param {{width: number, height: number, data: ArrayLike<number>}} map
 * @returns {{node: Node, scale: (low: string, high: string, unit: string) => void}}
 */
export function falseColours(map, label, zeroIsNone) {
  const { width, height, data } = thinned(map);
  const isReading = (value) => Number.isFinite(value) && !(zeroIsNone && value === 0);
  const readings = data.filter(isReading);
  const low = readings.reduce((a, b) => Math.min(a, b), Infinity);
  const high = readings.reduce((a, b) => Math.max(a, b), -Infinity);
  const [element, draw] = canvas(width, height, label);
  const image = draw.createImageData(width, height);
  data.forEach((value, at) =>
    image.data.set([...(isReading(value) ? turbo((value - low) / (high - low || 1)) : [128, 128, 128]), 255], at * 4));
  draw.putImageData(image, 0, 0);
  const legend = h("p", { class: "legend scale" });
  const scale = (from, to, unit) => show(legend, from, ramp(), `${to} ${unit}`.trim());
  scale(format(low), format(high), "");
  return { node: h("div", {}, element, legend), scale };
}

/** Every n-th row and column, so that a large map is drawn at once. */
function thinned({ width, height, data }) {
  const step = Math.max(1, Math.ceil(width / WIDEST));
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const at = (index) => data[Math.floor(index / columns) * step * width + (index % columns) * step];
  return { width: columns, height: rows, data: Array.from({ length: columns * rows }, (_, index) => at(index)) };
}

/** From the colour of the least value to that of the largest. */
function ramp() {
  const [element, draw] = canvas(64, 10, "blue to red");
  for (let x = 0; x < 64; x += 1) {
    draw.fillStyle = `rgb(${turbo(x / 63).join(" ")})`;
    draw.fillRect(x, 0, 1, 10);
  }
  return element;
}
