// The AI SDK (npm `ai`) by each of its providers for OpenAI's interface, unmodified, against the service at
// OPENAI_BASE_URL. Prints one line of JSON: provider -> check -> result. A check that throws gives {"error": ...}; the
// test that started this looks at every result.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { kinds } from "./kinds.mjs";

const address = { baseURL: process.env.OPENAI_BASE_URL, apiKey: "none" };
const compatible = createOpenAICompatible({ ...address, name: "pandagpt", includeUsage: true, supportsStructuredOutputs: true });
const openai = createOpenAI(address);
const models = {
  compatible: compatible.chatModel("panda-mini"),
  chat: openai.chat("panda-mini"),
  responses: openai.responses("panda-mini"),
};
const plain = { prompt: "Tell me", maxOutputTokens: 400, maxRetries: 0 };
const city = z.object({
  name: z.string(),
  people: z.number().int(),
  tags: z.array(z.string()),
  sky: z.enum(["blue", "grey"]),
  mayor: z.object({ name: z.string(), since: z.number() }).nullable(),
});
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string(), days: z.number().int(), units: z.record(z.string(), z.string()) }),
  execute: async ({ city, days }) => `${city} in ${days} days: sunny`,
});
const withTools = { ...plain, prompt: "The weather?", tools: { weather }, stopWhen: stepCountIs(3) };
const picture = readFileSync(process.env.PICTURE);

const calls = (step) => step.toolCalls.map((call) => [call.toolName, call.input]);
const results = (step) => step.toolResults.map((result) => result.output);
const stepsOf = (steps) => steps.map((step) => [step.finishReason, calls(step), results(step), step.text]);

async function thrown(call) {
  try {
    await call();
  } catch (error) {
    return { name: error.name, status: error.statusCode ?? null, retry: error.isRetryable ?? null, message: error.message };
  }
  return null;
}

const checks = {
  object: async (model) => (await generateObject({ ...plain, model, schema: city })).object,
  array: async (model) => (await generateObject({ ...plain, model, output: "array", schema: city })).object.length,
  choice: async (model) => (await generateObject({ ...plain, model, output: "enum", enum: ["yes", "no"] })).object,
  object_stream: async (model) => {
    const { partialObjectStream, object } = streamObject({ ...plain, model, schema: city });
    let parts = 0;
    for await (const _ of partialObjectStream) parts += 1;
    return { several: parts > 1, object: await object };
  },
  output: async (model) => (await generateText({ ...plain, model, output: Output.object({ schema: city }) })).output,
  output_after_tools: async (model) => {
    const schema = z.object({ sky: z.enum(["blue", "grey"]) });
    const look = tool({ inputSchema: z.object({}), execute: async () => 'Say: {"sky": "grey"}' });
    const { output, steps } = await generateText({ ...withTools, model, tools: { look }, output: Output.object({ schema }) });
    return [output, steps.length];
  },
  kinds_that_fail: async (model) => {
    const failed = {};
    for (const [name, [inside, value]] of Object.entries(kinds)) {
      const schema = z.object({ value: inside });
      try {
        const { object } = await generateObject({ ...plain, model, schema, prompt: `Say: {"value": ${value}}` });
        if (JSON.stringify(object.value) !== JSON.stringify(JSON.parse(value))) failed[name] = object.value;
      } catch (error) {
        failed[name] = error.message;
      }
    }
    return failed;
  },
  tools: async (model) => stepsOf((await generateText({ ...withTools, model })).steps),
  required: async (model) => calls(await generateText({ ...withTools, model, toolChoice: "required", stopWhen: stepCountIs(1) })),
  named: async (model) => {
    const toolChoice = { type: "tool", toolName: "now" };
    const tools = { weather, now: tool({ inputSchema: z.object({}) }) };
    return calls(await generateText({ ...withTools, model, tools, toolChoice }));
  },
  none: async (model) => (await generateText({ ...withTools, model, toolChoice: "none" })).text,
  text: async (model) => {
    const { text, finishReason, usage } = await generateText({ ...plain, model });
    return { text, finishReason, counted: usage.totalTokens === usage.inputTokens + usage.outputTokens };
  },
  text_stream: async (model) => {
    const { textStream, finishReason, usage } = streamText({ ...plain, model });
    const pieces = [];
    for await (const piece of textStream) pieces.push(piece);
    const counted = (await usage).totalTokens > 0;
    return { text: pieces.join(""), several: pieces.length > 1, finishReason: await finishReason, counted };
  },
  tool_stream: async (model) => {
    const { fullStream, steps } = streamText({ ...withTools, model });
    const seen = new Map();
    for await (const { type } of fullStream) seen.set(type, (seen.get(type) ?? 0) + 1);
    const kinds = ["tool-input-start", "tool-call", "tool-result", "error"].map((kind) => seen.get(kind) ?? 0);
    return { kinds, pieces: seen.get("tool-input-delta") > 1, steps: stepsOf(await steps) };
  },
  picture: async (model) => {
    const content = [{ type: "image", image: picture }, { type: "text", text: "What is it?" }];
    return (await generateText({ ...plain, prompt: undefined, model, messages: [{ role: "user", content }] })).text;
  },
  cut: async (model) => (await generateText({ ...plain, model, maxOutputTokens: 2 })).finishReason,
  refused: (model) => thrown(() => generateText({ ...plain, model, temperature: 999 })),
};

const found = {};
for (const [provider, model] of Object.entries(models)) {
  found[provider] = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      found[provider][name] = await check(model);
    } catch (error) {
      found[provider][name] = { error: `${error.name}: ${error.message} ${error.responseBody ?? ""}` };
    }
  }
}
console.log(JSON.stringify(found));
