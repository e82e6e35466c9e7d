/** Menus that put media into a message: recordings and the project's samples. */

import * as api from "../core/api.js";
import { button, h, show } from "../core/dom.js";

/** @param {(file: File, modality: string, options?: object) => void} add */
export function recordMenu(add) {
  return menu("Record", async (close) => {
    const { RECORDERS } = await import("../media/recorder.js");
    return Object.values(RECORDERS).map(([label, record]) => button(label, () => { close(); record(add); }));
  });
}

/**
 * @param {() => string[]} accepted the modalities that the model takes; a sample with another one is left out
 * @param {(media: {file: File, modality: string, options: object}[]) => void} take
 */
export function samplesMenu(accepted, take) {
  let groups = null;
  return menu("Examples", async (close) => {
    groups ??= await api.samples().catch(() => []);
    const fitting = groups.filter((group) => group.every(({ modality }) => accepted().includes(modality)));
    if (!fitting.length) return [h("p", { class: "hint" }, "There are no samples for this model here.")];
    return fitting.map((group) =>
      button(group.map(({ file }) => file).join(" + "), async () => { close(); take(await Promise.all(group.map(fetched))); }));
  });
}

async function fetched({ file, modality, options }) {
  const blob = await (await fetch(`/page/samples/${encodeURIComponent(file)}`)).blob();
  return { file: new File([blob], file, { type: blob.type }), modality, options };
}

/** What opens and lists its buttons, made at each opening. */
function menu(name, make) {
  const items = h("div", { class: "menu-items" });
  const element = h("details", { class: "menu" }, h("summary", {}, name), items);
  element.addEventListener("toggle", async () => {
    if (element.open) show(items, ...(await make(() => (element.open = false))));
  });
  return element;
}
