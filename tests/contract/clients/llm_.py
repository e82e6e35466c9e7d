"""llm: a model of its extra-openai-models.yaml answers, streams, follows a schema and calls a tool in a chain."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

MODEL = """
- model_id: mine
  model_name: scripted
  api_base: {url}
  supports_tools: true
  supports_schema: true
"""


def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} {days}: sunny"


def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_USER_PATH"] = folder
        (Path(folder) / "extra-openai-models.yaml").write_text(MODEL.format(url=url))
        import llm  # it reads the variable

        model: Any = llm.get_model("mine")
        assert model.prompt("Hello", stream=False).text() == "It is sunny in Paris."
        assert "".join(model.prompt("Hello")) == "It is sunny in Paris."
        schema = {"type": "object", "properties": {"name": {"type": "string"}, "people": {"type": "integer"}}}
        schema |= {"required": ["name", "people"], "additionalProperties": False}
        assert json.loads(model.prompt("Which city?", schema=schema).text()) == {"name": "Paris", "people": 36}
        assert model.chain("The weather?", tools=[weather]).text() == "It is sunny in Paris."


main(sys.argv[1])
