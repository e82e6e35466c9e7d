"""Each public format on a tiny made file: question, answer, and the picture's place."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.minigpt_v2.readers import READERS, read_dataset
from pandagpt_core.training.tune.data.samples import read_samples
from service import cli

SIDES = {"width": 200, "height": 100}
BOX, BOX_TEXT = [20, 20, 90, 60], "{<10><20><55><80>}"
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", **SIDES}],
    "categories": [{"id": 1, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": BOX},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [190, 0, 20, 50]},
    ],
}
XML = """<annotation><size><width>200</width><height>100</height></size>
<object><name>1</name><bndbox><xmin>20</xmin><ymin>20</ymin><xmax>110</xmax><ymax>80</ymax></bndbox></object>
<object><name>2</name><scene>1</scene></object></annotation>"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, Path | None]]:
    def put(name: str, data: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    captions = {"images": COCO["images"], "annotations": [{"image_id": 7, "caption": " A dog. "}]}
    people = [{"question_id": 1, "image_id": 7, "answers": [{"answer": "red"}] * 2 + [{"answer": "blue"}]}]
    questions = {"data_subtype": "val2014", "questions": [{"question_id": 1, "question": "What colour?"}]}
    region = {"image_id": 7, "phrase": "a dog ", "x": 20, "y": 20, "width": 90, "height": 60}
    put("sentences/a.txt", "[/EN#1/animals A dog] near [/EN#2/scene the water] .\n")
    put("boxes/a.xml", XML)
    grit = {"key": "00/a", "caption": "a dog and a cat", "noun_chunks": [[0, 5, 0.1, 0.2, 0.55, 0.8, 0.9]]}
    refs = [{"image_id": 7, "ann_id": 1, "sentences": [{"sent": "the dog"}]}]
    return {
        "coco-captions": (put("captions.json", captions), None),
        "coco-detection": (put("instances.json", COCO), None),
        "refcoco": (put("refs.json", refs), tmp_path / "instances.json"),
        "visual-genome": (put("regions.json", [{"regions": [region]}]), put("data.json", [{"image_id": 7, **SIDES}])),
        "gqa": (put("gqa.json", {"1": {"imageId": "7", "question": "Left?", "answer": "yes"}}), None),
        "vqa": (put("vqa.json", {"annotations": people}), put("questions.json", questions)),
        "flickr30k-entities": (tmp_path / "sentences", tmp_path / "boxes"),
        "grit": (put("grit.jsonl", json.dumps(grit) + "\n"), None),
    }


EXPECTED = {
    "coco-captions": [("a.jpg", "[caption] Briefly describe this image.", "A dog.")],
    "coco-detection": [("a.jpg", "[detection] dog", f"<p>dog</p> {BOX_TEXT}<delim>{{<95><0><100><50>}}")],
    "refcoco": [("a.jpg", "[refer] the dog", BOX_TEXT), ("a.jpg", f"[identify] {BOX_TEXT}", "the dog")],
    "visual-genome": [("VG_100K/7.jpg", "[refer] a dog", BOX_TEXT)],
    "gqa": [("7.jpg", "[vqa] Left?", "yes")],
    "vqa": [("COCO_val2014_000000000007.jpg", "[vqa] What colour?", "red")],
    "flickr30k-entities": [
        ("a.jpg", "[grounding] please describe this image in details", f"<p>A dog</p> {BOX_TEXT} near the water .")
    ],
    "grit": [("00/a.jpg", "[grounding] please describe this image in details", f"<p>a dog</p> {BOX_TEXT} and a cat")],
}


@pytest.mark.parametrize("kind", READERS)
def test_a_made_file_gives_these_conversations(files: dict[str, tuple[Path, Path | None]], kind: str) -> None:
    entries = read_dataset(kind, *files[kind])
    found = [(one["image"], *(turn["value"] for turn in one["conversations"])) for one in entries]
    assert found == EXPECTED[kind]


@pytest.mark.parametrize("kind", READERS)
def test_the_command_writes_what_the_trainer_reads(
    files: dict[str, tuple[Path, Path | None]], kind: str, tmp_path: Path
) -> None:
    first, second = files[kind]
    out = tmp_path / "out.json"
    words = ["dataset", kind, str(first), *([] if second is None else [str(second)]), "--out", str(out)]
    assert cli.main(words) == 0
    samples = read_samples([out])
    assert [(one.media[0].file, one.turns[1].value) for one in samples] == [
        (image, answer) for image, _, answer in EXPECTED[kind]
    ]


def test_a_file_of_another_kind_is_named(files: dict[str, tuple[Path, Path | None]]) -> None:
    with pytest.raises(InvalidRequest, match=r"gqa\.json is not as coco-captions is: KeyError: 'images'"):
        read_dataset("coco-captions", files["gqa"][0])
    with pytest.raises(InvalidRequest, match=r"captions\.json is not as visual-genome is: TypeError"):
        read_dataset("visual-genome", files["coco-captions"][0], files["visual-genome"][1])
    with pytest.raises(InvalidRequest, match=r"data\.json is not as gqa is: AttributeError"):
        read_dataset("gqa", files["visual-genome"][1] or Path())
    with pytest.raises(InvalidRequest, match=r"a second file, instances\.json; name it too"):
        read_dataset("refcoco", files["refcoco"][0])


def test_an_unpacked_shard_of_grit_is_read_by_its_files(tmp_path: Path) -> None:
    chunks = [[0, 5, 0.1, 0.2, 0.55, 0.8, 0.9], [10, 15, 0.0, 0.0, 1.0, 1.0, 0.5]]
    (tmp_path / "0001.json").write_text(json.dumps({"caption": "a dog and a cat", "noun_chunks": chunks}))
    [entry] = read_dataset("grit", tmp_path)
    assert entry["image"] == "0001.jpg"
    expected = f"<p>a dog</p> {BOX_TEXT} and <p>a cat</p> {{<0><0><100><100>}}"
    assert entry["conversations"][1]["value"] == expected


def test_pictures_that_models_are_measured_on_are_not_read(
    files: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    sentence = [{"sent": "the dog"}]
    refs = [{"image_id": 7, "ann_id": 1, "split": split, "sentences": sentence} for split in ("testA", "train", "val")]
    files["refcoco"][0].write_text(json.dumps(refs))
    assert len(read_dataset("refcoco", *files["refcoco"])) == 2
    for name in ("b", "c"):
        (tmp_path / "sentences" / f"{name}.txt").write_text("A cat .\n")
        (tmp_path / "boxes" / f"{name}.xml").write_text(XML)
    assert len(read_dataset("flickr30k-entities", *files["flickr30k-entities"])) == 3
    (tmp_path / "train.txt").write_text("a\nc\n")
    named = [one["image"] for one in read_dataset("flickr30k-entities", *files["flickr30k-entities"])]
    assert named == ["a.jpg", "c.jpg"]


def test_a_phrase_of_grit_with_several_places_has_them_all(tmp_path: Path) -> None:
    whole = [0.0, 0.0, 1.0, 1.0, 0.5]
    chunks = [[0, 8, 0.1, 0.2, 0.55, 0.8, 0.9], [0, 8, *whole], [0, 4, *whole], [13, 18, *whole]]
    (tmp_path / "1.json").write_text(json.dumps({"caption": "two dogs and a cat", "noun_chunks": chunks}))
    [entry] = read_dataset("grit", tmp_path)
    everywhere = "{<0><0><100><100>}"
    expected = f"<p>two dogs</p> {BOX_TEXT}<delim>{everywhere} and <p>a cat</p> {everywhere}"
    assert entry["conversations"][1]["value"] == expected


GRIT = {"caption": "a dog and a cat", "noun_chunks": [[0.0, 5.0, 0.1, 0.2, 0.55, 0.8, 0.9]]}
GROUNDED = f"<p>a dog</p> {BOX_TEXT} and a cat"


def test_grit_is_read_from_its_parquet_files_with_other_columns(tmp_path: Path) -> None:
    rows = [{**GRIT, "id": "77", "url": "x", "clip_similarity_vitb32": 0.3}, {**GRIT, "id": "78", "noun_chunks": []}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "coyo_0.parquet")
    first, second = read_dataset("grit", tmp_path)
    assert (first["image"], first["conversations"][1]["value"]) == ("77.jpg", GROUNDED)
    assert (second["image"], second["conversations"][1]["value"]) == ("78.jpg", "a dog and a cat")


def test_a_folder_of_tar_shards_of_grit_is_read_in_order(tmp_path: Path) -> None:
    for shard in ("00001", "00000"):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for name, data in ((f"{shard}5.jpg", b"\xff\xd8"), (f"{shard}5.json", json.dumps(GRIT).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    entries = read_dataset("grit", tmp_path)
    assert [entry["image"] for entry in entries] == ["000005.jpg", "000015.jpg"]
    assert entries[0]["conversations"][1]["value"] == GROUNDED


@pytest.mark.parametrize(("name", "why"), [("a.parquet", "is no parquet file"), ("a.tar", "cannot be read")])
def test_a_file_that_is_none_of_grits_is_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / name).write_bytes(b"not what it is called" * 40)
    with pytest.raises(InvalidRequest, match=rf"{name} {why}"):
        read_dataset("grit", tmp_path / name)
