// Kinds of zod's schemas: [schema, a value of it as the service writes JSON].
import { z } from "zod";

const tree = z.object({
  name: z.string(),
  get children() {
    return z.array(tree);
  },
});
const dog = z.object({ kind: z.literal("dog"), age: z.number() });
const car = z.object({ kind: z.literal("car"), colour: z.string() });

export const kinds = {
  email: [z.email(), '"a@b.org"'],
  url: [z.url(), '"http://a.org/x"'],
  uuid: [z.uuid(), '"123e4567-e89b-42d3-a456-426614174000"'],
  ulid: [z.ulid(), '"01ARZ3NDEKTSV4RRFFQ69G5FAV"'],
  time: [z.iso.datetime(), '"2026-01-02T03:04:05Z"'],
  date: [z.iso.date(), '"2026-01-02"'],
  phone: [z.e164(), '"+4912345678"'],
  base64: [z.base64(), '"YWJj"'],
  pattern: [z.string().regex(/^[a-z]{2,3}$/), '"abc"'],
  start: [z.string().startsWith("ab"), '"abc"'],
  inside: [z.string().includes("b"), '"abc"'],
  end: [z.string().endsWith("!"), '"a!"'],
  length: [z.string().min(2).max(5), '"abc"'],
  number: [z.number().min(0).max(1), "0.5"],
  integer: [z.number().int().positive(), "3"],
  multiple: [z.number().multipleOf(5), "10"],
  truth: [z.boolean(), "true"],
  nothing: [z.string().nullable(), "null"],
  anything: [z.any(), "1"],
  json: [z.json(), '{"a": [1]}'],
  one_of: [z.enum(["a", "b"]), '"b"'],
  left_out: [z.object({ a: z.string().optional() }), "{}"],
  filled: [z.object({ a: z.string().default("x") }), '{"a": "y"}'],
  open: [z.looseObject({ a: z.string() }), '{"a": "x", "b": 1}'],
  both: [z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })), '{"a": "x", "b": "y"}'],
  record: [z.record(z.string(), z.number()), '{"a": 1}'],
  record_of_names: [z.record(z.enum(["a", "b"]), z.number()), '{"a": 1, "b": 2}'],
  record_of_some_names: [z.partialRecord(z.enum(["a", "b"]), z.number()), '{"b": 1}'],
  list: [z.array(z.string()).min(1).max(3), '["a"]'],
  pair: [z.tuple([z.string(), z.number()]), '["a", 1]'],
  either: [z.union([z.string(), z.number()]), "3"],
  by_kind: [z.discriminatedUnion("kind", [dog, car]), '{"kind": "car", "colour": "red"}'],
  tree: [tree, '{"name": "a", "children": [{"name": "b", "children": []}]}'],
};
