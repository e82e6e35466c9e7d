"""The sizes of the rows of `patches`. A worker knows them without its decoders of pictures."""

PATCH, POOL, TOKENS = 16, 3, 280  # pixels a side; patches a side of one token; tokens at most
PATCHES = TOKENS * POOL**2
VALUES = 3 * PATCH**2
ABSENT = -1.0  # both places of a patch that is none
