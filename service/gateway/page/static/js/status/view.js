/** A small view for operators: models, readiness, versions, and the metrics that this key may read. */

import * as api from "../core/api.js";
import { button, h, show } from "../core/dom.js";
import { parseMetrics } from "./metrics.js";

const SHOWN = {
  pandagpt_workers: "Workers",
  pandagpt_worker_versions: "Workers by version",
  pandagpt_queue_depth: "Requests that wait",
  pandagpt_queue_oldest_age_seconds: "Oldest that waits (s)",
  pandagpt_queue_running: "Requests that run",
  pandagpt_dead_letters: "Requests given up",
};

export function statusView() {
  const body = h("div", { "aria-live": "polite" });
  const refresh = async () => show(body, ...(await sections()));
  refresh();
  return h("div", { class: "status-view" }, h("div", { class: "row" }, button("Refresh", refresh)), body);
}

async function sections() {
  const [version, models, ready] = await Promise.allSettled([api.version(), api.models(), api.ready()]);
  const [metrics] = await Promise.allSettled([api.metrics()]); // with the key that the models asked for
  return [
    h("h2", {}, "Service"),
    facts({ "version of this gateway": version.value?.version ?? version.reason?.message, ready: ready.value ? ready.value.models.join(", ") : ready.reason.message }),
    h("h2", {}, "Models"),
    ...(models.value ?? []).map(({ id, system, version: made, input_modalities: takes, max_model_len: length }) =>
      h("section", {}, h("h3", {}, id), facts({ system, version: made, takes: takes.join(", "), "context (tokens)": length }))),
    models.reason && h("p", { class: "error" }, models.reason.message),
    h("h2", {}, "Queue and workers"),
    metrics.value ? table(parseMetrics(metrics.value).filter(({ name }) => SHOWN[name])) : h("p", { class: "hint" }, withoutMetrics(metrics.reason)),
  ];
}

/** @param {Error & {status?: number}} reason */
const withoutMetrics = ({ status, message }) => WITHOUT_METRICS[status] ?? message;

const MAY_NOT = "This key may not read metrics.";
const WITHOUT_METRICS = { 401: MAY_NOT, 403: MAY_NOT, 404: "This gateway shows its metrics on a port of their own." };

const facts = (pairs) =>
  h("dl", { class: "facts" }, ...Object.entries(pairs).filter(([, value]) => value !== undefined).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));

const table = (rows) =>
  h("table", {}, h("thead", {}, h("tr", {}, ...["What", "Of", "Value"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map(({ name, labels, value }) => h("tr", {}, h("td", {}, SHOWN[name]), h("td", {}, labels.join(", ")), h("td", {}, String(Math.round(value * 10) / 10))))));
