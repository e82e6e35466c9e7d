/** The media of one message on their way: chosen, uploaded once, described. */

import * as api from "../core/api.js";

/**
 * @typedef {{id: string, file: File|null, name: string, modality: string, weight: number,
 *   options: Record<string, string|number>, box: number[]|null, reading: object|null, recipe?: string, fileId: string|null,
 *   bytes: number, share: number, upload: object|null, watchers: Set<() => void>}} Attachment
 * `box` is asked about, `reading` is what the service found in it, `share` of it has been sent.
 */

let counter = 0;

/** @returns {Attachment} */
export function attachment(file, modality, options = {}) {
  return made({ file, name: file.name, modality, weight: 1, options: { ...options }, box: null, fileId: null, bytes: file.size });
}

/** What a reload needs to go on. */
export const kept = ({ name, modality, weight, options, box, reading, recipe, fileId, bytes }) =>
  ({ name, modality, weight, options, box, reading: reading && { ...reading, picture: undefined }, recipe, fileId, bytes });

export const restored = (fields) => made({ file: null, ...fields });

function made(fields) {
  counter += 1;
  return { id: `medium-${counter}`, reading: null, share: 0, upload: null, watchers: new Set(), ...fields };
}

/** Upload unless it is there, or on its way. Raises ApiError, which names the file. */
export async function ensureUploaded(medium) {
  if (medium.fileId) return;
  medium.upload ??= begun(medium);
  await medium.upload.done;
}

function begun(medium) {
  const stop = new AbortController();
  const progress = (share) => {
    medium.share = share;
    medium.watchers.forEach((watcher) => watcher());
  };
  const send = async () => {
    try {
      const file = await bytesOf(medium);
      medium.fileId = (await api.upload(file, medium.name, progress, stop.signal)).id;
    } catch (error) {
      throw new api.ApiError(error.status ?? 0, { message: `${medium.name}: ${error.message}` });
    } finally {
      medium.upload = null;
      progress(0);
    }
  };
  return { done: send(), stop };
}

export const stopUpload = (medium) => medium.upload?.stop.abort();

/** Take it away from the service too. */
export function forget(medium) {
  stopUpload(medium);
  if (medium.fileId) api.removeFile(medium.fileId).catch(() => {}); // it ends by itself after a time
  medium.fileId = null;
}

/** Those entries of an object by parameters whose names a model takes; all where it does not say. */
export const fitting = (options, names) =>
  Object.fromEntries(Object.entries(options).filter(([name]) => names?.includes(name) ?? true));

/**
 * The content part that uses the uploaded file.
 * @param {(modality: string) => string[]|undefined} parameters those that the model takes
 */
export function contentPart(medium, parameters) {
  const options = fitting(medium.options, parameters(medium.modality));
  const part = { type: "file", file: { file_id: medium.fileId }, modality: medium.modality };
  if (medium.weight !== 1) part.weight = medium.weight;
  if (Object.keys(options).length) part[medium.modality] = options;
  return part;
}

/** Its bytes, from this browser or from the service. */
export async function bytesOf(medium) {
  if (!medium.file && !medium.fileId) throw new Error("its bytes are not here any more; attach it again");
  medium.file ??= new File([await api.fileContent(medium.fileId)], medium.name);
  return medium.file;
}
