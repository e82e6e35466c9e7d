/** One medium of a message: its picture, how far it is uploaded, its modality, its fields and its weight. */

import { h, show } from "../core/dom.js";

// What draws media and their fields is not needed before the first medium.
const previews = () => import("../media/previews.js");
const fields = () => import("./media_fields.js");

/**
 * @param {{remove?: () => void, accepted?: string[], recipe?: (modality: string) => string,
 *   parameters?: (modality: string) => string[]|undefined, boxes?: boolean}} edit without `remove` the card only shows;
 *   `recipe` is that by which the chosen model reads a modality, `parameters` those that it takes then
 */
export function mediaCard(medium, edit = {}) {
  const body = h("div", { class: "preview" }, "…");
  const facts = h("div");
  const controls = h("div", { class: "controls" });
  const card = h("figure", { class: "card", "data-modality": medium.modality },
    body, uploadBar(medium),
    h("figcaption", {}, medium.name, medium.weight !== 1 && !edit.remove && ` × ${medium.weight}`),
    facts, controls);
  const parts = { card, body, facts, controls };
  if (edit.remove) fields().then(({ editable }) => editable(medium, edit, parts));
  else previews().then(async ({ sentPreview }) => show(body, (await sentPreview(medium)).node));
  return card;
}

/** There while the upload runs. */
function uploadBar(medium) {
  const bar = h("progress", { max: 1, "aria-label": `Uploading ${medium.name}` });
  const update = () => {
    bar.value = medium.share;
    bar.hidden = !medium.upload || !medium.share;
  };
  medium.watchers.add(update);
  update();
  return bar;
}
