/** The conversation as it is seen. */

import { button, h, show } from "../core/dom.js";
import { MODALITIES } from "../media/modalities.js";
import { answerTurn } from "./answer_turn.js";
import { composer, takesBoxes } from "./composer.js";
import { Conversation } from "./conversation.js";
import { mediaCard } from "./media_card.js";
import { settingsPanel } from "./settings.js";

const NEAR_END = 40; // pixels

export function chatView(context) {
  const turns = h("div");
  const log = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-live": "polite" }, turns);
  const settings = settingsPanel(context);
  const talk = new Conversation(() => draw());
  const box = composer(context, (text, media) => {
    const model = context.model();
    const taken = { places: takesBoxes(model), parameters: model?.media_parameters };
    talk.ask(text, media, { model: model?.id, ...settings.choice() }, taken);
  });
  const stop = button("Stop", () => { talk.stop(); box.focus(); });
  const fresh = button("New conversation", () => { talk.clear(); box.focus(); });
  const code = button("As code", async () => (await import("../code/dialog.js")).showCode(talk.turns));
  const seen = new Map(); // the view of each turn
  const follow = followEnd(log, turns);

  function draw() {
    for (const turn of seen.keys()) if (!talk.turns.includes(turn)) seen.delete(turn);
    const views = talk.turns.map(viewOf);
    views.forEach(({ update }) => update());
    show(turns, ...views.map(({ element }) => element), !views.length && welcome(context));
    stop.disabled = !talk.busy;
    code.disabled = !talk.turns.length;
    fresh.disabled = talk.busy || !talk.turns.length;
    box.setBusy(talk.busy);
    follow();
  }

  function viewOf(turn, index) {
    if (!seen.has(turn)) seen.set(turn, made(turn, index));
    return seen.get(turn);
  }

  function made(turn, index) {
    follow.fromNowOn();
    return turn.role === "user"
      ? userTurn(turn, () => { if (!talk.busy) box.fill(talk.editFrom(index)); })
      : answerTurn(turn, lastPicture(talk.turns.slice(0, index)));
  }

  talk.restore();
  context.onModel(draw);
  draw();
  const view = h("div", { class: "chat" }, log, h("div", { class: "row" }, stop, fresh, code), box.element, settings.panel);
  box.takeDrops(view);
  return view;
}

/** The log stays at its end while it grows, unless it was scrolled back. */
function followEnd(log, turns) {
  let following = true;
  const toEnd = () => { if (following) log.scrollTop = log.scrollHeight; };
  log.addEventListener("scroll", () => (following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END));
  new ResizeObserver(toEnd).observe(turns); // pictures come later
  return Object.assign(toEnd, { fromNowOn: () => (following = true) });
}

/** The one that an answer's places are in: the last of the latest question that has any. */
const lastPicture = (turns) =>
  turns.flatMap((turn) => turn.media ?? []).findLast((medium) => medium.modality === "image");

function welcome(context) {
  const takes = context.model()?.input_modalities?.filter((name) => name !== "text").map((name) => MODALITIES[name]?.label ?? name).join(", ");
  return h("p", { class: "hint" }, `Drop something here${takes ? ` (${takes})` : ""}, or choose an example, and ask.`);
}

function userTurn(turn, edit) {
  const cards = turn.media.map((medium) => mediaCard(medium));
  const element = h("article", { class: "turn user", "aria-label": "You" },
    h("div", { class: "cards" }, ...cards),
    h("p", {}, turn.text),
    h("div", { class: "row" }, button("Edit and ask again", edit)));
  return { element, update: () => {} };
}
