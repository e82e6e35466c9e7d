/** Server-Sent Events (WHATWG HTML, section 9.2) out of a fetch body, since EventSource can send no headers. */

/**
 * Feed it text; it gives whole events.
 * @returns {(text: string) => {id: string|null, data: string}[]}
 */
export function eventParser() {
  let rest = "";
  let id = null;
  let data = [];
  return (text) => {
    const events = [];
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) events.push({ id, data: data.join("\n") });
        id = null;
        data = [];
      } else if (!line.startsWith(":")) {
        const at = line.indexOf(":");
        const name = at < 0 ? line : line.slice(0, at);
        const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
        if (name === "data") data.push(value);
        else if (name === "id") id = value;
      }
    }
    return events;
  };
}

const QUIET_MS = 30000; // three of the gateway's keep-alive lines

/** Nothing has come: a phone that has changed its network never learns that its connections are dead. */
export class Silence extends Error {}

/** The promise's result within `ms`, or `Silence`. */
export function soon(promise, ms) {
  let timer = null;
  const silence = new Promise((_, reject) => (timer = setTimeout(() => reject(new Silence("Nothing comes.")), ms)));
  return Promise.race([promise, silence]).finally(() => clearTimeout(timer));
}

/** Raises `Silence`. @param {ReadableStream<Uint8Array>} body */
export async function* events(body) {
  const parse = eventParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await soon(reader.read(), QUIET_MS);
      if (done) return;
      yield* parse(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
