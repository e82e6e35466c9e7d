/** Where a message is made: words, media dropped, pasted, chosen, recorded or taken from the samples. */

import { button, h, notice, show } from "../core/dom.js";
import { attachment, ensureUploaded, forget } from "../media/attachments.js";
import { MODALITIES, guess } from "../media/modalities.js";
import { mediaCard } from "./media_card.js";
import { recordMenu, samplesMenu } from "./menus.js";

/** @param {(text: string, media: object[]) => void} send */
export function composer(context, send) {
  let media = [];
  let cards = new Map(); // a medium's card stays as it is while others come and go
  const row = h("div", { class: "cards" });
  const messages = h("div");
  const accepted = () => context.model()?.input_modalities ?? [];
  const input = h("textarea", { rows: 3, placeholder: "What is this?", "aria-label": "Your message" });

  function draw() {
    cards = new Map(media.map((medium) => [medium, cards.get(medium) ?? card(medium)]));
    show(row, ...cards.values());
  }

  const card = (medium) => mediaCard(medium, {
    accepted: accepted(),
    recipe: context.recipe,
    parameters: context.parameters,
    boxes: takesBoxes(context.model()),
    remove: () => {
      forget(medium);
      media = media.filter((one) => one !== medium);
      draw();
      input.focus();
    },
  });

  const refuse = (words) => messages.append(notice(words));

  function addAll(files) {
    show(messages); // those of the last time
    for (const file of files) add(file);
  }

  async function add(file, modality = guess(file), options = {}) {
    await context.ready;
    if (!modality || !accepted().includes(modality)) {
      const takes = accepted().map((name) => MODALITIES[name]?.label ?? name).join(", ");
      refuse(`${file.name}: this model takes ${takes || "no media"}.`);
      return;
    }
    const medium = attachment(file, modality, options);
    media.push(medium);
    ensureUploaded(medium).catch(() => {}); // its card, or the answer, shows the refusal
    draw();
  }

  async function submit() {
    await context.ready;
    const text = input.value.trim() || (media.length ? input.placeholder : "");
    if (!text || form.dataset.busy !== undefined) return;
    send(text, media);
    show(messages);
    input.value = "";
    media = [];
    draw();
  }

  const chooser = h("input", { type: "file", multiple: true, class: "hidden", "aria-label": "Files to attach", tabIndex: -1,
    onchange: ({ target }) => { addAll(target.files); target.value = ""; } });
  const ask = button("Ask", submit, { class: "primary" });
  const form = h("section", { class: "composer", "aria-label": "New message" },
    row, messages, input, chooser,
    h("div", { class: "row" }, button("Attach files", () => chooser.click()), recordMenu(add), samplesMenu(accepted, takeSample), ask));

  async function takeSample(media) {
    show(messages);
    for (const { file, modality, options } of media) await add(file, modality, options);
    input.value ||= input.placeholder;
    input.focus();
  }

  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  input.addEventListener("paste", (event) => { if (event.clipboardData.files.length) addAll(event.clipboardData.files); });
  context.onModel(() => {
    cards.clear(); // what the new model takes is offered anew
    const left = media.filter(({ modality }) => !accepted().includes(modality));
    show(messages, left.length > 0 && notice(`This model does not take ${left.map(({ name }) => name).join(", ")}.`));
    draw();
  });

  function takeDrops(area) {
    area.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
    area.addEventListener("dragleave", () => form.classList.remove("over"));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("over");
      const folders = foldersOf(event.dataTransfer);
      addAll([...event.dataTransfer.files].filter(({ name }) => !folders.includes(name)));
      for (const name of folders) refuse(`${name} is a folder. Drop its files, or search it in the view Compare.`);
    });
  }

  return {
    element: form,
    fill: (turn) => { input.value = turn.text; media = turn.media; draw(); input.focus(); },
    takeDrops,
    setBusy: (busy) => { form.toggleAttribute("data-busy", busy); ask.disabled = busy; },
    focus: () => input.focus(),
  };
}

/** The names of what is dropped and no file. */
const foldersOf = ({ items }) =>
  [...items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory).map(({ name }) => name);

/** Whether the model has tasks, one of which names what is in a box. */
export const takesBoxes = (model) => (model?.options ?? []).some(({ kind }) => kind === "boxes");
