/** An answer as it is seen. It grows in place: only what has changed is made anew. */

import { copyButton } from "../core/clipboard.js";
import { h, notice, show } from "../core/dom.js";
import { growing } from "../core/markdown.js";
import { withoutPlaces } from "../core/places.js";

const RUNNING = new Set(["waiting", "streaming", "moving"]);
const HINTS = { waiting: "Waiting for the first word…", stopped: "Stopped." };

/**
 * @param {object|undefined} picture the medium that places of the answer are in
 * @returns {{element: Element, update: () => void}}
 */
export function answerTurn(turn, picture) {
  const text = h("div", { class: "text" });
  const found = h("div");
  const notes = h("div");
  const copy = copyButton(() => (turn.places ? withoutPlaces(turn.text) : turn.text));
  const element = h("article", { class: "turn answer", "aria-label": "Answer" }, text, found, notes, copy);
  const write = growing(text, turn.places);
  let noted = "";
  let adding = null; // what draws the objects, once there is one
  return {
    element,
    update() {
      element.dataset.state = turn.state;
      element.setAttribute("aria-busy", String(RUNNING.has(turn.state))); // a reader waits for the end
      write(turn.text);
      copy.hidden = !turn.text;
      const now = JSON.stringify([turn.state, turn.warnings, turn.error, turn.usage, turn.tookMs, turn.contributions]);
      if (now !== noted) show(notes, ...notesOf(turn));
      noted = now;
      if (!turn.objects.length || !picture) return;
      adding ??= import("./found.js").then(({ foundObjects }) => foundObjects(found, picture, text));
      adding.then((add) => add(turn.objects));
    },
  };
}

const notesOf = (turn) => [
  HINTS[turn.state] && notice(HINTS[turn.state], "hint"),
  ...turn.warnings.map((warning) => notice(warning, "warning")),
  turn.error && notice(turn.error),
  contributions(turn),
  figures(turn),
];

/** What each medium contributed: by how much the answer is likelier with it, where the question asked for that. */
function contributions({ contributions: media }) {
  if (!media?.length) return null;
  const lines = media.map(({ modality, gain }) => h("li", {}, `${modality}: ${gain > 0 ? "+" : ""}${gain.toFixed(1)} nats`));
  return h("details", { class: "contributions" }, h("summary", {}, "What each medium contributed"), h("ul", {}, ...lines));
}

function figures(turn) {
  if (!turn.usage) return null;
  const { completion_tokens: made, prompt_tokens: read, prompt_tokens_details: details } = turn.usage;
  const seconds = (turn.tookMs - turn.firstMs) / 1000;
  const facts = [`${read} tokens read`, `${made} written`];
  if (turn.firstMs !== null) facts.unshift(`first word after ${(turn.firstMs / 1000).toFixed(2)} s`);
  if (turn.firstMs !== null && turn.tookMs !== null && made > 1 && seconds > 0) facts.push(`${((made - 1) / seconds).toFixed(0)} tokens a second`);
  if (details?.cached_items) facts.push(`${details.cached_items} media known already`);
  return h("p", { class: "figures" }, facts.join(" · "));
}
