"""Prompts of an exact number of tokens, no two of one run alike, so that no prefix cache helps anybody."""

from collections.abc import Sequence

PASSAGE = (
    "The harbour woke before the town did. Men in oilskins carried crates across the wet stones, and gulls "
    "argued over what fell. A woman on the third pier counted barrels aloud, wrote the sum in a book, and counted "
    "again, for the last ship had come a barrel short. Beyond the breakwater the sea lay grey and patient. By noon "
    "the fog would lift, the bells of the two churches would answer one another, and the market would fill with "
    "bread, rope, lamp oil, oranges from the south and letters a month old. Nobody hurried. A clock with one hand "
    "stood above the customs house; it had been right twice a day for forty years, and people set their watches by "
    "the tide instead. The boy who swept the steps knew each captain by his boots and each dog by its owner. "
)


def prompts(ids: Sequence[int], case_prompt: int, count: int, turn: int) -> list[list[int]]:
    """`count` prompts of `case_prompt` ids each, cut from the passage's `ids`.

    The first ids say which case, turn and request it is: a cache of prefixes finds nothing to reuse.
    """
    distinct = sorted(set(ids))
    made = []
    for index in range(count):
        head = [distinct[number % len(distinct)] for number in (index, turn, count, case_prompt)]
        start = (turn * 131 + index * 17) % len(ids)
        body = [*ids[start:], *ids[:start]] * (case_prompt // len(ids) + 1)
        made.append([*head, *body][:case_prompt])
    return made
