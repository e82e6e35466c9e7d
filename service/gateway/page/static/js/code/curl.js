/** A request for curl and a POSIX shell: one form where that can hold it, else uploads and a JSON body. */

import { formField, MODALITIES } from "../media/modalities.js";
import { Source, uniqueNames, withFiles } from "./literal.js";

export const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
export const KEY = '-H "authorization: Bearer $PANDAGPT_CLIENT_KEY"';
const text = (name, value) => `--form-string ${quoted(`${name}=${value}`)}`; // read as it is, also "@…", "<…" and ";…"

export function curl(request) {
  const parts = mediaOf(request.body.messages.at(-1));
  return fitsForm(request.body, parts) ? form(request, parts) : script(request, "/v1/chat/completions");
}

export const curlEmbeddings = (request) => script(request, "/v1/embeddings");

const mediaOf = ({ content }) => (Array.isArray(content) ? content.filter(({ type }) => type === "file") : []);

/** A form has the files of the last question alone, one set of parameters for each modality, and texts behind files. */
function fitsForm({ messages }, parts) {
  if (messages.slice(0, -1).some((message) => mediaOf(message).length)) return false;
  const isFile = parts.map(({ modality }) => MODALITIES[modality].isFile);
  if (isFile.lastIndexOf(true) > isFile.indexOf(false) && isFile.includes(false)) return false;
  const settings = new Map(parts.map((part) => [part.modality, JSON.stringify(part[part.modality] ?? {})]));
  return parts.every((part) => settings.get(part.modality) === JSON.stringify(part[part.modality] ?? {}));
}

function form({ origin, body, files, keyed }, parts) {
  const { messages, stream_options: _usage, ...fields } = body;
  const prompt = messages.at(-1).content.find(({ type }) => type === "text").text;
  const earlier = messages.slice(0, -1).map(({ role, content }) => ({ role, content: plain(content) }));
  const lines = [
    `curl -N ${quoted(`${origin}/v1/generate`)}`,
    ...(keyed ? [KEY] : []),
    ...parts.map(({ modality, file }) => `-F ${quoted(`${modality}=${MODALITIES[modality].isFile ? "@" : "<"}${fileName(files.get(file.file_id))}`)}`),
    ...parameters(parts),
    ...weights(parts),
    ...Object.entries(fields).map(([name, value]) => text(name, typeof value === "object" ? JSON.stringify(value) : value)),
    ...(earlier.length ? [text("messages", JSON.stringify(earlier))] : []),
    text("prompt", prompt),
  ];
  return lines.join(" \\\n  ");
}

const plain = (content) => (Array.isArray(content) ? content.map((part) => part.text).join("") : content);

/** A name that has a sign with a meaning in a form's field stands in double quotes. */
const fileName = (name) => (/^[\w. +-]+$/.test(name) ? name : `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`);

function parameters(parts) {
  const fields = parts.flatMap((part) => Object.entries(part[part.modality] ?? {}).map(([name, value]) => text(formField(part.modality, name), value)));
  return [...new Set(fields)];
}

function weights(parts) {
  if (parts.every(({ weight }) => weight === undefined)) return [];
  const all = {};
  for (const { modality, weight = 1 } of parts) (all[modality] ??= []).push(weight);
  return [text("weights", JSON.stringify(all))];
}

/** A function of the shell that uploads a file and prints its id. */
export const UPLOAD = (key) => `upload() { curl -sS "$url/v1/files"${key} -F purpose=vision -F "file=@\\"$1\\"" | sed -n 's/.*"id": *"\\(file-[^"]*\\)".*/\\1/p'; }`;

/** A file's name as curl reads it between double quotes. */
export const shellName = (name) => quoted(name.replaceAll("\\", "\\\\").replaceAll('"', '\\"'));

/** Uploads, and a JSON body with their ids. */
function script({ origin, body, files, keyed }, path) {
  const names = uniqueNames(files);
  const key = keyed ? ` ${KEY}` : "";
  const filled = withFiles(body, files, (name) => `$file${names.indexOf(name) + 1}`);
  const uploads = `${UPLOAD(key)}
${names.map((name, index) => `file${index + 1}=$(upload ${shellName(name)})`).join("\n")}
`;
  return `url=${quoted(origin)}
${names.length ? uploads : ""}curl -N "$url${path}"${key} -H 'content-type: application/json' --data-raw ${shellJson(filled)}
`;
}

/** JSON in single quotes, which the variables of the shell interrupt. */
export function shellJson(value) {
  const variables = [];
  const mark = unusedIn(JSON.stringify(value));
  const json = JSON.stringify(value, (_, one) => (one instanceof Source ? `${mark}${variables.push(one.text) - 1}${mark}` : one), 1);
  return quoted(json).replace(new RegExp(`${mark}(\\d+)${mark}`, "g"), (_, index) => `'"${variables[index]}"'`);
}

function unusedIn(text) {
  let mark = "@";
  while (text.includes(mark)) mark += "@";
  return mark;
}
