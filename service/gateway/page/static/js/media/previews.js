/** What a medium looks like: upright picture, waveform, frames, false colours, curves, points. */

import * as api from "../core/api.js";
import { h } from "../core/dom.js";
import { bytesOf } from "./attachments.js";
import { cloud, curves, falseColours, waveform } from "./charts.js";
import { readNpy, readPoints, readTable } from "./readers.js";

const MOST_BYTES = 64 * 1024 * 1024;

/** A node for the medium; a sentence where it cannot be shown. Its facts as the service reads it come below. */
export async function preview(medium) {
  const label = `${medium.name}, preview`;
  try {
    const file = await bytesOf(medium);
    if (file.size > MOST_BYTES) return h("p", { class: "hint" }, "Too large to show here.");
    return await (PREVIEWS[medium.modality] ?? unknown)(file, label);
  } catch {
    return h("p", { class: "hint" }, "This browser cannot show it; the service may still read it.");
  }
}

const PREVIEWS = { image, video, audio, depth: map, thermal: map, imu, points, text };

async function image(file, label) {
  const picture = h("img", { alt: label, src: URL.createObjectURL(file) });
  await picture.decode();
  return picture;
}

async function video(file, label) {
  return h("video", { src: URL.createObjectURL(file), controls: true, muted: true, "aria-label": label });
}

async function audio(file, label) {
  const player = h("audio", { src: URL.createObjectURL(file), controls: true, "aria-label": label });
  const context = new OfflineAudioContext(1, 1, 44100);
  const decoded = await context.decodeAudioData(await file.arrayBuffer()).catch(() => null);
  return h("div", {}, decoded && waveform(decoded.getChannelData(0), `${label}: waveform`), player);
}

async function map(file, label) {
  const array = readNpy(await file.arrayBuffer());
  if (array && array.shape.length === 2) return falseColours(array.data, array.shape[1], array.shape[0], label);
  const bitmap = await createImageBitmap(file);
  const [width, height] = [Math.min(256, bitmap.width), Math.round((Math.min(256, bitmap.width) * bitmap.height) / bitmap.width)];
  const canvas = new OffscreenCanvas(width, height);
  const draw = canvas.getContext("2d");
  draw.drawImage(bitmap, 0, 0, width, height);
  const pixels = draw.getImageData(0, 0, width, height).data;
  return falseColours(Array.from({ length: width * height }, (_, at) => pixels[at * 4]), width, height, label);
}

async function imu(file, label) {
  const array = readNpy(await file.arrayBuffer());
  if (array) {
    const width = array.shape.at(-1);
    const rows = Array.from({ length: array.data.length / width }, (_, row) => Array.from(array.data.slice(row * width, (row + 1) * width)));
    return curves(rows, ["ax", "ay", "az", "gx", "gy", "gz"].slice(0, width), label);
  }
  const { names, rows } = readTable(await file.text());
  const shown = names.map((name, index) => [name, index]).filter(([name]) => !/time|stamp|^t$/i.test(name));
  return curves(rows.map((row) => shown.map(([, index]) => row[index])), shown.map(([name]) => name), label);
}

async function points(file, label) {
  const array = readNpy(await file.arrayBuffer());
  if (array) {
    const width = array.shape.at(-1);
    const list = Array.from({ length: array.data.length / width }, (_, row) => Array.from(array.data.slice(row * width, row * width + 3)));
    return cloud(list.slice(0, 4000), label);
  }
  return cloud(readPoints(await file.text()), label);
}

async function text(file) {
  return h("blockquote", {}, (await file.text()).slice(0, 400));
}

async function unknown() {
  return h("p", { class: "hint" }, "No preview.");
}

/** How the service reads it, where it offers that: facts, warnings, a preview of the encoder's array. */
export async function reading(medium) {
  const answer = await api.inspect(await bytesOf(medium), medium.modality, medium.options);
  if (!answer) return null;
  const { facts, spans, warnings, preview: picture } = answer.data[0];
  const looked = spans.map(([begin, end]) => (begin === end ? `${begin} s` : `${begin} to ${end} s`)).join(", ");
  const rows = Object.entries({ ...facts, ...(looked && { "looked at": looked }) }).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return h("div", {},
    ...warnings.map((warning) => h("p", { class: "warning" }, warning.message ?? String(warning))),
    h("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])),
    picture && h("details", {}, h("summary", {}, "As the model gets it"), h("img", { src: picture, alt: `${medium.name} as the model gets it` })));
}
