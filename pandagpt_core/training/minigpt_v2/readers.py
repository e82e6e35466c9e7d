"""Public data sets as conversations that `pandagpt train` reads: one reader a format, each giving entries in order.

An entry is {"image", "conversations": [{"from": "human", ...}, {"from": "gpt", ...}]}, the image's path below the
folder of pictures as the data set lays them out. LLaVA's own files need no reader: they are such lists already.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pandagpt_core.boxes import to_norm, write_box, write_boxes
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.minigpt_v2.grit import grit_samples
from pandagpt_core.training.minigpt_v2.words import worded
from pandagpt_core.types import Box

Annotation = dict[str, Any]
TRAIN = "train"  # the split that is learned from, where a data set's file holds several
_CHUNK = re.compile(r"\[/EN#(\d+)/\S+ ([^\]]+)\]")


def coco_caption_entries(annotations: Path, _second: Path | None) -> Iterator[Annotation]:
    """captions_*.json: a conversation a caption."""
    data = _json(annotations)
    names = {one["id"]: one["file_name"] for one in data["images"]}
    for number, one in enumerate(data["annotations"]):
        yield _entry(names[one["image_id"]], worded("caption", number), one["caption"].strip())


def coco_detection_entries(annotations: Path, _second: Path | None) -> Iterator[Annotation]:
    """instances_*.json: a conversation for each category of a picture, with all of its boxes."""
    data = _json(annotations)
    categories = {one["id"]: one["name"] for one in data["categories"]}
    pictures = {one["id"]: one for one in data["images"]}
    found: dict[tuple[Any, Any], list[Box]] = {}
    for one in data["annotations"]:
        box = _from_corner(one["bbox"], pictures[one["image_id"]])
        found.setdefault((one["image_id"], one["category_id"]), []).append(box)
    for number, ((image, category), boxes) in enumerate(found.items()):
        name = categories[category]
        answer = f"<p>{name}</p> {write_boxes(boxes)}"
        yield _entry(pictures[image]["file_name"], worded("detection", number, name), answer)


def refcoco_entries(annotations: Path, second: Path | None) -> Iterator[Annotation]:
    """refs.json, the published pickle's list as JSON, and instances.json: each sentence both ways.

    The file holds all splits; models are measured on those other than "train", which are left out.
    """
    data = _json(_needed(second, "instances.json"))
    boxes = {one["id"]: one["bbox"] for one in data["annotations"]}
    pictures = {one["id"]: one for one in data["images"]}
    number = 0
    for ref in _json(annotations):
        if ref.get("split", TRAIN) != TRAIN:
            continue
        picture = pictures[ref["image_id"]]
        box = write_box(_from_corner(boxes[ref["ann_id"]], picture))
        for sentence in ref["sentences"]:
            yield _entry(picture["file_name"], worded("refer", number, sentence["sent"]), box)
            yield _entry(picture["file_name"], worded("identify", number, box), sentence["sent"])
            number += 1


def visual_genome_entries(annotations: Path, second: Path | None) -> Iterator[Annotation]:
    """region_descriptions.json and image_data.json: the place of each region's phrase."""
    pictures = {one["image_id"]: one for one in _json(_needed(second, "image_data.json"))}
    number = 0
    for one in _json(annotations):
        for region in one["regions"]:
            picture = pictures[region["image_id"]]
            sides = [region[name] for name in ("x", "y", "width", "height")]
            box = write_box(_from_corner(sides, picture))
            image = f"VG_100K/{region['image_id']}.jpg"
            yield _entry(image, worded("refer", number, region["phrase"].strip()), box)
            number += 1


def gqa_entries(annotations: Path, _second: Path | None) -> Iterator[Annotation]:
    """train_balanced_questions.json."""
    for number, one in enumerate(_json(annotations).values()):
        yield _entry(f"{one['imageId']}.jpg", worded("vqa", number, one["question"]), one["answer"])


def vqa_entries(annotations: Path, second: Path | None) -> Iterator[Annotation]:
    """Annotations and questions of VQA v2, OK-VQA and their kin: the answer that most people gave."""
    asked = _json(_needed(second, "questions.json"))
    questions = {one["question_id"]: one["question"] for one in asked["questions"]}
    subset = asked.get("data_subtype", "train2014")
    for number, one in enumerate(_json(annotations)["annotations"]):
        [(answer, _)] = Counter(given["answer"] for given in one["answers"]).most_common(1)
        image = f"COCO_{subset}_{int(one['image_id']):012d}.jpg"
        yield _entry(image, worded("vqa", number, questions[one["question_id"]]), answer)


def flickr30k_entries(annotations: Path, second: Path | None) -> Iterator[Annotation]:
    """The folders Sentences and Annotations: a sentence whose phrases have their boxes behind them.

    The data set's train.txt beside the folder, where it is there, names the pictures that are read.
    """
    boxes_of = _needed(second, "the folder Annotations")
    split = annotations.parent / f"{TRAIN}.txt"
    chosen = set(split.read_text(encoding="utf-8").split()) if split.is_file() else None
    number = 0
    for path in sorted(annotations.glob("*.txt")):
        if chosen is not None and path.stem not in chosen:
            continue
        boxes = _flickr_boxes(boxes_of / f"{path.stem}.xml")
        for sentence in path.read_text(encoding="utf-8").splitlines():
            yield _entry(f"{path.stem}.jpg", worded("grounding", number), _with_boxes(sentence, boxes))
            number += 1


def grit_entries(annotations: Path, _second: Path | None) -> Iterator[Annotation]:
    """Parquet, tar shards, JSON (`training.minigpt_v2.grit`): `caption`, `noun_chunks` as
    [start, end, x0, y0, x1, y1, score] with places of 0 to 1, and `key`, the picture's name without its ending.

    A phrase with several places has a chunk for each. Of phrases that overlap the one that ends last is read.
    """
    for number, one in enumerate(grit_samples(annotations)):
        places: dict[tuple[int, int], list[Box]] = {}
        for start, end, *box, _score in one["noun_chunks"]:
            places.setdefault((int(start), int(end)), []).append(_box(box))
        text: str = one["caption"]
        read = len(text)
        for (start, end), boxes in sorted(places.items(), key=lambda place: place[0][::-1], reverse=True):
            if end <= read:  # from the end, so that the places before stay what they are
                text, read = text[:start] + _grounded(text[start:end], boxes) + text[end:], start
        yield _entry(f"{one['key']}.jpg", worded("grounding", number), text)


READERS: Mapping[str, Callable[[Path, Path | None], Iterator[Annotation]]] = MappingProxyType(
    {
        "coco-captions": coco_caption_entries,
        "coco-detection": coco_detection_entries,
        "refcoco": refcoco_entries,
        "visual-genome": visual_genome_entries,
        "gqa": gqa_entries,
        "vqa": vqa_entries,
        "flickr30k-entities": flickr30k_entries,
        "grit": grit_entries,
    }
)


def read_dataset(kind: str, annotations: Path, second: Path | None = None) -> list[Annotation]:
    """Raises InvalidRequest for files that are not of this kind."""
    try:
        return list(READERS[kind](annotations, second))
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, OSError, ET.ParseError) as error:
        raise InvalidRequest(f"{annotations.name} is not as {kind} is: {type(error).__name__}: {error}") from None


def _entry(image: str, question: str, answer: str) -> Annotation:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"image": image, "conversations": turns}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"{path.name} cannot be read: {error.strerror}") from None


def _needed(path: Path | None, what: str) -> Path:
    if path is None:
        raise InvalidRequest(f"this data set has a second file, {what}; name it too")
    return path


def _from_corner(sides: Any, picture: Mapping[str, Any]) -> Box:
    """[x, y, width, height] in pixels, held within the picture, as 0 to 1."""
    x, y, width, height = (float(side) for side in sides)
    left, top, right, bottom = to_norm((x, y, x + width, y + height), int(picture["width"]), int(picture["height"]))
    return _box((left, top, right, bottom))


def _box(sides: Any) -> Box:
    left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in sides)
    return left, top, right, bottom


def _grounded(phrase: str, boxes: list[Box]) -> str:
    return f"<p>{phrase}</p> {write_boxes(boxes)}" if boxes else phrase


def _with_boxes(sentence: str, boxes: Mapping[str, list[Box]]) -> str:
    """`[/EN#1/people A man]` of Flickr30k as the phrase and the boxes of chain 1."""
    return _CHUNK.sub(lambda match: _grounded(match.group(2), boxes.get(match.group(1), [])), sentence).strip()


def _flickr_boxes(path: Path) -> dict[str, list[Box]]:
    root = ET.parse(path).getroot()
    size = root.find("size")
    if size is None:
        raise ValueError(f"{path.name} has no size")
    sides = {name: size.findtext(name, "0") for name in ("width", "height")}
    boxes: dict[str, list[Box]] = {}
    for one in root.iter("object"):
        corners = one.find("bndbox")
        if corners is not None:
            left, top, right, bottom = (float(corners.findtext(name, "0")) for name in ("xmin", "ymin", "xmax", "ymax"))
            box = _from_corner((left, top, right - left, bottom - top), sides)
            for name in one.findall("name"):
                boxes.setdefault(name.text or "", []).append(box)
    return boxes
