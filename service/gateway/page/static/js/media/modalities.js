/** What the page knows of each modality: its name, the files it takes, the fields that say how to read them. */

const number = (label, hint, more = {}) => ({ type: "number", label, hint, step: "any", ...more });
const choice = (label, ...options) => ({ type: "select", label, options: ["", ...options] });

export const MODALITIES = {
  image: { label: "picture", accept: "image/*", fields: {} },
  video: {
    label: "video",
    accept: "video/*",
    fields: { use_audio: { type: "select", label: "Its own sound too", options: ["", "yes"], values: { yes: true }, form: "video_audio" } },
  },
  audio: { label: "sound", accept: "audio/*", fields: { clips: choice("Clips of a long sound", "loud", "even") } },
  depth: {
    label: "depth map",
    accept: ".png,.tif,.tiff,.npy,image/*",
    fields: {
      unit: choice("Unit", "m", "mm", "disparity", "sunrgbd", "relative"),
      scale: number("Scale", "numbers a metre, in place of a unit", { min: 0 }),
      focal_px: number("Focal length", "pixels", { min: 0 }),
      baseline_m: number("Baseline", "metres", { min: 0 }),
    },
  },
  thermal: {
    label: "thermal picture",
    accept: ".png,.tif,.tiff,.npy,image/*",
    fields: {
      unit: choice("Unit", "raw", "celsius", "kelvin", "centikelvin"),
      low: number("Low", "value that becomes 0; degrees Celsius with a unit"),
      high: number("High", "value that becomes 1"),
    },
  },
  imu: {
    label: "motion recording",
    accept: ".csv,.json,.npy",
    fields: {
      rate_hz: number("Rate", "samples a second, where the file has no times", { min: 0 }),
      units: choice("Units", "m/s2", "g", "rad/s", "deg/s", "m/s2 rad/s", "m/s2 deg/s", "g rad/s", "g deg/s"),
    },
  },
  points: {
    label: "point cloud",
    accept: ".ply,.obj,.xyz,.csv,.npy,.pcd,.las,.laz,.glb",
    fields: { start: number("Start", "row that the choice of group centres begins with", { min: 0, step: 1 }) },
  },
  text: { label: "context text", accept: ".txt,text/plain", fields: {} },
};

/** The form field of an option. */
export const formField = (modality, option) => MODALITIES[modality].fields[option]?.form ?? `${modality}_${option}`;

const BY_SUFFIX = [
  [/\.(ply|pcd|las|laz|obj|xyz|glb)$/i, "points"],
  [/\.(csv|json)$/i, "imu"],
  [/\.(npy|tiff?)$/i, "depth"],
  [/\.(png|jpe?g|webp|gif|heic|avif|bmp)$/i, "image"],
  [/\.(mp4|mov|webm|mkv|avi|m4v)$/i, "video"],
  [/\.(wav|mp3|flac|ogg|opus|m4a|aac|amr|aiff?)$/i, "audio"],
  [/\.txt$/i, "text"],
];

/** The modality that a file's name or type suggests; a name with `depth`, `thermal` or `imu` in it decides. */
export function guess(file) {
  const named = /depth|thermal|imu/i.exec(file.name);
  if (named) return named[0].toLowerCase();
  const kind = file.type.split("/")[0];
  if (["image", "video", "audio"].includes(kind)) return kind;
  return BY_SUFFIX.find(([pattern]) => pattern.test(file.name))?.[1] ?? null;
}
