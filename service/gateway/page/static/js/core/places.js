/** Places that a model writes into its text: `<p>a dog</p> {<10><20><55><80>}<delim>{<60><5><99><40>}`. */

const BOX = String.raw`\{(?:\s*<\s*\d{1,4}\s*>){4}\s*\}`;
const BOXES = String.raw`\s*${BOX}(?:\s*(?:<delim>\s*)?${BOX})*`;
export const PHRASE = new RegExp(`<p>([^<]*)</p>(${BOXES})?|${BOXES}`);
const UNENDED = /\s*(?:<(?:\/?p?|d[elim]{0,4})|\{[<\d>\s]*)$/;

/** The text without what has only begun of a place, as it is in the middle of a stream. */
export const ended = (text) => text.replace(UNENDED, "").replace(/<p>([^<]*)$/, "$1");

/** The boxes of a piece of text as `left,top,right,bottom` on a grid of 0 to 100. @returns {string[]} */
export const boxesOf = (text = "") => (text.match(new RegExp(BOX, "g")) ?? []).map((box) => box.match(/\d+/g).map((side) => Math.min(100, Number(side))).join(","));

/** The text as a person would write it. */
export const withoutPlaces = (text) => ended(text).replace(new RegExp(PHRASE, "g"), (_, phrase) => phrase ?? "");
