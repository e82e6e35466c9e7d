/** A request as curl, Python and JavaScript that run when pasted beside the files. */

import { copyButton } from "../core/clipboard.js";
import { button, dialog, h } from "../core/dom.js";
import { hasKey } from "../core/key.js";
import { fileNames, requestBody } from "../chat/request.js";
import { curl, curlEmbeddings } from "./curl.js";
import { javascript, javascriptEmbeddings } from "./javascript.js";
import { python, pythonEmbeddings } from "./python.js";
import { searchCurl, searchJavaScript, searchPython } from "./search.js";

const CHAT = { curl, Python: python, JavaScript: javascript };
const SEARCH = { curl: searchCurl, Python: searchPython, JavaScript: searchJavaScript };
const EMBEDDINGS = { curl: curlEmbeddings, Python: pythonEmbeddings, JavaScript: javascriptEmbeddings };

/** The last request of a conversation. */
export const showCode = (turns) => showRequest(requestBody(turns), fileNames(turns), CHAT);

/** A request for vectors. @param {Map<string, string>} files names by ids */
export const showEmbeddings = (body, files) => showRequest(body, files, EMBEDDINGS);

/** A search through pictures. @param {import("./search.js").Search} search without origin and key */
export const showSearch = (search) => showLanguages(search, SEARCH);

const showRequest = (body, files, languages) => showLanguages({ body, files }, languages);

function showLanguages(asked, languages) {
  const request = { origin: location.origin, keyed: hasKey(), ...asked };
  const code = h("pre", { tabIndex: 0 }, h("code"));
  const buttons = Object.entries(languages).map(([name, write]) => button(name, ({ target }) => choose(write, target)));
  const choose = (write, chosen) => {
    code.firstChild.textContent = write(request);
    for (const one of buttons) one.setAttribute("aria-pressed", String(one === chosen));
  };
  choose(languages.curl, buttons[0]);
  const key = request.keyed ? " The key is read from the environment variable PANDAGPT_CLIENT_KEY." : "";
  dialog("This request as code", h("div", { class: "row" }, ...buttons), code,
    h("div", { class: "row" }, copyButton(() => code.textContent)),
    h("p", { class: "hint" }, `Run it in the folder of the files.${key}`));
}
