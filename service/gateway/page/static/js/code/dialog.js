/** The last request as curl, Python and JavaScript that run when pasted beside the files. */

import { copyButton } from "../core/clipboard.js";
import { button, dialog, h } from "../core/dom.js";
import { load } from "../core/session.js";
import { fileNames, requestBody } from "../chat/request.js";
import { curl } from "./curl.js";
import { javascript } from "./javascript.js";
import { python } from "./python.js";

const LANGUAGES = { curl, Python: python, JavaScript: javascript };

export function showCode(turns) {
  const request = { origin: location.origin, body: requestBody(turns), files: fileNames(turns), keyed: load("key", "") !== "" };
  const code = h("pre", { tabIndex: 0 }, h("code"));
  const buttons = Object.entries(LANGUAGES).map(([name, write]) => button(name, ({ target }) => choose(write, target)));
  const choose = (write, chosen) => {
    code.firstChild.textContent = write(request);
    for (const one of buttons) one.setAttribute("aria-pressed", String(one === chosen));
  };
  choose(curl, buttons[0]);
  const key = request.keyed ? " The key is read from the environment variable PANDAGPT_CLIENT_KEY." : "";
  dialog("This request as code", h("div", { class: "row" }, ...buttons), code,
    h("div", { class: "row" }, copyButton(() => code.textContent)),
    h("p", { class: "hint" }, `Run it in the folder of the files.${key}`));
}
