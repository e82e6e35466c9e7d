"""The stages of a build, each kept under what decided it: the shared space, then the language model."""
