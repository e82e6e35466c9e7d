/** What a medium looks like: upright picture, waveform, frames, false colours, curves, points. */

import * as api from "../core/api.js";
import { h, show } from "../core/dom.js";
import { bytesOf, ensureUploaded } from "./attachments.js";
import { MODALITIES } from "./modalities.js";
import { shapes } from "./shapes.js";

const MOST_BYTES = 64 * 1024 * 1024;

/**
 * A node for the medium, a sentence where it cannot be shown, and what to do with the reading once it is there.
 * @returns {Promise<{node: Node, read: (reading: object) => void}>}
 */
export async function preview(medium) {
  const shape = await drawn(medium);
  if (medium.reading) shape.read(medium.reading);
  return shape;
}

/** A medium that was sent: its preview, with the service's picture, which a reload does not keep. */
export async function sentPreview(medium) {
  const shape = await preview(medium);
  const lost = medium.reading && medium.reading.picture === undefined && medium.fileId;
  if (lost) reading(medium, medium.recipe).then(({ facts }) => shape.read(facts)).catch(() => {}); // it is shown without
  return shape;
}

async function drawn(medium) {
  const label = `${medium.name}, preview`;
  try {
    const file = await bytesOf(medium);
    if (file.size > MOST_BYTES) return ofService(label, "Too large to show here.");
    const shape = await (shapes[medium.modality] ?? unknown)(file, label);
    return shape ? { read: () => {}, ...shape } : ofService(label, UNREAD);
  } catch {
    return ofService(label, UNREAD);
  }
}

const UNREAD = "This browser cannot show it; the service may still read it.";
const unknown = async () => ({ node: h("p", { class: "hint" }, "No preview.") });

/** Where this browser cannot read a file: the service's picture of what the model gets, once it is there. */
function ofService(label, words) {
  const node = h("div", {}, h("p", { class: "hint" }, words));
  const read = ({ picture }) =>
    picture && show(node, h("img", { src: picture, alt: `${label}, as the model gets it` }), h("p", { class: "legend" }, "As the model gets it."));
  return { node, read };
}

/** How the service reads it for a model of this recipe: facts, warnings, a picture of the encoder's array. Raises ApiError. */
export async function reading(medium, recipe) {
  await ensureUploaded(medium);
  if (!MODALITIES[medium.modality].isFile) return { node: h("div"), facts: { facts: {}, spans: [], picture: null } };
  const { facts: read, array, spans, warnings, preview: picture } = await api.inspect(medium.fileId, medium.modality, medium.options, recipe);
  const facts = { ...read, ...(array.length && { "the model gets": `${array.join(" × ")} numbers` }) };
  medium.reading = { facts, spans, picture };
  medium.recipe = recipe;
  const apart = medium.modality === "video" ? null : picture; // its frames are shown below it
  return { node: described(medium.name, facts, spans, warnings, apart), facts: { facts, spans, picture } };
}

function described(name, facts, spans, warnings, picture) {
  const looked = spans.map(([begin, end]) => (begin === end ? `${begin} s` : `${begin} to ${end} s`)).join(", ");
  const rows = Object.entries({ ...facts, ...(looked && { "looked at": looked }) }).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return h("div", {},
    ...warnings.map((warning) => h("p", { class: "warning" }, warning.message ?? String(warning))),
    h("dl", { class: "facts" }, ...rows.flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, String(value))])),
    picture && h("details", {}, h("summary", {}, "As the model gets it"), h("img", { src: picture, alt: `${name} as the model gets it` })));
}
