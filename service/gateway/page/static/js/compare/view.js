/** How alike words and media are: a matrix of similarities, and a search through a folder of pictures. */

import * as api from "../core/api.js";
import { button, field, h, notice, show } from "../core/dom.js";
import { attachment, contentPart, ensureUploaded, forget } from "../media/attachments.js";
import { heatMap } from "./heat_map.js";
import { guess } from "../media/modalities.js";
import { mediaCard } from "../chat/media_card.js";
import { droppedFiles, pathInFolder } from "./dropped.js";
import { cosine, inBatches } from "./similarity.js";

export function compareView(context) {
  return h("div", { class: "compare" }, matrixPanel(context), searchPanel(context));
}

/** Unit vectors of strings and media, in order. */
async function vectors(context, items) {
  const body = await embeddingsBody(context, items);
  try {
    const answer = await api.embeddings(body);
    return answer.data.map((one) => one.embedding);
  } catch (error) {
    throw new Error(withNames(error, items));
  }
}

/** The request, once all its media are uploaded. */
async function embeddingsBody(context, items) {
  await context.ready;
  await Promise.all(items.filter(isMedium).map(ensureUploaded));
  const input = items.map((item) => (isMedium(item) ? contentPart(item, context.parameters) : item));
  return { model: context.model()?.id, input };
}

const isMedium = (item) => typeof item !== "string";
const PLACE = /input\[(\d+)\]((?:\.\w+)*)/;

/** The service's sentence with the item's name in place of its place in the list. */
function withNames({ message, param }, items) {
  const [, index] = PLACE.exec(`${message} ${param}`) ?? [];
  const name = items[index]?.name ?? items[index];
  if (!name) return message;
  return PLACE.test(message) ? message.replace(PLACE, name) : `${name}: ${message}`;
}

function matrixPanel(context) {
  let media = [];
  const accepted = () => context.model()?.input_modalities ?? [];
  const cards = h("div", { class: "cards" });
  const words = h("textarea", { rows: 4, placeholder: "a dog\na violin\nrain" });
  const result = h("div", { "aria-live": "polite" });
  const draw = () => show(cards, ...media.map((medium) => mediaCard(medium, { accepted: accepted(), recipe: context.recipe, parameters: context.parameters, remove: () => { forget(medium); media = media.filter((one) => one !== medium); draw(); } })));
  const add = async (files) => {
    await context.ready;
    const refused = files.filter((file) => !accepted().includes(guess(file)));
    show(result, refused.length > 0 && notice(`This model does not take ${refused.map(({ name }) => name).join(", ")}.`));
    for (const file of files) if (!refused.includes(file)) media.push(attachment(file, guess(file)));
    draw();
  };
  context.onModel(draw);
  const itemsNow = () => [...words.value.split("\n").map((line) => line.trim()).filter(Boolean), ...media];
  const run = async () => {
    const items = itemsNow();
    if (items.length < 2) return show(result, notice("Two things are needed, a text or a medium each."));
    try {
      const rows = await vectors(context, items);
      show(result, heatMap(items.map((item) => item.name ?? item), rows.map((a) => rows.map((b) => cosine(a, b)))));
    } catch (error) {
      show(result, notice(error.message));
    }
  };
  const code = async () => {
    const items = itemsNow();
    if (!items.length) return show(result, notice("Write a text or choose a medium first."));
    try {
      const body = await embeddingsBody(context, items);
      const files = new Map(items.filter(isMedium).map((medium) => [medium.fileId, medium.name]));
      (await import("../code/dialog.js")).showEmbeddings(body, files);
    } catch (error) {
      show(result, notice(error.message));
    }
  };
  const chooser = h("input", { type: "file", multiple: true, onchange: ({ target }) => { add([...target.files]); target.value = ""; } });
  return h("section", { "aria-labelledby": "matrix" }, h("h2", { id: "matrix" }, "How alike are they?"),
    field("Texts, one a line", words), field("Media", chooser), cards,
    h("div", { class: "row" }, button("As code", code), button("Compare", run, { class: "primary" })), result);
}

function searchPanel(context) {
  let found = [];
  const status = h("p", { role: "status" });
  const result = h("ol", { class: "hits" });
  const folder = h("input", { type: "file", multiple: true, webkitdirectory: true });
  const words = h("input", { type: "search", placeholder: "a dog in the snow" });
  const medium = h("input", { type: "file" });
  const embedded = async (files) => {
    const media = files.map((file) => attachment(file, "image"));
    try {
      const rows = await vectors(context, media);
      return media.map((one, index) => ({ medium: one, file: one.file, vector: rows[index] }));
    } finally {
      media.forEach(forget); // a folder may hold more than a key may keep at the service
    }
  };
  const eachAlone = async (files, refused) => {
    const ready = [];
    for (const file of files) await embedded([file]).then((one) => ready.push(...one), ({ message }) => refused.push(message));
    return ready;
  };
  let prepared = { files: [] };
  const prepare = async (files) => {
    found = [];
    const mine = (prepared = { files });
    await context.ready;
    mine.model = context.model()?.id;
    const pictures = files.filter((file) => guess(file) === "image");
    const refused = [];
    for await (const batch of inBatches(pictures, 8)) {
      const ready = await embedded(batch).catch(() => eachAlone(batch, refused)); // one that cannot be read fails all
      if (prepared !== mine) return;
      found.push(...ready);
      status.textContent = [`${found.length} of ${pictures.length} pictures are ready.`, ...refused].join(" ");
    }
  };
  folder.addEventListener("change", () => prepare([...folder.files]));
  context.onModel(() => prepared.model && prepared.model !== context.model()?.id && prepare(prepared.files)); // its vectors are others
  // What was given last is looked for.
  words.addEventListener("input", () => (medium.value = ""));
  medium.addEventListener("change", () => (words.value = ""));
  /** What is looked for, once there is a folder to look in. */
  const itemNow = () => {
    const item = medium.files[0] ? attachment(medium.files[0], guess(medium.files[0]) ?? "image") : words.value.trim();
    if (item && found.length) return item;
    status.textContent = "Choose a folder, and words or a file to look for.";
    return null;
  };
  const code = async () => {
    const item = itemNow();
    if (!item) return;
    try {
      const { model, input: [query] } = await embeddingsBody(context, [item]);
      const { file: _its, ...part } = contentPart(found[0].medium, context.parameters);
      const files = new Map(isMedium(item) ? [[item.fileId, item.name]] : []);
      const pictures = found.map(({ file }) => pathInFolder(file));
      (await import("../code/dialog.js")).showSearch({ body: { model, query }, files, part, pictures });
    } catch (error) {
      status.textContent = error.message;
    }
  };
  const run = async () => {
    const item = itemNow();
    if (!item) return;
    try {
      const [query] = await vectors(context, [item]);
      if (isMedium(item)) forget(item);
      const ranked = found.map((one) => [cosine(query, one.vector), one.file]).sort((a, b) => b[0] - a[0]).slice(0, 24);
      show(result, ...ranked.map(([value, file]) =>
        h("li", {}, h("img", { src: URL.createObjectURL(file), alt: file.name, loading: "lazy" }), `${file.name}: ${value.toFixed(3)}`)));
    } catch (error) {
      status.textContent = error.message;
    }
  };
  words.addEventListener("keydown", (event) => event.key === "Enter" && run());
  const drop = async (event) => {
    event.preventDefault();
    await prepare(await droppedFiles(event.dataTransfer));
  };
  const section = { "aria-labelledby": "search", ondragover: (event) => event.preventDefault(), ondrop: drop };
  return h("section", section, h("h2", { id: "search" }, "Search a folder of pictures"),
    field("Folder, chosen or dropped here", folder), status, field("By words", words), field("Or by a sound, a picture, any medium", medium),
    h("div", { class: "row" }, button("As code", code), button("Search", run, { class: "primary" })), result);
}
