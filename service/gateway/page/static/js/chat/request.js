/** A conversation as the request that asks for its next answer. */

import { contentPart } from "../media/attachments.js";

/** The turns that the request holds: a question that got no word of an answer is left out, unless it is the last. */
function sent(turns) {
  const last = turns.findLastIndex((turn) => turn.role === "user");
  return turns.slice(0, last + 1).filter((turn, index) =>
    index === last || (turn.role === "user" ? turns[index + 1].text : turn.text));
}

/** The media of a question that are at the service; one whose upload a reload cut off is not. */
const uploaded = (turn) => (turn.media ?? []).filter((medium) => medium.fileId);

/** The chat completion that answers the last question, with the choice of model and settings that it was asked with. */
export function requestBody(turns) {
  const asked = sent(turns);
  const { choice: { system, ...choice }, parameters = {} } = asked.at(-1);
  const part = (medium) => contentPart(medium, (modality) => parameters[modality]);
  const messages = asked.map((turn) =>
    turn.role === "assistant"
      ? { role: "assistant", content: turn.text }
      : { role: "user", content: [...uploaded(turn).map(part), { type: "text", text: turn.text }] });
  if (system) messages.unshift({ role: "system", content: system });
  return { ...choice, messages, stream: true, stream_options: { include_usage: true } };
}

/** The names of the request's files by their ids. @returns {Map<string, string>} */
export const fileNames = (turns) =>
  new Map(sent(turns).flatMap(uploaded).map((medium) => [medium.fileId, medium.name]));

const PLACE = /messages\[(\d+)\]\.content\[(\d+)\]((?:\.\w+)*)/g;

/** The service's words with a file's name where they name its place in the request. `param` is such a place too. */
export function withNames(words, param, turns) {
  const asked = sent(turns);
  const first = asked.at(-1)?.choice?.system ? 1 : 0; // the message of the system is none of the turns
  const name = (place, message, part) => (asked[message - first] && uploaded(asked[message - first])[part]?.name) ?? place;
  const named = words.replace(PLACE, name);
  const file = (param ?? "").replace(PLACE, (...found) => `${name(...found)}\n`).split("\n");
  return file.length < 2 || file[0] === param || named.includes(file[0]) ? named : `${file[0]}: ${named}`;
}
