/** The things that an answer has found, over the picture that they are in; a phrase and its box are marked together. */

import { h, show } from "../core/dom.js";
import { bytesOf } from "../media/attachments.js";
import { COLOURS, addBox, overlay } from "./overlay.js";

const STARTS = ["mouseenter", "focus"];
const ENDS = ["mouseleave", "blur"];

/**
 * @param {Element} parent
 * @param {object} medium the picture
 * @param {Element} text of the answer, whose phrases are marked too
 * @returns {Promise<(objects: {label: string|null, box_norm: number[]}[]) => void>} adds those that are new
 */
export async function foundObjects(parent, medium, text) {
  const { node, layer } = overlay(await pictureOf(medium));
  const list = h("ul", { "aria-label": "Found objects" });
  layer.setAttribute("aria-hidden", "true");
  show(parent, h("div", { class: "found" }, node, list));
  let count = 0;
  return (objects) => {
    for (; count < objects.length; count += 1) add(objects[count], count, layer, list, text);
  };
}

async function pictureOf(medium) {
  try {
    return h("img", { src: URL.createObjectURL(await bytesOf(medium)), alt: medium.name });
  } catch {
    return h("p", { class: "hint" }, `${medium.name} is not at the service any more.`);
  }
}

function add({ label, box_norm: box }, index, layer, list, text) {
  const colour = COLOURS[index % COLOURS.length];
  const rect = addBox(layer, box, colour);
  const phrase = h("li", { tabIndex: 0 }, label || `object ${index + 1}`);
  phrase.style.borderColor = colour;
  list.append(phrase);
  const mark = (on) => [rect, phrase, ...phrasesOf(box, text)].forEach((element) => element.classList.toggle("marked", on));
  for (const element of [rect, phrase]) {
    for (const name of STARTS) element.addEventListener(name, () => mark(true));
    for (const name of ENDS) element.addEventListener(name, () => mark(false));
  }
  // The text grows and its phrases with it, so that one listener above them is enough.
  const within = (event) => phrasesOf(box, text).includes(event.target);
  text.addEventListener("mouseover", (event) => within(event) && mark(true));
  text.addEventListener("mouseout", (event) => within(event) && mark(false));
}

/** The phrases of the text that name this box. */
const phrasesOf = (box, text) =>
  [...text.querySelectorAll("[data-boxes]")].filter(({ dataset }) => dataset.boxes.split(" ").includes(keyOf(box)));

/** A box as the grid of 0 to 100 that the answer's text has. */
export const keyOf = (box) => box.map((side) => Math.round(side * 100)).join(",");
