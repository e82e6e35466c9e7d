/** A small, safe part of Markdown as DOM nodes: no HTML passes, links are http(s) only. */

import { h } from "./dom.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|__([^_]+)__|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/;

/** @returns {DocumentFragment} */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  const lines = text.split("\n");
  let at = 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at);
    if (node) fragment.append(node);
    at = next;
  }
  return fragment;
}

function block(lines, at) {
  const line = lines[at];
  if (line.trim() === "") return [null, at + 1];
  if (line.startsWith("```")) return fenced(lines, at);
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (heading) return [h(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])), at + 1];
  if (BULLET.test(line)) return list(lines, at, "ul", BULLET);
  if (NUMBER.test(line)) return list(lines, at, "ol", NUMBER);
  return paragraph(lines, at);
}

const BULLET = /^\s*[-*+]\s+/;
const NUMBER = /^\s*\d{1,9}[.)]\s+/;

function fenced(lines, at) {
  let end = at + 1;
  while (end < lines.length && !lines[end].startsWith("```")) end += 1;
  return [h("pre", { tabIndex: 0 }, h("code", {}, lines.slice(at + 1, end).join("\n"))), end + 1];
}

function list(lines, at, tag, mark) {
  const items = [];
  let end = at;
  while (end < lines.length && mark.test(lines[end])) {
    items.push(h("li", {}, ...inline(lines[end].replace(mark, ""))));
    end += 1;
  }
  return [h(tag, {}, ...items), end];
}

function paragraph(lines, at) {
  let end = at;
  while (end < lines.length && lines[end].trim() !== "" && !/^(```|#{1,6}\s)/.test(lines[end])) end += 1;
  const nodes = lines.slice(at, end).flatMap((line, index) => [...(index ? [h("br")] : []), ...inline(line)]);
  return [h("p", {}, ...nodes), Math.max(end, at + 1)];
}

function inline(text) {
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
