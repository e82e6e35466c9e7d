"""The entry of the invented modality "smell", for an entry point."""

from pandagpt_core.modalities.entry import Entry, Number, Recipe

ENTRY = Entry(
    name="smell",
    about="a smell",
    recipes=(Recipe("smell-v1", "smell", "nose"),),
    sample=("smell", "rose"),
    parameters=(Number("strength", "how near it is", 0.0, 2.0, "noses"),),
)
