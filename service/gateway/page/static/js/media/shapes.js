/** How the media of each modality are drawn from their bytes, and what the service's reading adds. */

import { h, show } from "../core/dom.js";
import { curves, waveform } from "./charts.js";
import { cloud } from "./cloud.js";
import { falseColours } from "./false_colours.js";
import { readGreyPng } from "./png.js";
import { readNpy, readPoints, readTable, thinned } from "./readers.js";

/**
 * @typedef {{facts: Record<string, string>, spans: [number, number][], picture: string|null}} Reading
 * @type {Record<string, (file: File, label: string) => Promise<{node: Node, read?: (reading: Reading) => void}|null>>}
 *   null for a file that this browser cannot read
 */
export const shapes = {
  image, video, audio, imu, points, text,
  depth: (file, label) => map(file, label, true),
  thermal: (file, label) => map(file, label, false),
};

async function image(file, label) {
  const picture = h("img", { alt: label, src: URL.createObjectURL(file) });
  await picture.decode();
  return { node: picture };
}

/** The film, and below it the frames that the model gets. */
async function video(file, label) {
  const film = h("video", { src: URL.createObjectURL(file), controls: true, muted: true, "aria-label": label });
  const frames = h("div");
  const read = ({ picture }) => picture && show(frames, h("img", { class: "frames", src: picture, alt: `${label}: the frames chosen` }));
  return { node: h("div", {}, film, frames), read };
}

async function audio(file, label) {
  const player = h("audio", { src: URL.createObjectURL(file), controls: true, "aria-label": label });
  const context = new OfflineAudioContext(1, 1, 44100);
  const decoded = await context.decodeAudioData(await file.arrayBuffer()).catch(() => null);
  if (!decoded) return null;
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, channel) => decoded.getChannelData(channel));
  const { node, shade } = waveform(channels, `${label}: waveform, what the model gets is shaded`);
  return { node: h("div", {}, node, player), read: ({ spans }) => shade(spans, decoded.duration) };
}

/** From its own numbers where the browser can read them, else from the picture of what the model gets. */
async function map(file, label, zeroIsNone) {
  const own = await readMap(await file.arrayBuffer());
  if (!own) return mapOfService(label);
  const { node, scale } = falseColours(own, label, zeroIsNone);
  return { node, read: ({ facts }) => facts.values && scale(...facts.values.split(" to "), facts.unit ?? "") };
}

async function readMap(buffer) {
  const array = readNpy(buffer);
  if (array?.shape.length === 2) return { width: array.shape[1], height: array.shape[0], data: array.data };
  return readGreyPng(buffer);
}

function mapOfService(label) {
  const node = h("div", {}, h("p", { class: "hint" }, "This browser cannot read it; the service does."));
  const read = async ({ facts, picture }) => {
    if (!picture) return;
    const grey = await readGreyPng(bytesOfUrl(picture));
    const words = [facts.values ?? facts.range, facts.unit].filter(Boolean).join(" ");
    show(node, falseColours(grey, `${label}, as the model gets it`, false).node.firstChild, h("p", { class: "legend" }, words));
  };
  return { node, read };
}

const bytesOfUrl = (url) => Uint8Array.from(atob(url.split(",")[1]), (one) => one.charCodeAt(0)).buffer;

async function imu(file, label) {
  const { names, rows } = await readMotion(file);
  if (names.length !== SIX || rows.length < 2) return null;
  const { node, shade } = curves(rows, names, `${label}, what the model gets is shaded`);
  const read = ({ facts, spans }) => {
    const seconds = / ([\d.]+) s$/.exec(facts.rate ?? "")?.[1];
    if (seconds) shade(spans, Number(seconds));
  };
  return { node, read };
}

/** The six columns of a recording by their names, or all of a table that has six. */
async function readMotion(file) {
  const array = readNpy(await file.arrayBuffer());
  if (array) return { names: ["ax", "ay", "az", "gx", "gy", "gz"].slice(0, array.shape.at(-1)), rows: rowsOf(array, SIX) };
  const { names, rows } = readTable(await file.text());
  const columns = names.map((name, index) => [name, index]).filter(([name]) => !/time|stamp|^t$/i.test(name));
  const sensors = columns.filter(([name]) => SENSOR.test(name));
  const shown = sensors.length ? sensors : columns;
  const read = rows.map((row) => shown.map(([, index]) => row[index]));
  return { names: shown.map(([name]) => name), rows: read.filter((row) => row.every(Number.isFinite)) };
}

const SIX = 6;
const SENSOR = /acc|gyr|omega|rot|^[agw][ _.]?[xyz]\b/i;

async function points(file, label) {
  const array = readNpy(await file.arrayBuffer());
  const found = array ? thinned(rowsOf(array, 3)) : readPoints(await file.text());
  return found.length ? { node: cloud(found, label) } : null;
}

/** The first `width` numbers of each row. */
function rowsOf({ shape, data }, width) {
  const length = shape.at(-1);
  return Array.from({ length: data.length / length }, (_, row) => Array.from(data.slice(row * length, row * length + width)));
}

async function text(file) {
  return { node: h("blockquote", {}, (await file.text()).slice(0, 400)) };
}
