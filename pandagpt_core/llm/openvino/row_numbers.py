"""Numbers of rows that OpenVINO computes in steps: few different ones, since another one than before costs time.

OpenVINO prepares all of a graph's operations anew where a step has another number of rows than the one before: 4 ms for
SmolLM2, where a step takes 12 and one row more half a millisecond. And it keeps 0.3 to 0.8 MB of each number. So steps
are filled up to numbers that are far apart.
"""

# Above so many rows their number is rounded up to a multiple. A single row has a kernel of its own, whose last bits are
# others: int8 makes other words of them. From two rows on a row's logits do not depend on the others, so an answer is
# the same alone, beside others and with drafts.
STEPS = ((128, 16), (4, 8), (2, 4), (0, 2))
CHANGE = 8  # rows that take as long as a change of their number does


def padded(count: int) -> int:
    """The rows of a step that has `count`: of the numbers up to 544, 44 are left."""
    step = next(step for above, step in STEPS if count > above)
    return -(-count // step) * step
