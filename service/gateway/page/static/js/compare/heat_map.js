/** A matrix of similarities. */

import { h } from "../core/dom.js";
import { turbo } from "../media/canvas.js";

/** As a table whose cells are coloured. */
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
