/** Prometheus' text format, as far as a table needs it. */

/** @returns {{name: string, labels: string, value: number}[]} */
export function parseMetrics(text) {
  const lines = text.split("\n").map((line) => /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line)).filter(Boolean);
  return lines.map(([, name, labels, value]) => ({ name, labels: labels ?? "", value: Number(value) }));
}
