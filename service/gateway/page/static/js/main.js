/** The page: three views over one service. */

import * as api from "./core/api.js";
import { button, dialog, field, h, notice, show } from "./core/dom.js";
import { load, save } from "./core/session.js";
import { chatView } from "./chat/view.js";
import { compareView } from "./compare/view.js";
import { statusView } from "./status/view.js";

const VIEWS = { chat: ["Chat", chatView], compare: ["Compare", compareView], status: ["Status", statusView] };

/** What all views share. `model()` is the chosen model as /v1/models describes it. */
function makeContext(models) {
  const select = document.getElementById("model");
  show(select, ...models.map((model) => h("option", { value: model.id }, model.id)));
  const kept = load("model", "");
  if (models.some((model) => model.id === kept)) select.value = kept;
  const listeners = new Set();
  select.addEventListener("change", () => {
    save("model", select.value);
    for (const listener of listeners) listener();
  });
  return {
    model: () => models.find((model) => model.id === select.value) ?? null,
    onModel: (listener) => listeners.add(listener),
  };
}

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
  function open(name) {
    const chosen = VIEWS[name] ? name : "chat";
    panels[chosen] ??= VIEWS[chosen][1](context);
    show(panel, panels[chosen]);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${chosen}`);
    for (const tab of buttons) {
      const here = tab.id === `tab-${chosen}`;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
    }
    save("view", chosen);
  }
  open(load("view", "chat"));
}

function askForKey(words) {
  const input = h("input", { type: "password", autocomplete: "off", required: true });
  const box = dialog("A key is needed", notice(words, "hint"), field("API key", input));
  const use = button("Use it", () => {
    api.setKey(input.value.trim());
    box.close();
  });
  input.addEventListener("keydown", (event) => event.key === "Enter" && use.click());
  box.querySelector("form").prepend(use);
  input.focus();
  box.addEventListener("close", start);
}

async function start() {
  const panel = document.getElementById("panel");
  try {
    tabs(makeContext(await api.models()));
  } catch (error) {
    if (error.status === 401) askForKey(error.message);
    else show(panel, notice(error.message), button("Try again", start));
  }
}

start();
