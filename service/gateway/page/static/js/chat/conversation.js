/** A conversation: turns, the request they make, the stream of an answer, its resume. No DOM. */

import * as api from "../core/api.js";
import { events } from "../core/events.js";
import { load, save } from "../core/session.js";
import { contentPart, ensureUploaded, kept, restored } from "../media/attachments.js";

const RETRIES_MS = [0, 500, 1000, 2000, 4000, 8000, 10000]; // within the gateway's retry_grace_s
const ENDS_FOR_GOOD = (error) => error.status >= 400 && error.status < 500;
const MOVES_ON = new Set(["draining"]); // ends a connection, not the request

/**
 * @typedef {{role: "user", text: string, media: object[]}} UserTurn
 * @typedef {{role: "assistant", text: string, state: "waiting"|"streaming"|"done"|"stopped"|"failed", error: string|null,
 *   usage: object|null, firstMs: number|null, tookMs: number|null, warnings: string[], objects: object[]}} AnswerTurn
 */

export class Conversation {
  /** @param {() => void} onchange called whenever anything shown has changed */
  constructor(onchange) {
    this.onchange = onchange;
    this.turns = [];
    this.pending = null;
    this.lastBody = null;
    this._abort = null;
  }

  /** The turns of this tab before a reload, if any. */
  restore() {
    this.turns = load("turns", []).map((turn) => (turn.role === "user" ? { ...turn, media: turn.media.map(restored) } : turn));
    this.pending = load("pending", null);
    const last = this.turns.at(-1);
    if (this.pending && last?.role === "assistant") this._follow(last);
  }

  get busy() {
    return this.pending !== null;
  }

  /** @param {object} choice model id, sampling numbers, system prompt */
  async ask(text, media, choice) {
    const user = { role: "user", text, media };
    const answer = { role: "assistant", text: "", state: "waiting", error: null, usage: null, firstMs: null, tookMs: null, warnings: [], objects: [] };
    this.turns.push(user, answer);
    this.pending = { key: crypto.randomUUID(), body: null, id: null, lastEventId: null };
    this.onchange();
    try {
      await Promise.all(media.map((medium) => ensureUploaded(medium, this.onchange)));
    } catch (error) {
      return this._end(answer, "failed", error.message);
    }
    const boxes = media.map((medium) => medium.box).filter(Boolean);
    const places = boxes.length ? { task: "identify", boxes, boxes_unit: "fraction" } : {};
    this.pending.body = this.lastBody = requestBody(this.turns.slice(0, -1), { ...choice, ...places });
    await this._follow(answer);
  }

  /** Take the turns from `index` on away, and give what its user had written. */
  editFrom(index) {
    const [turn] = this.turns.splice(index);
    this._keep();
    this.onchange();
    return turn;
  }

  clear() {
    this.turns = [];
    this._keep();
    this.onchange();
  }

  async stop() {
    const answer = this.turns.at(-1);
    if (!this.pending) return;
    const id = this.pending.id;
    this._abort?.abort();
    this._end(answer, "stopped");
    if (id) await api.cancel(id).catch(() => {});
  }

  /** Read the answer to its end, however often the connection breaks. */
  async _follow(answer) {
    const begun = performance.now();
    const mine = this.pending;
    for (let attempt = 0; this.pending === mine; ) {
      this._keep();
      try {
        this._abort = new AbortController();
        const body = mine.id
          ? await api.resumeAnswer(mine.id, mine.lastEventId, this._abort.signal)
          : await api.startAnswer(mine.body, mine.key, this._abort.signal);
        const before = mine.lastEventId;
        for await (const event of events(body)) if (this._take(answer, event, begun)) return;
        if (mine.lastEventId !== before) attempt = 0;
      } catch (error) {
        if (this.pending !== mine) return;
        if (ENDS_FOR_GOOD(error)) return this._end(answer, "failed", sentence(error));
        if (attempt >= RETRIES_MS.length - 1) return this._end(answer, "failed", sentence(error));
      }
      attempt += 1;
      if (attempt >= RETRIES_MS.length) return this._end(answer, "failed", "The connection was lost, and did not come back.");
      await new Promise((resolve) => setTimeout(resolve, RETRIES_MS[attempt]));
    }
  }

  /** @returns {boolean} whether that was the end */
  _take(answer, { id, data }, begun) {
    if (data === "[DONE]") {
      if (answer.state === "moving") return false;
      answer.tookMs = performance.now() - begun;
      this._end(answer, answer.error ? "failed" : "done", answer.error);
      return true;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) {
      if (MOVES_ON.has(chunk.error.code)) answer.state = "moving";
      else answer.error = chunk.error.message;
      return false;
    }
    if (id !== null) this.pending.lastEventId = id;
    this.pending.id ??= chunk.id;
    const delta = chunk.choices?.[0]?.delta ?? {};
    if (delta.content) answer.firstMs ??= performance.now() - begun;
    answer.text += delta.content ?? "";
    answer.objects.push(...(delta.objects ?? []));
    answer.warnings.push(...(chunk.warnings ?? []).map((warning) => warning.message ?? warning));
    answer.usage = chunk.usage ?? answer.usage;
    answer.state = "streaming";
    this._keep();
    this.onchange();
    return false;
  }

  _end(answer, state, error = null) {
    Object.assign(answer, { state, error });
    this.pending = null;
    this._keep();
    this.onchange();
  }

  _keep() {
    save("pending", this.pending);
    save("turns", this.turns.map((turn) => (turn.role === "user" ? { ...turn, media: turn.media.map(kept) } : turn)));
  }
}

const sentence = (error) => (error.status === undefined ? "The service cannot be reached." : error.message);

/** The chat completion that asks for the next answer. */
export function requestBody(turns, { model, system, ...sampling }) {
  const messages = turns.filter((turn) => turn.role === "user" || turn.text).map((turn) =>
    turn.role === "assistant"
      ? { role: "assistant", content: turn.text }
      : { role: "user", content: [...turn.media.map(contentPart), { type: "text", text: turn.text }] });
  if (system) messages.unshift({ role: "system", content: system });
  return { model, messages, stream: true, stream_options: { include_usage: true }, ...sampling };
}
