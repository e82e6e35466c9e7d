/** The page: three views over one service. */

import * as api from "./core/api.js";
import { button, h, notice, show } from "./core/dom.js";
import { makeContext } from "./core/context.js";
import { load, save } from "./core/session.js";
import { chatView } from "./chat/view.js";

// The conversation is there at once; the others come when they are opened, or when the browser has nothing to do.
const VIEWS = {
  chat: ["Chat", async () => chatView],
  compare: ["Compare", async () => (await import("./compare/view.js")).compareView],
  status: ["Status", async () => (await import("./status/view.js")).statusView],
};

function tabs(context) {
  const panel = document.getElementById("panel");
  const panels = {};
  const buttons = Object.entries(VIEWS).map(([name, [label]]) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", onclick: () => open(name) }, label),
  );
  const list = show(document.getElementById("tabs"), ...buttons);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  async function open(name) {
    const chosen = VIEWS[name] ? name : "chat";
    save("view", chosen);
    mark(chosen);
    panels[chosen] ??= (await VIEWS[chosen][1]())(context);
    if (load("view") === chosen) show(panel, panels[chosen]);
  }
  function mark(chosen) {
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${chosen}`);
    for (const tab of buttons) {
      const here = tab.id === `tab-${chosen}`;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
    }
  }
  open(load("view", "chat"));
}

const NO_MODEL = notice("No model is ready yet. The page goes on as soon as one is.", "hint");
const AGAIN_MS = 2000;

async function learnModels(context) {
  const trouble = document.getElementById("trouble");
  const retry = () => learnModels(context);
  try {
    const models = await api.models();
    show(trouble, !models.length && NO_MODEL);
    if (models.length) context.learn(models);
    else setTimeout(retry, AGAIN_MS);
  } catch (error) {
    show(trouble, notice(error.message), button("Try again", retry));
  }
}

const context = makeContext(document.getElementById("model"));
learnModels(context);
tabs(context);
// A file that is dropped beside a place for files would take the page away.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("load", () => {
  const whenIdle = globalThis.requestIdleCallback ?? setTimeout;
  whenIdle(() => Object.values(VIEWS).forEach(([, bring]) => bring().catch(() => {})));
});
