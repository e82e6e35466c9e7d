/** A request as a program for the package openai. */

import { literal, uniqueNames, withFiles } from "./literal.js";

export const WORDS = { true: "True", false: "False", null: "None" };
const OWN = new Set(["model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p", "seed"]);

export function python({ origin, body, files, keyed }) {
  const entries = Object.entries(filled(body, files));
  const further = Object.fromEntries(entries.filter(([name]) => !OWN.has(name))); // what the package does not know
  const given = [...entries.filter(([name]) => OWN.has(name)), ...(Object.keys(further).length ? [["extra_body", further]] : [])];
  return `${opening({ origin, files, keyed })}
answer = client.chat.completions.create(
${given.map(argument).join("\n")}
)
for chunk in answer:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
`;
}

export function pythonEmbeddings({ body, files, ...service }) {
  return `${opening({ files, ...service })}
answer = client.embeddings.create(
${Object.entries(filled(body, files)).map(argument).join("\n")}
)
for one in answer.data:
    print(one.embedding)
`;
}

const filled = (body, files) => withFiles(body, files, (name) => `files[${literal(name)}]`);
const argument = ([name, value]) => `    ${name}=${literal(value, WORDS, "    ")},`;

/** The client, and the ids of the files. */
export function opening({ origin, files, keyed, uploading = files.size > 0 }) {
  const key = keyed ? 'os.environ["PANDAGPT_CLIENT_KEY"]' : '"none"';
  return `# pip install openai
${keyed ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${literal(`${origin}/v1`)}, api_key=${key})
${uploading ? UPLOAD : ""}${files.size ? uploads(files) : ""}`;
}

const UPLOAD = `

def upload(path):
    with open(path, "rb") as file:
        return client.files.create(file=file, purpose="vision").id

`;

const uploads = (files) => `
files = {name: upload(name) for name in ${literal(uniqueNames(files))}}
`;
