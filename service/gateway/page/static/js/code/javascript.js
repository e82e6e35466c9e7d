/** A request as a module for Node.js. */

import { literal, uniqueNames, withFiles } from "./literal.js";

export function javascript(request) {
  return `${sending(request, "/v1/chat/completions")}let rest = "";
for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\\n");
  rest = lines.pop();
  for (const line of lines)
    if (line.startsWith("data: {")) process.stdout.write(JSON.parse(line.slice(6)).choices?.[0]?.delta.content ?? "");
}
console.log();
`;
}

export function javascriptEmbeddings(request) {
  return `${sending(request, "/v1/embeddings")}for (const { embedding } of (await answer.json()).data) console.log(JSON.stringify(embedding));
`;
}

/** The service, and the ids of the files. */
export function opening({ origin, files, keyed, uploading = files.size > 0 }) {
  const key = keyed ? "authorization: `Bearer ${process.env.PANDAGPT_CLIENT_KEY}`" : "";
  return `// node ask.mjs
${uploading ? 'import { readFile } from "node:fs/promises";\n' : ""}
const url = ${literal(origin)};
const headers = ${key ? `{ ${key} }` : "{}"};
${uploading ? UPLOAD : ""}${files.size ? uploads(files) : ""}`;
}

/** The request, and an error where it is refused. */
function sending({ body, files, ...service }, path) {
  const filled = withFiles(body, files, (name) => `files[${literal(name)}]`);
  return `${opening({ files, ...service })}
const answer = await fetch(url + "${path}", {
  method: "POST",
  headers: { ...headers, "content-type": "application/json" },
  body: JSON.stringify(${literal(filled, {}, "  ")}),
});
if (!answer.ok) throw new Error(await answer.text());
`;
}

const UPLOAD = `
async function upload(path) {
  const form = new FormData();
  form.append("purpose", "vision");
  form.append("file", new Blob([await readFile(path)]), path);
  const answer = await fetch(url + "/v1/files", { method: "POST", headers, body: form });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).id;
}
`;

const uploads = (files) => `
const files = {};
for (const name of ${literal(uniqueNames(files))}) files[name] = await upload(name);
`;
