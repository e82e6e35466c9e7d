/** What the page knows of each modality: its name, the files it takes, the fields that say how to read them. */

const number = (label, hint, more = {}) => ({ type: "number", label, hint, step: "any", ...more });

export const MODALITIES = {
  image: { label: "picture", accept: "image/*", fields: {} },
  video: { label: "video", accept: "video/*", fields: {} },
  audio: { label: "sound", accept: "audio/*", fields: {} },
  depth: {
    label: "depth map",
    accept: ".png,.tif,.tiff,.npy,image/*",
    fields: {
      unit: { type: "select", label: "Unit", options: ["", "m", "mm", "sunrgbd", "disparity"] },
      focal_px: number("Focal length", "pixels", { min: 0 }),
      baseline_m: number("Baseline", "metres", { min: 0 }),
    },
  },
  thermal: {
    label: "thermal picture",
    accept: ".png,.tif,.tiff,.npy,image/*",
    fields: { low: number("Low", "raw value that becomes 0"), high: number("High", "raw value that becomes 1") },
  },
  imu: {
    label: "motion recording",
    accept: ".csv,.json,.npy",
    fields: { rate_hz: number("Rate", "samples a second", { min: 0 }) },
  },
  points: { label: "point cloud", accept: ".ply,.obj,.xyz,.csv,.npy,.pcd,.las,.laz,.glb", fields: {} },
  text: { label: "context text", accept: ".txt,text/plain", fields: {} },
};

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
