"""instructor: a typed answer by a tool, by JSON mode and by a JSON schema; a retry is never needed."""

import sys
from typing import Any

import instructor
from openai import OpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int
    tags: list[str]


MODES = [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON]


def main(url: str) -> None:
    for mode in MODES:
        client: Any = instructor.from_openai(OpenAI(base_url=url, api_key="none", max_retries=0), mode=mode)
        words = [{"role": "user", "content": "Which city?"}]
        if mode is instructor.Mode.JSON:  # a model without a schema to follow is scripted to answer this
            words[0]["content"] += ' Say: {"name": "Paris", "people": 36, "tags": ["Paris"]}'
        city = client.chat.completions.create(
            model="scripted", response_model=City, max_retries=0, max_tokens=400, messages=words
        )
        assert city.model_dump() == {"name": "Paris", "people": 36, "tags": ["Paris"]}, (mode, city)


main(sys.argv[1])
