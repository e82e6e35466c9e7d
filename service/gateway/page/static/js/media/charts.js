/** Drawings on a canvas: waveforms, curves, maps in false colours, points that a mouse or arrow keys turn. */

import { h } from "../core/dom.js";

const CURVES = ["#d33", "#2a2", "#36c", "#b60", "#088", "#808"];

function canvas(width, height, label) {
  const element = h("canvas", { width, height, role: "img", "aria-label": label });
  return [element, element.getContext("2d")];
}

/** @param {Float32Array} samples */
export function waveform(samples, label) {
  const [element, draw] = canvas(320, 64, label);
  draw.fillStyle = "#4a7ab5";
  const step = Math.max(1, Math.floor(samples.length / element.width));
  for (let x = 0; x < element.width; x += 1) {
    let most = 0;
    for (let at = x * step; at < Math.min(samples.length, (x + 1) * step); at += 1) most = Math.max(most, Math.abs(samples[at]));
    draw.fillRect(x, 32 - most * 31, 1, Math.max(1, most * 62));
  }
  return element;
}

/** Columns over rows, each scaled to the whole height. */
export function curves(rows, names, label) {
  const [element, draw] = canvas(320, 96, label);
  const legend = h("p", { class: "legend" });
  names.slice(0, 6).forEach((name, column) => {
    const values = rows.map((row) => row[column]);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const colour = CURVES[column];
    draw.strokeStyle = colour;
    draw.beginPath();
    values.forEach((value, row) =>
      draw.lineTo((row / Math.max(1, values.length - 1)) * 319, 92 - (88 * (value - low)) / (high - low || 1)));
    draw.stroke();
    legend.append(h("span", { class: `curve-${column}` }, `${name} ${format(low)} to ${format(high)} `));
  });
  return h("div", {}, element, legend);
}

/** A map in false colours with its scale. Zeros and what is not finite are grey. */
export function falseColours(data, width, height, label) {
  const values = Array.from(data).filter((value) => Number.isFinite(value) && value !== 0);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const [element, draw] = canvas(width, height, label);
  const image = draw.createImageData(width, height);
  for (let at = 0; at < width * height; at += 1) {
    const known = Number.isFinite(data[at]) && data[at] !== 0;
    const colour = known ? turbo((data[at] - low) / (high - low || 1)) : [128, 128, 128];
    image.data.set([...colour, 255], at * 4);
  }
  draw.putImageData(image, 0, 0);
  return h("div", {}, element, h("p", { class: "legend" }, `${format(low)} (blue) to ${format(high)} (red)`));
}

/** A blue-green-yellow-red ramp. @returns {[number, number, number]} */
function turbo(share) {
  const ramp = (centre) => Math.round(255 * Math.max(0, Math.min(1, 1.5 - Math.abs(4 * share - centre))));
  return [ramp(3), ramp(2), ramp(1)];
}

/** Points in the unit box, turned by dragging or by the arrow keys. */
export function cloud(points, label) {
  const [element, draw] = canvas(240, 200, `${label}; arrow keys turn it`);
  element.tabIndex = 0;
  const centre = [0, 1, 2].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / (points.length || 1));
  const reach = points.reduce((most, point) => Math.max(most, ...point.map((v, axis) => Math.abs(v - centre[axis]))), 1e-9);
  let [yaw, pitch] = [0.6, 0.3];
  const paint = () => {
    draw.clearRect(0, 0, 240, 200);
    for (const point of points) {
      const [x, y, z] = point.map((value, axis) => (value - centre[axis]) / reach);
      const [x1, z1] = [x * Math.cos(yaw) + z * Math.sin(yaw), z * Math.cos(yaw) - x * Math.sin(yaw)];
      const [y1, depth] = [y * Math.cos(pitch) - z1 * Math.sin(pitch), y * Math.sin(pitch) + z1 * Math.cos(pitch)];
      draw.fillStyle = `hsl(${210 - 70 * depth} 60% 50%)`;
      draw.fillRect(120 + x1 * 85, 100 - y1 * 85, 2, 2);
    }
  };
  const turn = (dx, dy) => {
    [yaw, pitch] = [yaw + dx, pitch + dy];
    paint();
  };
  element.addEventListener("pointermove", (event) => event.buttons && turn(event.movementX / 80, event.movementY / 80));
  element.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn(...step);
  });
  paint();
  return element;
}

/** A matrix of similarities as a table whose cells are coloured. */
export function heatMap(names, values) {
  const low = Math.min(...values.flat());
  const high = Math.max(...values.flat());
  const cell = (value) => {
    const share = (value - low) / (high - low || 1);
    const element = h("td", {}, value.toFixed(2));
    element.style.backgroundColor = `rgb(${turbo(share).map((part) => Math.round(140 + part * 0.45)).join(" ")})`;
    return element;
  };
  return h("table", { class: "heat" },
    h("caption", {}, "Cosine similarity"),
    h("thead", {}, h("tr", {}, h("td"), ...names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...values.map((row, index) => h("tr", {}, h("th", { scope: "row" }, names[index]), ...row.map(cell)))));
}

const format = (value) => (Math.abs(value) >= 1000 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3));
