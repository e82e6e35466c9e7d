/** A small, safe part of Markdown as DOM nodes: no HTML passes, links are http(s) only. Places of a picture are phrases. */

import { h, show } from "./dom.js";
import { PHRASE, boxesOf, ended } from "./places.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|__([^_]+)__|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/;

/** @returns {DocumentFragment} */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...blocks(text).map(({ make }) => make()));
  return fragment;
}

/**
 * Shows a text that grows: only the blocks that have changed are made anew.
 * @param {boolean} places whether the text may name places of a picture
 * @returns {(text: string) => void}
 */
export function growing(parent, places) {
  let shown = [];
  return (text) => {
    shown = blocks(places ? ended(text) : text, places ? phrases : words).map(({ source, make }, index) =>
      shown[index]?.source === source ? shown[index] : { source, node: make() });
    show(parent, ...shown.map(({ node }) => node));
  };
}

/** @returns {{source: string, make: () => Node}[]} */
function blocks(text, inline = words) {
  const lines = text.split("\n");
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const [make, next] = block(lines, at, inline);
    if (make) found.push({ source: lines.slice(at, next).join("\n"), make });
    at = next;
  }
  return found;
}

/** What makes the block that begins at this line, and the line after it. */
function block(lines, at, inline) {
  const line = lines[at];
  if (line.trim() === "") return [null, at + 1];
  if (line.startsWith("```")) return fenced(lines, at);
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (heading) return [() => h(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])), at + 1];
  if (BULLET.test(line)) return list(lines, at, inline, "ul", BULLET);
  if (NUMBER.test(line)) return list(lines, at, inline, "ol", NUMBER);
  return paragraph(lines, at, inline);
}

const BULLET = /^\s*[-*+]\s+/;
const BREAKS = /^(```|#{1,6}\s|\s*[-*+]\s)/; // a paragraph ends before these without an empty line
const NUMBER = /^\s*\d{1,9}[.)]\s+/;

function fenced(lines, at) {
  let end = at + 1;
  while (end < lines.length && !lines[end].startsWith("```")) end += 1;
  return [() => h("pre", { tabIndex: 0 }, h("code", {}, lines.slice(at + 1, end).join("\n"))), end + 1];
}

function list(lines, at, inline, tag, mark) {
  let end = at;
  while (end < lines.length && mark.test(lines[end])) end += 1;
  const items = lines.slice(at, end).map((line) => line.replace(mark, ""));
  const properties = tag === "ol" ? { start: parseInt(lines[at], 10) } : {}; // items between empty lines are lists of their own
  return [() => h(tag, properties, ...items.map((item) => h("li", {}, ...inline(item)))), end];
}

function paragraph(lines, at, inline) {
  let end = at;
  while (end < lines.length && lines[end].trim() !== "" && (end === at || !BREAKS.test(lines[end]))) end += 1;
  const own = lines.slice(at, end);
  return [() => h("p", {}, ...own.flatMap((line, index) => [...(index ? [h("br")] : []), ...inline(line)])), end];
}

/** Phrases that name places, and the words around them. */
function phrases(text) {
  const nodes = [];
  for (let rest = text; rest; ) {
    const found = PHRASE.exec(rest);
    if (!found) return [...nodes, ...words(rest)];
    const [place, phrase] = found;
    nodes.push(...words(rest.slice(0, found.index)));
    if (phrase !== undefined) nodes.push(h("span", { class: "phrase", "data-boxes": boxesOf(place).join(" ") }, ...words(phrase)));
    rest = rest.slice(found.index + place.length);
  }
  return nodes;
}

function words(text) {
  const nodes = [];
  for (let rest = text; rest; ) {
    const found = INLINE.exec(rest);
    if (!found) return [...nodes, rest];
    nodes.push(rest.slice(0, found.index), styled(found));
    rest = rest.slice(found.index + found[0].length);
  }
  return nodes;
}

function styled([, code, bold, bold2, italic, label, address]) {
  if (code !== undefined) return h("code", {}, code);
  if (bold ?? bold2) return h("strong", {}, bold ?? bold2);
  if (italic) return h("em", {}, italic);
  return h("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, label);
}
