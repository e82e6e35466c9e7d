/** Recording in the browser: camera picture, microphone, clip of camera or screen, motion of a phone. */

import { button, dialog, h, notice } from "../core/dom.js";

const stamp = () => new Date().toISOString().slice(11, 19).replaceAll(":", "-");

/** @param {(file: File, modality: string, options?: object) => void} done */
export const RECORDERS = {
  picture: ["Take a picture", takePicture],
  sound: ["Record a sound", (done) => recordStream("sound", { audio: true }, "audio", done)],
  clip: ["Record a clip", (done) => recordStream("clip", { video: true }, "video", done)],
  screen: ["Record the screen", recordScreen],
  motion: ["Record motion", recordMotion],
};

/** A dialog with a button that uses what it shows, and one that throws it away, as Escape does. */
function recording(title, words, use, ...children) {
  const box = dialog(title, ...children);
  const form = box.querySelector("form");
  form.lastChild.textContent = "Cancel";
  form.prepend(use ?? h("button", { value: USE }, words));
  return box;
}

const USE = "use";
const isUsed = (box) => box.returnValue === USE;

async function takePicture(done) {
  const stream = await media({ video: true });
  if (!stream) return;
  const view = h("video", { srcObject: stream, autoplay: true, muted: true, playsInline: true, "aria-label": "Camera" });
  const shot = button("Take it", () => {
    const canvas = h("canvas", { width: view.videoWidth, height: view.videoHeight });
    canvas.getContext("2d").drawImage(view, 0, 0);
    canvas.toBlob((blob) => {
      done(new File([blob], `picture-${stamp()}.png`, { type: "image/png" }), "image");
      box.close();
    });
  });
  const box = recording("Take a picture", "", shot, view);
  shot.disabled = true;
  view.addEventListener("loadeddata", () => (shot.disabled = false));
  box.addEventListener("close", () => stop(stream));
}

async function recordScreen(done) {
  const stream = await granted(() => navigator.mediaDevices.getDisplayMedia({ video: true }));
  if (stream) record("screen", stream, "video", done);
}

async function recordStream(name, wanted, modality, done) {
  const stream = await media(wanted);
  if (stream) record(name, stream, modality, done);
}

function record(name, stream, modality, done) {
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    stop(stream);
    if (!isUsed(box)) return;
    const type = (recorder.mimeType || "video/webm").split(";")[0];
    const suffix = type.endsWith("mp4") ? "mp4" : type.endsWith("ogg") ? "ogg" : "webm";
    done(new File(parts, `${name}-${stamp()}.${suffix}`, { type: `${modality}/${suffix}` }), modality);
  });
  const clock = h("p", { role: "timer" }, "0 s");
  const begun = performance.now();
  const timer = setInterval(() => (clock.textContent = `${Math.round((performance.now() - begun) / 1000)} s`), 250);
  const view = modality === "video" && h("video", { srcObject: stream, autoplay: true, muted: true, "aria-label": "What is recorded" });
  const box = recording("Recording", "Stop and use it", null, view, clock);
  box.addEventListener("close", () => {
    clearInterval(timer);
    recorder.stop();
  });
  recorder.start();
}

/** Six columns of a phone's motion as CSV, with the rate that was measured. Units: m/s² and rad/s. */
function recordMotion(done) {
  if (!window.isSecureContext) return refused(ONLY_SAFE);
  const rows = [];
  const listen = (event) => {
    const [a, r] = [event.accelerationIncludingGravity, event.rotationRate];
    if (a?.x == null) return;
    const radians = [r?.beta, r?.gamma, r?.alpha].map((degrees) => ((degrees ?? 0) * Math.PI) / 180);
    rows.push([event.timeStamp, a.x, a.y, a.z, ...radians]);
    count.textContent = `${rows.length} samples`;
  };
  const count = h("p", { role: "status" }, "No motion sensor has answered yet.");
  const box = recording("Record motion", "Stop and use it", null, count);
  box.addEventListener("close", () => {
    removeEventListener("devicemotion", listen);
    const took = rows.length > 1 ? rows.at(-1)[0] - rows[0][0] : 0; // ms
    if (!isUsed(box) || !took) return;
    const rate = (1000 * (rows.length - 1)) / took;
    const lines = ["ax,ay,az,gx,gy,gz", ...rows.map((row) => row.slice(1).map((value) => value.toFixed(5)).join(","))];
    done(new File([lines.join("\n")], `motion-imu-${stamp()}.csv`, { type: "text/csv" }), "imu", { rate_hz: Number(rate.toFixed(2)) });
  });
  const allowed = window.DeviceMotionEvent?.requestPermission?.() ?? Promise.resolve("granted");
  allowed.then((answer) => answer === "granted" && addEventListener("devicemotion", listen), () => {});
}

const media = (wanted) => granted(() => navigator.mediaDevices.getUserMedia(wanted));

/** The stream that the browser gives; null, with a dialog that says why, where it gives none. */
async function granted(ask) {
  try {
    return window.isSecureContext ? await ask() : refused(ONLY_SAFE);
  } catch (error) {
    return refused(`The browser gives no access: ${error.message ?? error}.`);
  }
}

const ONLY_SAFE = "Browsers give cameras, microphones and sensors to pages on https only, or of the machine itself.";

function refused(words) {
  dialog("Recording is not possible", notice(words));
  return null;
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());
