/** Curves of time on a canvas, the parts that a model looks at shaded. */

import { h } from "../core/dom.js";
import { canvas, format } from "./canvas.js";

const CURVES = ["#d33", "#2a2", "#36c", "#b60", "#088", "#808"];
const SHADE = "rgb(240 170 0 / 0.35)";

/** The loudest of the channels at each place. @param {Float32Array[]} channels @returns {{node: Node, shade: Shade}} */
export function waveform(channels, label) {
  const [element, draw] = canvas(320, 64, label);
  draw.fillStyle = "#4a7ab5";
  const step = channels[0].length / element.width;
  for (let x = 0; x < element.width; x += 1) {
    const most = Math.min(1, Math.max(...channels.map((samples) => loudest(samples, Math.floor(x * step), Math.ceil((x + 1) * step)))));
    draw.fillRect(x, 32 - most * 31, 1, Math.max(1, most * 62));
  }
  return { node: element, shade: shading(element, draw) };
}

function loudest(samples, begin, end) {
  let most = 0;
  for (let at = begin; at < Math.min(samples.length, end); at += 1) most = Math.max(most, Math.abs(samples[at]));
  return most;
}

/** Columns over rows, each scaled to the whole height. @returns {{node: Node, shade: Shade}} */
export function curves(rows, names, label) {
  const [element, draw] = canvas(320, 96, label);
  const legend = h("p", { class: "legend" });
  names.slice(0, 6).forEach((name, column) => {
    const values = rows.map((row) => row[column]);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    draw.strokeStyle = CURVES[column];
    draw.beginPath();
    values.forEach((value, row) =>
      draw.lineTo((row / Math.max(1, values.length - 1)) * 319, 92 - (88 * (value - low)) / (high - low || 1)));
    draw.stroke();
    legend.append(h("span", { class: `curve-${column}` }, `${name} ${format(low)} to ${format(high)} `));
  });
  return { node: h("div", {}, element, legend), shade: shading(element, draw) };
}

/**
 * @callback Shade marks the spans of `seconds` in all
 * @param {[number, number][]} spans seconds
 */
function shading(element, draw) {
  const bare = draw.getImageData(0, 0, element.width, element.height);
  return (spans, seconds) => {
    draw.putImageData(bare, 0, 0);
    draw.fillStyle = SHADE;
    const x = (second) => Math.round((element.width * second) / seconds);
    for (const [begin, end] of spans) draw.fillRect(x(begin), 0, Math.max(1, x(end) - x(begin)), element.height);
  };
}
