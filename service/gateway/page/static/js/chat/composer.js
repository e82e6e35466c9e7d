/** Where a message is made: words, media dropped, pasted, chosen, recorded or taken from the samples. */

import * as api from "../core/api.js";
import { button, h, notice, show } from "../core/dom.js";
import { attachment } from "../media/attachments.js";
import { MODALITIES, guess } from "../media/modalities.js";
import { mediaCard } from "./media_card.js";

/** @param {(text: string, media: object[]) => void} send */
export function composer(context, send) {
  let media = [];
  const cards = h("div", { class: "cards" });
  const messages = h("div");
  const accepted = () => context.model()?.input_modalities ?? [];
  const input = h("textarea", { rows: 3, placeholder: "What is this?", "aria-label": "Your message" });
  const draw = () =>
    show(cards, ...media.map((medium) =>
      mediaCard(medium, { accepted: accepted(), boxes: () => takesBoxes(context.model()), remove: () => { media = media.filter((one) => one !== medium); draw(); input.focus(); } })));

  async function add(file, modality = guess(file), options = {}) {
    await context.ready;
    if (!modality || !accepted().includes(modality)) {
      const takes = accepted().map((name) => MODALITIES[name]?.label ?? name).join(", ");
      show(messages, notice(`${file.name}: this model takes ${takes || "no media"}.`));
      return;
    }
    show(messages);
    media.push(attachment(file, modality, options));
    draw();
  }

  async function submit() {
    await context.ready;
    const text = input.value.trim() || (media.length ? input.placeholder : "");
    if (!text || form.dataset.busy !== undefined) return;
    send(text, media);
    input.value = "";
    media = [];
    draw();
  }

  const chooser = h("input", { type: "file", multiple: true, class: "hidden", "aria-label": "Files to attach", tabIndex: -1,
    onchange: ({ target }) => { for (const file of target.files) add(file); target.value = ""; } });
  const ask = button("Ask", submit, { class: "primary" });
  const form = h("section", { class: "composer", "aria-label": "New message" },
    cards, messages, input, chooser,
    h("div", { class: "row" }, button("Attach files", () => chooser.click()), recordMenu(add), samplesMenu(add, (text) => (input.value ||= text)), ask));

  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  input.addEventListener("paste", (event) => { for (const file of event.clipboardData.files) add(file); });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    for (const file of event.dataTransfer.files) add(file);
  });
  context.onModel(draw);

  return {
    element: form,
    fill: (turn) => { input.value = turn.text; media = turn.media; draw(); input.focus(); },
    add,
    setBusy: (busy) => { form.toggleAttribute("data-busy", busy); ask.disabled = busy; },
    focus: () => input.focus(),
  };
}

function recordMenu(add) {
  const items = h("div", { class: "menu-items" });
  const menu = h("details", { class: "menu" }, h("summary", {}, "Record"), items);
  menu.addEventListener("toggle", async () => {
    if (!menu.open || items.childElementCount) return;
    const { RECORDERS } = await import("../media/recorder.js");
    show(items, ...Object.values(RECORDERS).map(([label, record]) => button(label, () => { menu.open = false; record(add); })));
  });
  return menu;
}

function samplesMenu(add, propose) {
  const items = h("div", { class: "menu-items" });
  const menu = h("details", { class: "menu" }, h("summary", {}, "Examples"), items);
  menu.addEventListener("toggle", async () => {
    if (!menu.open || items.childElementCount) return;
    const groups = await api.samples().catch(() => []);
    show(items, ...groups.map((group) => button(group.map((one) => one.file).join(" + "), () => { menu.open = false; take(group); })));
    if (!groups.length) show(items, h("p", { class: "hint" }, "There are no samples here."));
  });
  async function take(group) {
    for (const { file, modality, options } of group) {
      const blob = await (await fetch(`/page/samples/${encodeURIComponent(file)}`)).blob();
      await add(new File([blob], file, { type: blob.type }), modality, options);
    }
    propose("What is this?");
  }
  return menu;
}

/** Whether the model has tasks, one of which names what is in a box. */
const takesBoxes = (model) => (model?.options ?? []).some(({ name }) => name === "boxes");
