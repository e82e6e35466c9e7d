// The npm package `openai`, unmodified, against the service at OPENAI_BASE_URL. Prints one line of JSON: check -> result.
// A check that throws gives {"error": ...}; the test that started this looks at every result.
import OpenAI, { toFile } from "openai";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const client = new OpenAI({ maxRetries: 0, timeout: 20_000 });
const model = "fake";
const messages = [{ role: "user", content: "Tell me" }];
const plain = { model, messages, max_tokens: 5, seed: 1 };
const picture = readFileSync(process.env.PICTURE);
const image = { type: "image_url", image_url: { url: `data:image/png;base64,${picture.toString("base64")}` } };

async function thrown(call) {
  try {
    await call();
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null, param: error.param ?? null };
  }
  return null;
}

async function text(stream) {
  let whole = "";
  for await (const chunk of stream) whole += chunk.choices[0]?.delta?.content ?? "";
  return whole;
}

const checks = {
  whole: async () => (await client.chat.completions.create(plain)).choices[0].message.content,
  usage: async () => (await client.chat.completions.create(plain)).usage.total_tokens,
  streamed: async () => text(await client.chat.completions.create({ ...plain, stream: true })),
  usage_of_stream: async () => {
    let usage = null;
    const options = { ...plain, stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await client.chat.completions.create(options)) usage = chunk.usage ?? usage;
    return usage.total_tokens;
  },
  helper: async () => {
    const runner = client.chat.completions.stream({ ...plain, max_tokens: 50 });
    return (await runner.finalChatCompletion()).choices[0].message.content.length > 0;
  },
  aborted: async () => {
    const stream = await client.chat.completions.create({ ...plain, stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return chunk.id;
    }
  },
  image: async () => {
    const content = [image, { type: "text", text: "What is it?" }];
    return (await client.chat.completions.create({ ...plain, messages: [{ role: "user", content }] })).choices[0].message.content;
  },
  choices: async () => (await client.chat.completions.create({ ...plain, n: 3 })).choices.map((choice) => choice.index),
  logprobs: async () => {
    const answer = await client.chat.completions.create({ ...plain, logprobs: true, top_logprobs: 2 });
    return answer.choices[0].logprobs.content.map((one) => one.top_logprobs.length);
  },
  own_parameters: async () => (await client.chat.completions.create({ ...plain, top_k: 5, priority: "batch" })).object,
  raw: async () => {
    const { response, request_id } = await client.chat.completions.create({ ...plain, colour: 1 }).withResponse();
    return { ignored: response.headers.get("x-ignored-params"), named: request_id.startsWith("req-") };
  },
  models: async () => {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    return [...ids, (await client.models.retrieve(model)).id];
  },
  embeddings: async () => {
    const { data } = await client.embeddings.create({ model, input: ["a dog", "a cat"] });
    const norms = data.map((row) => Math.hypot(...row.embedding));
    const floats = await client.embeddings.create({ model, input: "a dog", encoding_format: "float" });
    const same = floats.data[0].embedding.every((value, at) => Math.abs(value - data[0].embedding[at]) < 1e-6);
    return { unit: norms.every((norm) => Math.abs(norm - 1) < 1e-5), same };
  },
  image_embedding: async () => (await client.embeddings.create({ model, input: [image] })).data.length,
  files: async () => {
    const made = await client.files.create({ file: await toFile(picture, "a.png"), purpose: "vision" });
    const listed = [];
    for await (const file of client.files.list()) listed.push(file.id);
    const content = Buffer.from(await (await client.files.content(made.id)).arrayBuffer());
    const deleted = (await client.files.delete(made.id)).deleted;
    const gone = await thrown(() => client.files.retrieve(made.id));
    return { listed: listed.includes(made.id), same: content.equals(picture), deleted, gone: gone.code };
  },
  bad_request: () => thrown(() => client.chat.completions.create({ ...plain, temperature: 999 })),
  not_found: () => thrown(() => client.chat.completions.create({ ...plain, model: "nobody" })),
  too_long: () => thrown(() => client.chat.completions.create({ ...plain, messages: [{ role: "user", content: "word ".repeat(3000) }] })),
  failed_stream: () =>
    thrown(async () => text(await client.chat.completions.create({ ...plain, stream: true, messages: [{ role: "user", content: "FAULT-SEQUENCE" }] }))),
  timeout: () => new Promise((resolve) => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1", async () => {
      const caller = new OpenAI({ baseURL: `http://127.0.0.1:${silent.address().port}`, maxRetries: 0, timeout: 200 });
      resolve(await thrown(() => caller.chat.completions.create(plain)));
      silent.close();
    });
    silent.unref();
  }),
};

const strict = new OpenAI({ baseURL: process.env.STRICT_URL, apiKey: "wrong", maxRetries: 0 });
checks.wrong_key = () => thrown(() => strict.models.list());

const results = {};
for (const [name, check] of Object.entries(checks)) {
  try {
    results[name] = await check();
  } catch (error) {
    results[name] = { error: `${error.constructor.name}: ${error.message}` };
  }
}
console.log(JSON.stringify(results));
