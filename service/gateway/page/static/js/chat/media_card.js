/** One medium of a message: its picture, its modality, its fields and its weight. */

import * as api from "../core/api.js";
import { button, field, h, show } from "../core/dom.js";
import { bytesOf } from "../media/attachments.js";
import { MODALITIES } from "../media/modalities.js";
import { boxInput } from "./boxes.js";

const previews = () => import("../media/previews.js"); // what draws them is not needed before the first medium

/** @param {{remove?: () => void, accepted?: string[], boxes?: () => boolean}} edit without `remove` the card only shows */
export function mediaCard(medium, edit = {}) {
  const body = h("div", { class: "preview" }, "…");
  const facts = h("div");
  const draw = async () => {
    const shown = await (await previews()).preview(medium);
    const asks = edit.boxes?.() && medium.modality === "image" && shown instanceof HTMLImageElement;
    show(body, asks ? boxInput(shown, (box) => (medium.box = box)) : shown);
  };
  draw();
  return h("figure", { class: "card", "data-modality": medium.modality },
    body,
    h("figcaption", {}, medium.name, medium.weight !== 1 && ` × ${medium.weight}`),
    facts,
    edit.remove && controls(medium, edit, draw, facts));
}

function controls(medium, { remove, accepted }, redraw, facts) {
  const fields = h("div", { class: "row" });
  const describe = async () => {
    try {
      show(facts, await (await previews()).reading(medium));
    } catch (error) {
      show(facts, h("p", { class: "warning" }, error.message));
    }
  };
  const options = () =>
    show(fields, ...Object.entries(MODALITIES[medium.modality].fields).map(([name, facts]) =>
      optionField(medium, name, { ...facts, hint: medium.own?.[name]?.reason || facts.hint }, describe)));
  const begin = async () => {
    options();
    if (MODALITIES[medium.modality].own && (await fillFromFile(medium))) options();
    describe();
  };
  const kind = h("select", { "aria-label": `What ${medium.name} is`, onchange: ({ target }) => {
    medium.modality = target.value;
    medium.options = {};
    medium.own = null;
    redraw();
    begin();
  } }, ...Object.entries(MODALITIES).filter(([name]) => accepted.includes(name)).map(([name, { label }]) =>
    h("option", { value: name, selected: name === medium.modality }, label)));
  const weight = h("input", { type: "range", min: 0, max: 4, step: 0.1, value: medium.weight, oninput: ({ target }) => {
    medium.weight = Number(target.value);
    shown.textContent = medium.weight.toFixed(1);
  } });
  const shown = h("output", {}, medium.weight.toFixed(1));
  begin();
  return h("div", { class: "controls" }, kind, fields,
    h("label", { class: "field" }, h("span", {}, "Weight ", shown), weight),
    button("Remove", remove, { "aria-label": `Remove ${medium.name}` }));
}

/** What a file says of its parameters goes into the fields that nobody has filled. @returns whether it could be read */
async function fillFromFile(medium) {
  const modality = medium.modality;
  try {
    const own = await api.ownParameters(await bytesOf(medium), modality);
    if (medium.modality !== modality) return false;
    medium.own = own;
    const given = Object.keys(medium.options).length > 0; // a sample's, or those of a message that is edited
    for (const [name, { value }] of Object.entries(own)) if (value !== null && !given) medium.options[name] = value;
    return true;
  } catch {
    return false; // the reading below shows the refusal
  }
}

function optionField(medium, name, { type, label, hint, options, values = {}, form: _form, ...limits }, onchange) {
  const change = ({ target }) => {
    if (target.value === "") delete medium.options[name];
    else medium.options[name] = type === "number" ? Number(target.value) : (values[target.value] ?? target.value);
    onchange();
  };
  const value = medium.options[name] ?? "";
  const control = type === "select"
    ? h("select", { onchange: change }, ...options.map((option) => h("option", { value: option, selected: (values[option] ?? option) === value }, option || "as the file says")))
    : h("input", { type: "number", value, onchange: change, ...limits });
  return field(label, control, hint);
}
