"""Files by the `openai` package: upload, list, look, content, use, delete."""

import io
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.contract import made
from tests.contract.conftest import Strict


def test_a_file_is_uploaded_from_bytes_a_stream_or_a_path(client: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "ramp.png"
    path.write_bytes(made.PNG)
    for given in (("ramp.png", made.PNG), ("ramp.png", io.BytesIO(made.PNG)), path):
        file = client.files.create(file=given, purpose="vision")
        assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(made.PNG), "ramp.png", "vision")
        assert file.expires_at is not None
        assert file.expires_at > file.created_at


def test_a_file_lives_as_long_as_its_owner_wants_within_the_operators_limit(client: OpenAI) -> None:
    def life(seconds: int) -> int:
        wanted: Any = {"anchor": "created_at", "seconds": seconds}
        file = client.files.create(file=("a", b"x"), purpose="user_data", expires_after=wanted)
        return int(file.expires_at or 0) - file.created_at

    assert life(3600) == 3600
    assert life(20 * 86_400) == 86_400
    with pytest.raises(openai.BadRequestError) as refused:
        life(5)
    assert refused.value.param == "expires_after.seconds"


def test_a_file_is_found_by_its_id(client: OpenAI) -> None:
    file = client.files.create(file=("a", made.PNG), purpose="vision")
    assert client.files.retrieve(file.id) == file


def test_files_are_listed_in_pages_that_the_package_follows(client: OpenAI) -> None:
    ids = {client.files.create(file=(f"{n}", made.PNG), purpose="listed").id for n in range(5)}
    listed = [file.id for file in client.files.list(limit=2, purpose="listed")]
    assert set(listed) == ids
    assert len(listed) == 5


def test_a_files_content_comes_back_as_it_was(client: OpenAI) -> None:
    file = client.files.create(file=("film.mp4", made.VIDEO), purpose="vision")
    assert client.files.content(file.id).read() == made.VIDEO


def test_a_deleted_file_is_gone_everywhere(client: OpenAI) -> None:
    file = client.files.create(file=("a", made.PNG), purpose="vision")
    assert client.files.delete(file.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as gone:
            call(file.id)
        assert gone.value.code == "file_not_found"
    assert file.id not in [one.id for one in client.files.list()]


def test_another_keys_file_is_not_found(strict: Strict) -> None:
    ann, bob = (OpenAI(base_url=f"{strict.url}/v1", api_key=key, max_retries=0) for key in (strict.key(), strict.key()))
    with ann, bob:
        file = ann.files.create(file=("a", made.PNG), purpose="vision")
        assert ann.files.retrieve(file.id).id == file.id
        with pytest.raises(openai.NotFoundError):
            bob.files.retrieve(file.id)


def test_a_file_larger_than_the_limit_is_a_413(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=("big", bytes((4 << 20) + 1)), purpose="vision")
    assert (refused.value.status_code, refused.value.code) == (413, "too_large")
