/** The key of this tab, and the question for another one as soon as the service refuses it. */

import { button, dialog, field, h, notice } from "./dom.js";
import { load, save } from "./session.js";

const UNAUTHORIZED = 401;
const key = () => load("key", "");
let asking = null; // one question for all requests that wait for its answer

export const hasKey = () => key() !== "";

export function headers(more = {}) {
  return hasKey() ? { authorization: `Bearer ${key()}`, ...more } : more;
}

/**
 * What `attempt` gives; while its key is refused, again with the next one. Without a next one its error stands.
 * @template T
 * @param {() => Promise<T>} attempt
 * @returns {Promise<T>}
 */
export async function withKey(attempt) {
  for (;;) {
    const used = key();
    try {
      return await attempt();
    } catch (error) {
      if (error.status !== UNAUTHORIZED) throw error;
      if (key() === used && !(await anotherKey(error.message))) throw error;
    }
  }
}

/** @returns {Promise<boolean>} whether there is another key now */
function anotherKey(words) {
  asking ??= asked(words).finally(() => (asking = null));
  return asking;
}

const asked = (words) =>
  new Promise((resolve) => {
    const input = h("input", { type: "password", autocomplete: "off", required: true });
    const box = dialog("A key is needed", notice(words, "hint"), field("API key", input));
    const use = button("Use it", () => {
      save("key", input.value.trim() || null);
      resolve(true);
      box.close();
    });
    input.addEventListener("keydown", (event) => event.key === "Enter" && use.click());
    box.querySelector("form").prepend(use);
    box.addEventListener("close", () => resolve(false));
    input.focus();
  });
