/** A conversation: turns, the stream of an answer, its resume. No DOM. */

import * as api from "../core/api.js";
import { Silence, events, soon } from "../core/events.js";
import { load, save } from "../core/session.js";
import { ensureUploaded, kept, restored, stopUpload } from "../media/attachments.js";
import { requestBody, withNames } from "./request.js";

const RETRIES_MS = [0, 500, 1000, 2000, 4000, 8000, 10000]; // within the gateway's retry_grace_s
const OPENED_MS = 10000; // the rest of an answer begins at once, but for a connection that is dead
const ENDS_FOR_GOOD = (error) => error.status >= 400 && error.status < 500;
const MOVES_ON = new Set(["draining"]); // ends a connection, not the request

/**
 * @typedef {{role: "user", text: string, media: object[], choice: object, parameters: object}} UserTurn
 *   `choice`: model, settings, places; `parameters`: those that the model takes of each modality
 * @typedef {{role: "assistant", text: string, state: "waiting"|"streaming"|"done"|"stopped"|"failed", error: string|null,
 *   usage: object|null, firstMs: number|null, tookMs: number|null, warnings: string[], objects: object[],
 *   resumed: boolean, places: boolean}} AnswerTurn `places`: the text may name places of a picture
 */

export class Conversation {
  /** @param {() => void} onchange called whenever anything shown has changed */
  constructor(onchange) {
    this.onchange = onchange;
    this.turns = [];
    this.pending = null;
    this._abort = null;
  }

  /** The turns of this tab before a reload, if any. */
  restore() {
    this.turns = load("turns", []).map((turn) => (turn.role === "user" ? { ...turn, media: turn.media.map(restored) } : turn));
    this.pending = load("pending", null);
    const last = this.turns.at(-1);
    if (!this.pending || last?.role !== "assistant") return;
    if (!this.pending.body) return this._end(last, "failed", "The upload was cut off. Attach the files again, and ask.");
    last.resumed = true;
    this._follow(last);
  }

  get busy() {
    return this.pending !== null;
  }

  /**
   * @param {object} choice model id, sampling numbers, system prompt, options of the model
   * @param {{places: boolean, parameters: Record<string, string[]>|undefined}} model whether it names places of a
   *   picture; the parameters that it takes of each modality
   */
  async ask(text, media, choice, { places, parameters }) {
    const boxes = media.map((medium) => medium.box).filter(Boolean);
    const task = choice.options?.task ? {} : { task: "identify" };
    const asked = boxes.length ? { ...task, boxes, boxes_unit: "fraction" } : {};
    const answer = {
      role: "assistant", text: "", state: "waiting", error: null, usage: null, firstMs: null, tookMs: null,
      warnings: [], objects: [], contributions: null, resumed: false, places,
    };
    this.turns.push({ role: "user", text, media, choice: { ...choice, ...asked }, parameters }, answer);
    const mine = (this.pending = { key: randomKey(), body: null, id: null, lastEventId: null });
    this._keep();
    this.onchange();
    try {
      await Promise.all(media.map(ensureUploaded));
    } catch (error) {
      if (this.pending === mine) this._end(answer, "failed", error.message);
      return;
    }
    if (this.pending !== mine) return; // stopped
    mine.body = requestBody(this.turns);
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

  stop() {
    const mine = this.pending;
    if (!mine) return;
    this.turns.at(-2).media.forEach(stopUpload);
    this._end(this.turns.at(-1), "stopped");
    if (mine.id) this._cancel(mine.id, this._abort); // else the stream is read on to its id
  }

  _cancel(id, abort) {
    abort?.abort();
    api.cancel(id).catch(() => {}); // it may have ended by itself
  }

  /** Read the answer to its end, however often the connection breaks. */
  async _follow(answer) {
    const begun = performance.now();
    const mine = this.pending;
    for (let attempt = 0; this.pending === mine; ) {
      this._keep();
      let body = null;
      try {
        const abort = (this._abort = new AbortController());
        body = mine.id
          ? await soon(api.resumeAnswer(mine.id, mine.lastEventId, abort.signal), OPENED_MS)
          : await api.startAnswer(mine.body, mine.key, abort.signal);
        for await (const event of events(body)) {
          if (this.pending !== mine) return this._cancelLate(event, abort);
          if (event.id !== null) attempt = 0; // it goes on
          if (this._take(answer, event, begun)) return;
        }
      } catch (error) {
        if (this.pending !== mine) return;
        this._abort.abort();
        if (body && error instanceof Silence) attempt = 0; // the service was there
        const lasting = ENDS_FOR_GOOD(error) || attempt >= RETRIES_MS.length - 1;
        if (lasting) return this._end(answer, "failed", sentence(error, this.turns));
      }
      attempt += 1;
      if (attempt >= RETRIES_MS.length) return this._end(answer, "failed", "The connection was lost, and did not come back.");
      await new Promise((resolve) => setTimeout(resolve, RETRIES_MS[attempt]));
    }
  }

  /** The first event after a stop that came before the request's id was known. */
  _cancelLate({ data }, abort) {
    if (data !== "[DONE]") this._cancel(JSON.parse(data).id, abort);
  }

  /** @returns {boolean} whether that was the end */
  _take(answer, { id, data }, begun) {
    if (data === "[DONE]") {
      if (answer.state === "moving") return false;
      if (!answer.resumed) answer.tookMs = performance.now() - begun;
      this._end(answer, answer.error ? "failed" : "done", answer.error);
      return true;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) {
      if (MOVES_ON.has(chunk.error.code)) answer.state = "moving";
      else answer.error = withNames(chunk.error.message, chunk.error.param, this.turns);
      return false;
    }
    if (id !== null) this.pending.lastEventId = id;
    this.pending.id ??= chunk.id;
    const delta = chunk.choices?.[0]?.delta ?? {};
    if (delta.content && !answer.resumed) answer.firstMs ??= performance.now() - begun;
    answer.text += delta.content ?? "";
    answer.objects.push(...(delta.objects ?? []));
    answer.warnings.push(...(chunk.warnings ?? []).map((warning) => withNames(warning.message ?? warning, null, this.turns)));
    answer.usage = chunk.usage ?? answer.usage;
    answer.contributions = chunk.choices?.[0]?.fields?.contributions?.media ?? answer.contributions;
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

/** `crypto.randomUUID` exists on https and on this machine only. */
const randomKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const sentence = (error, turns) =>
  error.status === undefined ? "The service cannot be reached." : withNames(error.message, error.param, turns);
