/** Arithmetic of vectors. */

export const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);

export const cosine = (a, b) => dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1);

export function* inBatches(items, size) {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
