/** The files of a drop, those in dropped folders too. */

/** @param {DataTransfer} transfer @returns {Promise<File[]>} */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesBelow))).flat();
}

/** A file's path in the folder that was chosen or dropped; its name where it came alone. @param {File} file */
export const pathInFolder = (file) =>
  (file.webkitRelativePath || (file.droppedAs ?? "").slice(1)).split("/").slice(1).join("/") || file.name;

async function filesBelow(entry) {
  if (entry.isFile) return [Object.assign(await new Promise((resolve, reject) => entry.file(resolve, reject)), { droppedAs: entry.fullPath })];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(filesBelow))).flat());
  }
}
