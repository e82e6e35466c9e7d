/** Arrays out of files, as far as a preview needs them. The service reads them by itself and decides. */

const TYPES = {
  "|u1": [Uint8Array, 1], "|i1": [Int8Array, 1], "<u2": [Uint16Array, 2], "<i2": [Int16Array, 2],
  "<i4": [Int32Array, 4], "<u4": [Uint32Array, 4], "<f4": [Float32Array, 4], "<f8": [Float64Array, 8],
};

/** NPY 1.0 to 3.0. @returns {{shape: number[], data: ArrayLike<number>}|null} null for what it does not read */
export function readNpy(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.slice(1, 6)) !== "NUMPY") return null;
  const view = new DataView(buffer);
  const long = bytes[6] > 1;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (long ? 12 : 10) + length;
  const head = new TextDecoder("latin1").decode(bytes.slice(long ? 12 : 10, start));
  const type = /'descr':\s*'([^']+)'/.exec(head)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(head)?.[1].split(",").filter((word) => word.trim()).map(Number);
  if (!TYPES[type] || !shape || head.includes("'fortran_order': True")) return null;
  const [Kind, size] = TYPES[type];
  const count = shape.reduce((product, extent) => product * extent, 1);
  if (start + count * size > buffer.byteLength) return null;
  return { shape, data: new Kind(buffer.slice(start, start + count * size)) };
}

/** Rows of a text table; a head line names its columns; NaN for what is no number. */
export function readTable(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() && !line.startsWith("#"));
  const separator = [";", "\t", ","].find((mark) => lines[0]?.includes(mark)) ?? /\s+/;
  const cells = lines.map((line) => line.trim().split(separator).map((cell) => cell.trim().replace(/^"|"$/g, "")));
  const named = cells.length > 0 && cells[0].some((cell) => Number.isNaN(Number(cell)));
  const names = named ? cells[0] : cells[0]?.map((_, index) => `column ${index + 1}`) ?? [];
  const rows = (named ? cells.slice(1) : cells).map((row) => row.map((cell) => (cell === "" ? NaN : Number(cell))));
  return { names, rows: rows.filter((row) => row.length === names.length) };
}

/** Vertices of an ASCII PLY, PCD, OBJ, XYZ or CSV, thinned; none of what is no text. @returns {number[][]} */
export function readPoints(text) {
  const lines = text.startsWith("ply") ? verticesOfPly(text) : text.split("\n");
  const points = [];
  for (const line of lines) {
    const words = line.trim().split(/[\s,;]+/);
    const numbers = (words[0] === "v" ? words.slice(1) : words).slice(0, 3).map(Number);
    if (numbers.length === 3 && numbers.every(Number.isFinite)) points.push(numbers);
  }
  return thinned(points);
}

/** Lines of an ASCII PLY up to its faces, whose numbers are no places. */
function verticesOfPly(text) {
  const [head, body = ""] = text.split(/end_header\r?\n/);
  const count = Number(/^element vertex (\d+)/m.exec(head)?.[1] ?? 0);
  return head.includes("format ascii") ? body.split("\n", count) : [];
}

/** Every n-th of the points, so that a large cloud is drawn at once. */
export function thinned(points, most = 4000) {
  const step = Math.max(1, Math.ceil(points.length / most));
  return points.filter((_, index) => index % step === 0);
}
