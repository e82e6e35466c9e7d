/** A small view for operators: models, readiness, versions, and the metrics that this key may read. */

import * as api from "../core/api.js";
import { button, h, show } from "../core/dom.js";
import { parseMetrics } from "./metrics.js";

const SHOWN = /^pandagpt_.*(queue_depth|queue_age|running|workers|waiting)/;

export function statusView() {
  const body = h("div", { "aria-live": "polite" });
  const refresh = async () => show(body, ...(await sections()));
  refresh();
  return h("div", { class: "status-view" }, h("div", { class: "row" }, button("Refresh", refresh)), body);
}

async function sections() {
  const [version, models, ready, metrics] = await Promise.allSettled([api.version(), api.models(), api.ready(), api.metrics()]);
  return [
    h("h2", {}, "Service"),
    facts({ version: version.value?.version ?? version.reason?.message, ready: ready.value ? ready.value.models.join(", ") : ready.reason.message }),
    h("h2", {}, "Models"),
    ...(models.value ?? []).map(({ id, system, input_modalities: takes, max_model_len: length }) =>
      h("section", {}, h("h3", {}, id), facts({ system, takes: takes.join(", "), "context (tokens)": length }))),
    models.reason && h("p", { class: "error" }, models.reason.message),
    h("h2", {}, "Queue and workers"),
    metrics.value ? table(parseMetrics(metrics.value).filter(({ name }) => SHOWN.test(name))) : h("p", { class: "hint" }, "This key may not read metrics."),
  ];
}

const facts = (pairs) =>
  h("dl", { class: "facts" }, ...Object.entries(pairs).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));

const table = (rows) =>
  h("table", {}, h("thead", {}, h("tr", {}, ...["Metric", "Labels", "Value"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map(({ name, labels, value }) => h("tr", {}, h("td", {}, name), h("td", {}, labels), h("td", {}, String(value))))));
