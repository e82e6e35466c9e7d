/** A request as a program for the package openai. */

import { literal, uniqueNames, withFiles } from "./literal.js";

const WORDS = { true: "True", false: "False", null: "None" };
const OWN = new Set(["model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p", "seed"]);

export function python({ origin, body, files, keyed }) {
  const filled = withFiles(body, files, (name) => `files[${literal(name)}]`);
  const entries = Object.entries(filled);
  const further = Object.fromEntries(entries.filter(([name]) => !OWN.has(name))); // what the package does not know
  const given = [...entries.filter(([name]) => OWN.has(name)), ...(Object.keys(further).length ? [["extra_body", further]] : [])];
  const key = keyed ? 'os.environ["PANDAGPT_CLIENT_KEY"]' : '"none"';
  return `# pip install openai
${keyed ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${literal(`${origin}/v1`)}, api_key=${key})
${files.size ? uploads(files) : ""}
answer = client.chat.completions.create(
${given.map(([name, value]) => `    ${name}=${literal(value, WORDS, "    ")},`).join("\n")}
)
for chunk in answer:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
`;
}

const uploads = (files) => `

def upload(path):
    with open(path, "rb") as file:
        return client.files.create(file=file, purpose="vision").id


files = {name: upload(name) for name in ${literal(uniqueNames(files))}}
`;
