/** The media of one message on their way: chosen, uploaded once, described. */

import * as api from "../core/api.js";

/**
 * @typedef {{id: string, file: File|null, name: string, modality: string, weight: number,
 *   options: Record<string, string|number>, fileId: string|null, progress: number, error: string|null,
 *   bytes: number}} Attachment
 */

let counter = 0;

/** @returns {Attachment} */
export function attachment(file, modality, options = {}) {
  counter += 1;
  return {
    id: `medium-${counter}`, file, name: file.name, modality, weight: 1, options: { ...options },
    fileId: null, progress: 0, error: null, bytes: file.size,
  };
}

/** Upload unless it is there already. Raises ApiError. */
export async function ensureUploaded(medium, onchange) {
  if (medium.fileId) return;
  const answer = await api.upload(medium.file, medium.name, (share) => {
    medium.progress = share;
    onchange();
  });
  medium.fileId = answer.id;
  medium.progress = 1;
  onchange();
}

/** The content part that uses the uploaded file. */
export function contentPart(medium) {
  const part = { type: "file", file: { file_id: medium.fileId }, modality: medium.modality };
  if (medium.weight !== 1) part.weight = medium.weight;
  if (Object.keys(medium.options).length) part[medium.modality] = medium.options;
  return part;
}

/** What a reload needs to go on. */
export const kept = ({ name, modality, weight, options, fileId, bytes }) =>
  ({ name, modality, weight, options, fileId, bytes });

export function restored(fields) {
  counter += 1;
  return { id: `medium-${counter}`, file: null, progress: 1, error: null, ...fields };
}

/** Its bytes, from this browser or from the service. */
export async function bytesOf(medium) {
  medium.file ??= new File([await api.fileContent(medium.fileId)], medium.name);
  return medium.file;
}
