// Checks of openapi-fetch with the types that openapi-typescript makes of openapi.yaml: `client.ts ADDRESS PICTURE`.
// tsc checks the types of what is sent and read; Node runs what it leaves. Prints a line for each check.

import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [address, picture] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: address });
const bytes = readFileSync(picture);
const blob = () => new File([bytes], "picture.png", { type: "image/png" });

/** A form of these fields: the types know a file as a string. */
function form(body: object): FormData {
  const made = new FormData();
  for (const [name, value] of Object.entries(body)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      made.append(name, one instanceof File ? one : String(one));
    }
  }
  return made;
}

type Answer = components["schemas"]["ChatCompletion"]; // a stream's events are the other kind of answer

const question: components["schemas"]["Message"] = {
  role: "user",
  content: [
    { type: "image_url", image_url: { url: `data:image/png;base64,${bytes.toString("base64")}` } },
    { type: "text", text: "What is this?" },
  ],
};
const chat = await client.POST("/v1/chat/completions", { body: { messages: [question], max_tokens: 3, stream: false } });
const answered = chat.data as Answer;
assert.match(answered.choices[0]!.message.content!, /^<image:/);
assert.equal(answered.usage.prompt_tokens_details.image_items, 1);
console.log("chat");

const generated = await client.POST("/v1/generate", {
  body: { prompt: "What is this?", image: [blob() as unknown as string], max_tokens: 3 },
  bodySerializer: form,
});
assert.match((generated.data as Answer).choices[0]!.message.content!, /^<image:/);
console.log("generate");

const found = await client.POST("/v1/embeddings", { body: { input: ["a dog", "a cat"] } });
for (const row of found.data!.data) {
  const vector = row.embedding as number[];
  assert.ok(Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3);
}
console.log("embeddings");

const kept = await client.POST("/v1/files", {
  body: { file: blob() as unknown as string, purpose: "vision" },
  bodySerializer: form,
});
assert.equal(kept.data!.bytes, bytes.length);
const gone = await client.DELETE("/v1/files/{file_id}", { params: { path: { file_id: kept.data!.id } } });
assert.equal(gone.data!.deleted, true);
console.log("files");

const refused = await client.POST("/v1/chat/completions", { body: { messages: [question], temperature: 101 } });
assert.equal(refused.error!.error.param, "temperature");
console.log("errors");
