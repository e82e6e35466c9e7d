/** The service's HTTP interface. Every failure is an ApiError with the service's own sentence. */

import { formField } from "../media/modalities.js";
import { headers, withKey } from "./key.js";

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message || `The service answered with status ${status}.`);
    this.status = status;
    this.code = error.code || "";
    this.param = error.param || null;
  }
}

async function failure(response) {
  const body = await response.json().catch(() => ({}));
  return new ApiError(response.status, body.error || {});
}

const call = (path, options) => withKey(() => once(path, options));

async function once(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (!response.ok) throw await failure(response);
  return response;
}

const json = async (path, options) => (await call(path, options)).json();
const post = (body, more = {}) => ({
  method: "POST",
  headers: { "content-type": "application/json", ...more },
  body: JSON.stringify(body),
});

export const models = async () => (await json("/v1/models")).data;
export const version = () => json("/version");
export const ready = () => json("/health/ready");
export const metrics = async () => (await once("/metrics")).text(); // refused to a good key too
export const samples = () => json("/page/samples");
export const embeddings = (body) => json("/v1/embeddings", post(body));
export const cancel = (id) => json(`/v1/requests/${id}`, { method: "DELETE" });
export const removeFile = (id) => json(`/v1/files/${id}`, { method: "DELETE" });
export const fileContent = async (id) => (await call(`/v1/files/${id}/content`)).blob();

/** How the service reads an uploaded file by a recipe: facts, spans, warnings, a picture of the array. */
export async function inspect(fileId, modality, options, recipe) {
  const form = new FormData();
  if (recipe) form.append("recipe", recipe);
  form.append(modality, `file:${fileId}`);
  for (const [name, value] of Object.entries(options)) form.append(formField(modality, name), String(value));
  return (await json("/v1/media/inspect", { method: "POST", body: form })).data[0];
}

/** The parameters that an uploaded file names itself: {name: {value, reason}}; a null value comes with the reason. */
export async function ownParameters(fileId, modality) {
  const form = new FormData();
  form.append(modality, `file:${fileId}`);
  return (await json("/v1/media/inspect?only=parameters", { method: "POST", body: form })).data[0].parameters;
}

/** The body of a stream: a new answer, or the same again where the key is known. */
export async function startAnswer(body, idempotencyKey, signal) {
  const options = post(body, { "idempotency-key": idempotencyKey });
  return (await call("/v1/chat/completions", { ...options, signal })).body;
}

/** The rest of an answer after an event's id. */
export async function resumeAnswer(id, lastEventId, signal) {
  const after = lastEventId === null ? {} : { "last-event-id": lastEventId };
  return (await call(`/v1/requests/${id}/events`, { headers: after, signal })).body;
}

/**
 * Upload a file. XMLHttpRequest, since fetch does not report progress.
 * @param {(share: number) => void} onprogress
 * @param {AbortSignal} signal
 */
export const upload = (...given) => withKey(() => sent(...given));

function sent(file, name, onprogress, signal) {
  const form = new FormData();
  form.append("purpose", "vision");
  form.append("file", file, name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/files");
    for (const [header, value] of Object.entries(headers())) request.setRequestHeader(header, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onprogress(event.loaded / event.total);
    request.onerror = () => reject(new ApiError(0, { message: "The upload was cut off. Is the service still there?" }));
    request.onabort = () => reject(new ApiError(0, { message: "The upload was stopped." }));
    signal.addEventListener("abort", () => request.abort());
    request.onload = () =>
      request.status === 200
        ? resolve(request.response)
        : reject(new ApiError(request.status, request.response?.error || {}));
    request.send(form);
  });
}
