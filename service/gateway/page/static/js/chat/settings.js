/** Sampling settings: an empty field is the model's own default. */

import { field, h } from "../core/dom.js";
import { load, save } from "../core/session.js";

const NUMBERS = [
  ["max_tokens", "Longest answer (tokens)", { min: 1, step: 1 }],
  ["temperature", "Temperature (0 to 2)", { min: 0, max: 2, step: 0.1 }],
  ["top_p", "Top p (0 to 1)", { min: 0, max: 1, step: 0.05 }],
  ["seed", "Seed", { min: 0, step: 1 }],
];

export function settingsPanel() {
  const values = load("settings", {});
  const change = (name, value) => {
    if (value === "") delete values[name];
    else values[name] = value;
    save("settings", values);
  };
  const inputs = NUMBERS.map(([name, label, limits]) =>
    field(label, h("input", { type: "number", name, ...limits, value: values[name] ?? "",
      oninput: ({ target }) => change(name, target.value === "" ? "" : Number(target.value)) })));
  const system = h("textarea", { rows: 2, value: values.system ?? "", oninput: ({ target }) => change("system", target.value) });
  const panel = h("details", { class: "settings" }, h("summary", {}, "Settings"), field("System prompt", system), h("div", { class: "row" }, ...inputs));
  return { panel, values };
}
