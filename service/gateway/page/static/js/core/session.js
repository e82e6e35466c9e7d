/** What lives as long as this browser tab: the key, the conversation, the answer in hand. Nothing goes to disk. */

const PREFIX = "pandagpt.";

export function load(name, otherwise = null) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function save(name, value) {
  try {
    if (value === null || value === undefined) sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // A full or forbidden store costs the resume after a reload, nothing else.
  }
}
