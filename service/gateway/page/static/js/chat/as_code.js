/** The last request as curl, Python and JavaScript that run when pasted beside the files. */

import { button, dialog, h } from "../core/dom.js";
import { formField } from "../media/modalities.js";

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const literal = (value) => JSON.stringify(value);

/** The parts of each turn with the names of files in place of ids. */
function described(turns) {
  return turns.map((turn) => ({ role: turn.role, text: turn.text, media: turn.media ?? [] }));
}

export function curl(origin, model, turns) {
  const [last, before] = [turns.at(-1), described(turns.slice(0, -1))];
  const lines = [`curl -N ${origin}/v1/generate`, `-F model=${quoted(model)}`, `-F prompt=${quoted(last.text)}`];
  const weights = {};
  for (const { modality, name, options, weight } of last.media) {
    lines.push(modality === "text" ? `-F ${quoted(`text=<${name}`)}` : `-F ${quoted(`${modality}=@${name}`)}`);
    (weights[modality] ??= []).push(weight);
    for (const [option, value] of Object.entries(options)) lines.push(`-F ${formField(modality, option)}=${quoted(value)}`);
  }
  if (Object.values(weights).flat().some((weight) => weight !== 1)) lines.push(`-F weights=${quoted(literal(weights))}`);
  const said = before.map(({ role, text }) => ({ role, content: text }));
  if (said.length) lines.push(`-F messages=${quoted(literal(said))}`);
  return [...lines, "-F stream=true"].join(" \\\n  ");
}

export function python(origin, model, turns) {
  const message = ({ role, text, media }) =>
    role === "assistant" || !media?.length
      ? `    {"role": ${literal(role)}, "content": ${literal(text)}},`
      : `    {"role": "user", "content": [${media.map(pythonPart).join(", ")}, {"type": "text", "text": ${literal(text)}}]},`;
  return `# pip install openai
from openai import OpenAI

client = OpenAI(base_url=${literal(`${origin}/v1`)}, api_key="any")


def medium(path, modality, **more):
    with open(path, "rb") as file:
        upload = client.files.create(file=file, purpose="vision")
    return {"type": "file", "file": {"file_id": upload.id}, "modality": modality, **more}


messages = [
${turns.map(message).join("\n")}
]
for chunk in client.chat.completions.create(model=${literal(model)}, messages=messages, stream=True):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
`;
}

function pythonPart({ name, modality, options, weight }) {
  const more = [];
  if (weight !== 1) more.push(`weight=${weight}`);
  if (Object.keys(options).length) more.push(`${modality}=${literal(options)}`);
  return `medium(${[literal(name), literal(modality), ...more].join(", ")})`;
}

export function javascript(origin, model, turns) {
  const part = ({ name, modality, options, weight }) =>
    `await medium(${literal(name)}, ${literal(modality)}, ${literal({ ...(weight !== 1 && { weight }), ...(Object.keys(options).length && { [modality]: options }) })})`;
  const message = ({ role, text, media }) =>
    role === "assistant" || !media?.length
      ? `  { role: ${literal(role)}, content: ${literal(text)} },`
      : `  { role: "user", content: [${media.map(part).join(", ")}, { type: "text", text: ${literal(text)} }] },`;
  return `// node ask.mjs
import { readFile } from "node:fs/promises";

const url = ${literal(origin)};

async function medium(path, modality, more = {}) {
  const form = new FormData();
  form.append("purpose", "vision");
  form.append("file", new Blob([await readFile(path)]), path);
  const upload = await (await fetch(url + "/v1/files", { method: "POST", body: form })).json();
  return { type: "file", file: { file_id: upload.id }, modality, ...more };
}

const messages = [
${turns.map(message).join("\n")}
];
const answer = await fetch(url + "/v1/chat/completions", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: ${literal(model)}, messages }),
});
console.log((await answer.json()).choices[0].message.content);
`;
}

const LANGUAGES = { curl, Python: python, JavaScript: javascript };

export function showCode(model, turns) {
  const code = h("pre", { tabIndex: 0 }, h("code"));
  const choose = (write) => (code.firstChild.textContent = write(location.origin, model, turns));
  const buttons = Object.entries(LANGUAGES).map(([name, write]) => button(name, () => choose(write)));
  const copy = button("Copy", () => navigator.clipboard.writeText(code.textContent));
  choose(curl);
  dialog("This request as code", h("div", { class: "row" }, ...buttons), code, h("div", { class: "row" }, copy),
    h("p", { class: "hint" }, "Run it in the folder of the files. Where the service needs a key, send it as “Authorization: Bearer …”."));
}
