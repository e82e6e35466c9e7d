/** Grey PNG (ISO/IEC 15948) with all its bits: a browser's own decoder leaves 8 of the 16 of a depth map. */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/** @returns {Promise<{width: number, height: number, data: ArrayLike<number>}|null>} null for what is no plain grey PNG */
export async function readGreyPng(buffer) {
  const bytes = new Uint8Array(buffer);
  if (SIGNATURE.some((byte, at) => bytes[at] !== byte)) return null;
  const view = new DataView(buffer);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, colour, , , interlaced] = bytes.slice(24, 29);
  if (colour !== 0 || interlaced || (bits !== 8 && bits !== 16)) return null;
  const packed = new Blob([...chunks(view, bytes, "IDAT")]);
  const plain = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = unfiltered(new Uint8Array(await new Response(plain).arrayBuffer()), (width * bits) / 8, height, bits / 8);
  if (bits === 8) return { width, height, data: lines };
  const deep = new DataView(lines.buffer);
  return { width, height, data: Uint16Array.from({ length: width * height }, (_, at) => deep.getUint16(2 * at)) };
}

function* chunks(view, bytes, wanted) {
  for (let at = 8; at + 8 < bytes.length; at += 12 + view.getUint32(at)) {
    const name = String.fromCharCode(...bytes.slice(at + 4, at + 8));
    if (name === wanted) yield bytes.slice(at + 8, at + 8 + view.getUint32(at));
  }
}

/** Section 9: each line begins with the number of its filter, which predicts from the left and from the line above. */
function unfiltered(lines, length, height, step) {
  const out = new Uint8Array(length * height);
  for (let y = 0; y < height; y += 1) {
    const predict = PREDICTORS[lines[y * (length + 1)]];
    for (let x = 0; x < length; x += 1) {
      const at = y * length + x;
      const left = x < step ? 0 : out[at - step];
      const above = y ? out[at - length] : 0;
      const corner = x < step || !y ? 0 : out[at - length - step];
      out[at] = lines[y * (length + 1) + 1 + x] + predict(left, above, corner);
    }
  }
  return out;
}

const PREDICTORS = [() => 0, (left) => left, (_, above) => above, (left, above) => (left + above) >> 1, paeth];

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const [a, b, c] = [left, above, corner].map((value) => Math.abs(guess - value));
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
