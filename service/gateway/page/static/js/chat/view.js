/** The conversation as it is seen. */

import { button, h, notice, show } from "../core/dom.js";
import { markdown } from "../core/markdown.js";
import { boxes } from "./boxes.js";
import { composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { mediaCard } from "./media_card.js";
import { settingsPanel } from "./settings.js";

export function chatView(context) {
  const log = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-live": "polite" });
  const settings = settingsPanel();
  const talk = new Conversation(() => draw());
  const box = composer(context, (text, media) => talk.ask(text, media, { model: context.model()?.id, ...settings.values }));
  const stop = button("Stop", () => talk.stop());
  const fresh = button("New conversation", () => { talk.clear(); box.focus(); });
  const code = button("As code", async () => (await import("./as_code.js")).showCode(context.model()?.id ?? "", asked(talk.turns)));
  const nodes = new Map(); // a turn's nodes stay while it does not change, so that players go on and focus stays

  function draw() {
    show(log, ...talk.turns.map((turn, index) => node(turn, index)));
    if (!talk.turns.length) show(log, welcome(context));
    stop.disabled = !talk.busy;
    code.disabled = !asked(talk.turns).length;
    fresh.disabled = talk.busy || !talk.turns.length;
    box.setBusy(talk.busy);
    log.scrollTop = log.scrollHeight;
  }

  function node(turn, index) {
    const mark = turn.role === "user" ? uploads(turn) : JSON.stringify([turn, talk.busy]);
    const known = nodes.get(turn);
    if (known?.mark === mark) return known.element;
    const element = turn.role === "user"
      ? userTurn(turn, known, () => { if (!talk.busy) box.fill(talk.editFrom(index)); })
      : answerTurn(turn, talk.turns[index - 1]);
    nodes.set(turn, { mark, element });
    return element;
  }

  talk.restore();
  context.onModel(draw);
  draw();
  return h("div", { class: "chat" }, log, h("div", { class: "row" }, stop, fresh, code), box.element, settings.panel);
}

/** The turns up to the last question. */
function asked(turns) {
  const last = turns.findLastIndex((turn) => turn.role === "user");
  return turns.slice(0, last + 1).filter((turn) => turn.role === "user" || turn.text);
}

const uploads = (turn) => turn.media.map((medium) => Math.round(medium.progress * 100)).join();

function welcome(context) {
  const takes = context.model()?.input_modalities?.filter((name) => name !== "text").join(", ");
  return h("p", { class: "hint" }, `Drop something here${takes ? ` (${takes})` : ""}, or choose an example, and ask.`);
}

function userTurn(turn, known, edit) {
  const cards = known?.cards ?? turn.media.map((medium) => mediaCard(medium));
  const running = turn.media.filter((medium) => !medium.fileId && medium.progress > 0);
  return h("article", { class: "turn user", "aria-label": "You" },
    h("div", { class: "cards" }, ...cards),
    ...running.map((medium) => h("progress", { max: 1, value: medium.progress, "aria-label": `Uploading ${medium.name}` })),
    h("p", {}, turn.text),
    h("div", { class: "row" }, button("Edit and ask again", edit)));
}

function answerTurn(turn, user) {
  const article = h("article", { class: "turn answer", "aria-label": "Answer", "data-state": turn.state });
  const picture = turn.objects.length && user?.media.find((medium) => medium.modality === "image" && medium.file);
  show(article,
    h("div", { class: "text" }, markdown(turn.text)),
    picture && boxes(h("img", { src: URL.createObjectURL(picture.file), alt: picture.name }), turn.objects),
    turn.state === "waiting" && notice("Waiting for the first word…", "hint"),
    turn.state === "stopped" && notice("Stopped.", "hint"),
    ...turn.warnings.map((warning) => notice(warning, "warning")),
    turn.error && notice(turn.error),
    figures(turn),
    turn.text && button("Copy", () => navigator.clipboard.writeText(turn.text)));
  return article;
}

function figures(turn) {
  if (!turn.usage) return null;
  const { completion_tokens: made, prompt_tokens: read, prompt_tokens_details: details } = turn.usage;
  const seconds = (turn.tookMs - turn.firstMs) / 1000;
  const facts = [`${read} tokens read`, `${made} written`];
  if (turn.firstMs !== null) facts.unshift(`first word after ${(turn.firstMs / 1000).toFixed(2)} s`);
  if (turn.tookMs !== null && made > 1 && seconds > 0) facts.push(`${((made - 1) / seconds).toFixed(0)} tokens a second`);
  if (details?.cached_items) facts.push(`${details.cached_items} media known already`);
  return h("p", { class: "figures" }, facts.join(" · "));
}
