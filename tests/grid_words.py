"""Words for a grid encoder of three names and two colours, as SmolLM2's tokenizer writes them."""

from pandagpt_core.encoders.grid.lines import Words

GRID_WORDS = Words(
    names=((" dog",), (" ice", " cream"), (" cat",)),
    colours=(("red",), ("plain",)),
    places=(
        *(("top", " left"), ("top",), ("top", " right"), ("left",), ("middle",), ("right",)),
        *(("bottom", " left"), ("bottom",), ("bottom", " right")),
    ),
    digits=(("0",), ("1",), ("2",), ("3",), ("4",), ("5",), ("6",), ("7",), ("8",), ("9",)),
    opening=("<",),
    between=("><",),
    ending=("\n",),
)
