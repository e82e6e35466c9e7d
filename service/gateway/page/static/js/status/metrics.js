/** Prometheus' text format, as far as a table needs it. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const VALUE = /="((?:[^"\\]|\\.)*)"/g;

/** @returns {{name: string, labels: string[], value: number}[]} `labels` are their values */
export function parseMetrics(text) {
  const lines = text.split("\n").map((line) => LINE.exec(line)).filter(Boolean);
  return lines.map(([, name, labels = "", value]) => ({ name, labels: valuesOf(labels), value: Number(value) }));
}

const valuesOf = (labels) => [...labels.matchAll(VALUE)].map(([, value]) => value.replace(/\\(.)/g, "$1"));
