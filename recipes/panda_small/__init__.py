"""Questions to choose the language model of a model above panda-mini."""
