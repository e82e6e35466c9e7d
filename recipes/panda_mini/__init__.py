"""The recipe of models/panda-mini: `make mini`."""
