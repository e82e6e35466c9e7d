/** What all views share: the models that the service has, and which of them is chosen. */

import { h, show } from "./dom.js";
import { MODALITIES } from "../media/modalities.js";
import { load, save } from "./session.js";

/**
 * `model()` is the chosen model as /v1/models describes it, null until `learn` has been called; `ready` resolves then.
 * @param {HTMLSelectElement} select
 */
export function makeContext(select) {
  let models = [];
  let known;
  const ready = new Promise((resolve) => (known = resolve));
  const listeners = new Set();
  const changed = () => listeners.forEach((listener) => listener());
  select.addEventListener("change", () => {
    save("model", select.value);
    changed();
  });
  const chosen = () => models.find((model) => model.id === select.value) ?? null;
  return {
    ready,
    model: chosen,
    /** The recipe by which the chosen model reads media of a modality; undefined where it reads none, or does not say. */
    recipe: (modality) => chosen()?.recipes?.[modality],
    /** The parameters that it takes beside a medium of a modality; undefined where it does not say. */
    parameters: (modality) => chosen()?.media_parameters?.[modality],
    onModel: (listener) => listeners.add(listener),
    learn(found) {
      models = found;
      show(select, ...models.map((model) => h("option", { value: model.id }, described(model))));
      const kept = load("model", "");
      if (models.some((model) => model.id === kept)) select.value = kept;
      known();
      changed();
    },
  };
}

/** A model's name and what it takes. */
function described({ id, input_modalities: takes = [] }) {
  const words = takes.map((name) => MODALITIES[name]?.label ?? name).join(", ");
  return words ? `${id}: ${words}` : id;
}
