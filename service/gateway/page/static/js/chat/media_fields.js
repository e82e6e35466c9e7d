/** What may be changed of a medium: its modality, the fields that go with it, its weight, a box on it. */

import * as api from "../core/api.js";
import { button, h, show } from "../core/dom.js";
import { ensureUploaded, fitting } from "../media/attachments.js";
import { MODALITIES } from "../media/modalities.js";
import { preview, reading } from "../media/previews.js";
import { boxInput } from "./box_input.js";

/** @param {{card: Element, body: Element, facts: Element, controls: Element}} parts of the card */
export function editable(medium, { remove, accepted, recipe = () => undefined, parameters = () => undefined, boxes }, parts) {
  const options = h("div", { class: "row" });
  let shown = null;
  let reads = 0;

  async function draw() {
    shown = preview(medium);
    const { node } = await shown;
    const takesBox = boxes && medium.modality === "image" && node instanceof HTMLImageElement;
    show(parts.body, takesBox ? boxInput(node, medium) : node);
  }

  /** As the service reads it with these fields. An answer that a newer one has overtaken is not shown. */
  async function read() {
    reads += 1;
    const mine = reads;
    try {
      const found = await reading(medium, recipe(medium.modality));
      if (mine !== reads) return;
      show(parts.facts, found.node);
      (await shown).read(found.facts);
    } catch (error) {
      if (mine === reads) show(parts.facts, h("p", { class: "warning" }, error.message));
    }
  }

  async function begin() {
    parts.card.dataset.modality = medium.modality;
    const names = parameters(medium.modality);
    medium.options = fitting(medium.options, names);
    const fields = fieldsOf(medium, names, read);
    show(options, ...fields.map(({ element }) => element));
    draw();
    if (await fillFromFile(medium)) fields.forEach(({ refresh }) => refresh());
    await read();
  }

  const kind = h("select", { "aria-label": `What ${medium.name} is`, onchange: ({ target }) => {
    Object.assign(medium, { modality: target.value, options: {}, own: null, reading: null, box: null });
    begin();
  } }, ...Object.entries(MODALITIES).filter(([name]) => accepted.includes(name)).map(([name, { label }]) =>
    h("option", { value: name, selected: name === medium.modality }, label)));
  show(parts.controls, kind, options, weightOf(medium), button("Remove", remove, { "aria-label": `Remove ${medium.name}` }));
  begin();
}

function weightOf(medium) {
  const shown = h("output", {}, medium.weight.toFixed(1));
  const slider = h("input", { type: "range", min: 0, max: 4, step: 0.1, value: medium.weight, oninput: ({ target }) => {
    medium.weight = Number(target.value);
    shown.textContent = medium.weight.toFixed(1);
  } });
  return h("label", { class: "field" }, h("span", {}, "Weight ", shown), slider);
}

/** What a file says of its parameters goes into the fields that nobody has filled. @returns whether it could be read */
async function fillFromFile(medium) {
  const modality = medium.modality;
  if (!MODALITIES[modality].own || medium.own) return false;
  try {
    await ensureUploaded(medium);
    const own = await api.ownParameters(medium.fileId, modality);
    if (medium.modality !== modality) return false;
    medium.own = own;
    const given = Object.keys(medium.options).length > 0; // a sample's, or those of a message that is edited
    for (const [name, { value }] of Object.entries(own)) if (value !== null && !given) medium.options[name] = value;
    return true;
  } catch {
    return false; // the reading shows the refusal
  }
}

/** A field for each parameter that the model takes. */
const fieldsOf = (medium, names, onchange) =>
  Object.entries(fitting(MODALITIES[medium.modality].fields, names)).map(([name, facts]) => optionField(medium, name, facts, onchange));

/** `refresh` shows what the file says of it, but for a field that a person is in. */
function optionField(medium, name, facts, onchange) {
  const { control, value } = CONTROLS[facts.type](facts);
  const hint = h("small", {}, facts.hint);
  const store = () => {
    if (control.value === "") delete medium.options[name];
    else medium.options[name] = value(control.value);
  };
  control.addEventListener("input", store);
  control.addEventListener("change", onchange);
  const refresh = () => {
    hint.textContent = medium.own?.[name]?.reason || facts.hint;
    if (control !== document.activeElement) control.value = shownValue(medium.options[name], facts);
  };
  refresh();
  return { element: h("label", { class: "field" }, h("span", {}, facts.label), control, hint), refresh };
}

const CONTROLS = {
  number: ({ min, max, step }) => ({ control: h("input", { type: "number", min, max, step }), value: Number }),
  select: ({ options, values = {} }) => ({
    control: h("select", {}, ...options.map((option) => h("option", { value: option }, option || "as the file says"))),
    value: (option) => values[option] ?? option,
  }),
};

/** A value as its control has it: `true` as "yes". */
const shownValue = (value, { values = {} }) =>
  value === undefined ? "" : (Object.keys(values).find((option) => values[option] === value) ?? String(value));
