/** What the page knows of each modality: all of it from the service's registry. */

import { REGISTRY } from "./registry.js";

const CONTROLS = {
  number: ({ low, high }) => ({ type: "number", step: "any", min: low, max: high }),
  choice: ({ values }) => ({ type: "select", options: ["", ...values] }),
  switch: () => ({ type: "select", options: ["", "yes"], values: { yes: true } }),
};

const control = (field) => ({ ...CONTROLS[field.kind](field), label: field.label, hint: hint(field), form: field.form });
const hint = ({ about, unit }) => (unit ? `${about}, in ${unit}` : about);
const mapped = (object, make) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, make(value)]));

/** @type {Record<string, {label: string, own: boolean, fields: Record<string, object>}>} */
export const MODALITIES = mapped(REGISTRY, (entry) => ({ label: entry.label, own: entry.own, isFile: entry.isFile, fields: mapped(entry.fields, control) }));

/** The form field of an option. */
export const formField = (modality, option) => MODALITIES[modality].fields[option].form;

/**
 * The modality that a file's name or type suggests: its own word in the name decides, then the suffix, then the type.
 * A suffix that several take is the first one's.
 */
export function guess(file) {
  const name = file.name.toLowerCase();
  const suffix = name.slice(name.lastIndexOf("."));
  const entries = Object.entries(REGISTRY);
  const find = (takes) => entries.find(([modality, entry]) => takes(modality, entry))?.[0];
  const kind = file.type.split("/")[0];
  return (
    find((modality, entry) => name.includes(modality) && [...entry.suffixes, ...entry.named].includes(suffix)) ??
    find((_, entry) => entry.suffixes.includes(suffix)) ??
    (file.type === "text/plain" ? find((_, entry) => !entry.isFile) : find((modality) => modality === kind)) ??
    find((_, entry) => entry.named.includes(suffix)) ??
    null
  );
}
