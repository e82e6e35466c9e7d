"""A schema that comes as text is bounded before it is parsed: the parser holds every thread meanwhile."""

import pytest

from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.structured import MAX_TEXT, grammar_of
from service.gateway.schema.sampling import Sampling


async def test_a_schemas_text_is_bounded_in_length() -> None:
    def given(spaces: int) -> Sampling:
        return Sampling.model_validate({"structured_outputs": {"json": "{" + " " * spaces + "}"}})

    assert await grammar_of(given(MAX_TEXT - 2)) is not None
    with pytest.raises(GatewayError, match=f"the text is {MAX_TEXT + 1} characters; the limit is {MAX_TEXT}"):
        await grammar_of(given(MAX_TEXT - 1))
