/** A search through a folder as programs that print each picture's similarity, the most similar first. */

import { literal, Source, uniqueNames, withFiles } from "./literal.js";
import { opening as inPython, WORDS } from "./python.js";
import { opening as inJavaScript } from "./javascript.js";
import { KEY, quoted, shellJson, shellName, UPLOAD } from "./curl.js";

/**
 * @typedef {{origin: string, keyed: boolean, body: {model: string, query: string|object}, files: Map<string, string>,
 *   part: object, pictures: string[]}} Search `files`: the query's, if it is one; `part`: how any of the pictures stands
 *   in a request, beside its file
 */

/** One picture at a time: the service's limit of media in a request is the operator's. */
const request = ({ body, files, part }, picture, write) =>
  ({ ...withFiles(body, files, write), documents: [{ ...part, file: { file_id: new Source(picture) } }], return_documents: false });

export function searchPython(search) {
  const body = request(search, "upload(picture)", (name) => `files[${literal(name)}]`);
  return `${inPython({ ...search, uploading: true })}
found = []
for picture in ${literal(search.pictures)}:
    body = ${literal(body, WORDS, "    ")}
    answer = client.post("/rerank", body=body, cast_to=object)
    found.append((answer["results"][0]["relevance_score"], picture))
for score, picture in sorted(found, reverse=True):
    print(f"{score:.3f} {picture}")
`;
}

export function searchJavaScript(search) {
  const body = request(search, "await upload(picture)", (name) => `files[${literal(name)}]`);
  return `${inJavaScript({ ...search, uploading: true })}
const found = [];
for (const picture of ${literal(search.pictures)}) {
  const answer = await fetch(url + "/v1/rerank", {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(${literal(body, {}, "    ")}),
  });
  if (!answer.ok) throw new Error(await answer.text());
  found.push([(await answer.json()).results[0].relevance_score, picture]);
}
for (const [score, picture] of found.sort(([a], [b]) => b - a)) console.log(score.toFixed(3), picture);
`;
}

export function searchCurl(search) {
  const names = uniqueNames(search.files);
  const body = request(search, "$picture", (name) => `$file${names.indexOf(name) + 1}`);
  const key = search.keyed ? ` ${KEY}` : "";
  return `url=${quoted(search.origin)}
${UPLOAD(key)}
${names.map((name, index) => `file${index + 1}=$(upload ${shellName(name)})\n`).join("")}score() {
  picture=$(upload "$1")
  score=$(curl -sS --fail-with-body "$url/v1/rerank"${key} -H 'content-type: application/json' --data-raw ${shellJson(body)} | sed -n 's/.*"relevance_score": *\\([-0-9.e]*\\).*/\\1/p')
  LC_ALL=C printf '%.3f %s\\n' "$score" "$1"
}
{
${search.pictures.map((name) => `score ${shellName(name)}`).join("\n")}
} | LC_ALL=C sort -rn
`;
}
