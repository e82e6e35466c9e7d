/** Values as the source text of a language. */

/** Source text that stands as it is in the place of a value. */
export class Source {
  constructor(text) {
    this.text = text;
  }
}

const WIDEST = 88; // characters of a list or an object on one line

/** JSON as it is written in Python or JavaScript. @param {Record<string, string>} words for true, false and null */
export function literal(value, words = {}, indent = "") {
  if (value instanceof Source) return value.text;
  if (value === null || typeof value !== "object") return typeof value === "string" ? JSON.stringify(value) : (words[value] ?? JSON.stringify(value));
  const inner = `${indent}    `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const item = (one, deeper) => literal(one, words, deeper);
  const items = (deeper) => Array.isArray(value)
    ? value.map((one) => item(one, deeper))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${item(one, deeper)}`);
  const flat = `${open}${items(inner).join(", ")}${close}`;
  if (flat.length <= WIDEST && !flat.includes("\n")) return flat;
  return `${open}\n${items(inner).map((one) => `${inner}${one},\n`).join("")}${indent}${close}`;
}

/** The body with this source text in the place of each file's id. @param {(name: string) => string} write */
export function withFiles(value, files, write) {
  if (Array.isArray(value)) return value.map((one) => withFiles(one, files, write));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) =>
    [name, name === "file_id" && files.has(one) ? new Source(write(files.get(one))) : withFiles(one, files, write)]));
}

export const uniqueNames = (files) => [...new Set(files.values())];
