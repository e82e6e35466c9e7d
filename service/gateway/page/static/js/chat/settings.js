/** Sampling settings and the model's own options: an empty field is the model's default. */

import { field, h, show } from "../core/dom.js";
import { load, save } from "../core/session.js";

const NUMBERS = [
  ["max_tokens", "Longest answer (tokens)", { min: 1, step: 1 }],
  ["temperature", "Temperature (0 to 2)", { min: 0, max: 2, step: 0.1 }],
  ["top_p", "Top p (0 to 1)", { min: 0, max: 1, step: 0.05 }],
  ["seed", "Seed", { min: 0, step: 1 }],
];

/** `choice()` is what is set now, as fields of a request. */
export function settingsPanel(context) {
  const values = load("settings", {});
  const change = (name, value) => save("settings", changed(values, name, value));
  const inputs = NUMBERS.map(([name, label, limits]) => field(label, numberInput(limits, values[name], (value) => change(name, value))));
  const system = h("textarea", { rows: 2, value: values.system ?? "", oninput: ({ target }) => change("system", target.value) });
  const explain = field("Explain (what each medium contributes)", choiceInput([["", "no"], [true, "yes"]], values.explain, (value) => change("explain", value)));
  const own = modelOptions(context);
  const settings = h("details", { class: "settings" }, h("summary", {}, "Settings"), field("System prompt", system), h("div", { class: "row" }, ...inputs), explain);
  return { panel: h("div", {}, own.row, settings), choice: () => ({ ...values, ...own.choice() }) };
}

/** The options that the chosen model announces, a choice of its task among them. Boxes are drawn on a picture. */
function modelOptions(context) {
  const row = h("div", { class: "row" });
  let values = {};
  context.onModel(() => {
    const { id, options = [] } = context.model() ?? {};
    values = load(`options.${id}`, {});
    const shown = options.filter(({ kind }) => OPTIONS[kind]);
    show(row, ...shown.map((option) =>
      field(titled(option.name), OPTIONS[option.kind](option, values[option.name], (value) => save(`options.${id}`, changed(values, option.name, value))), option.description)));
  });
  return { row, choice: () => (Object.keys(values).length ? { options: { ...values } } : {}) };
}

const OPTIONS = {
  boolean: (_, value, change) => choiceInput([["", "default"], [true, "yes"], [false, "no"]], value, change),
  integer: ({ minimum, maximum }, value, change) => numberInput({ min: minimum, max: maximum, step: 1 }, value, change),
  number: ({ minimum, maximum }, value, change) => numberInput({ min: minimum, max: maximum, step: "any" }, value, change),
  string: ({ choices }, value, change) =>
    choices?.length
      ? choiceInput([["", "default"], ...choices.map((one) => [one, one])], value, change)
      : h("input", { type: "text", value: value ?? "", oninput: ({ target }) => change(target.value) }),
};

const titled = (name) => `${name[0].toUpperCase()}${name.slice(1)}`.replaceAll("_", " ");

function numberInput(limits, value, change) {
  return h("input", { type: "number", ...limits, value: value ?? "", oninput: ({ target }) => change(target.value === "" ? "" : Number(target.value)) });
}

/** @param {[unknown, string][]} pairs values and their words */
function choiceInput(pairs, value, change) {
  const options = pairs.map(([one, words], index) => h("option", { value: index, selected: one === (value ?? "") }, words));
  return h("select", { onchange: ({ target }) => change(pairs[target.value][0]) }, ...options);
}

function changed(values, name, value) {
  if (value === "") delete values[name];
  else values[name] = value;
  return values;
}
