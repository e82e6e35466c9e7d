"""A conversation with a running service: its history, the media of the next message, and streamed answers."""

import base64
import contextlib
import json
import mimetypes
import shlex
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from pandagpt_core.modalities import FILE_MODALITIES, MODALITIES, Composition, Parameter, Selection

# Modality -> the content part's type. Options after the path go to the part's own table where it has one.
PARTS = {name: MODALITIES[name].part for name in FILE_MODALITIES}
OPTIONS = {name: {one.name: one for one in MODALITIES[name].parameters} for name in FILE_MODALITIES}


class TalkError(Exception):
    """A failure as a person at the terminal sees it: the connection's, or the service's own error."""

    status = 1


class CallError(TalkError):
    """A mistake in the call: an option, or a file that it names."""

    status = 2


def medium(modality: str, words: str) -> dict[str, Any]:
    """A content part from `path [name=value ...]`; quotes around the path may be left out. Raises CallError."""
    path, options = _path_and_options(words)
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise CallError(f"cannot read {path or 'a file without a name'}: {error.strerror}") from None
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    payload: dict[str, Any] = {"url": f"data:{kind};base64,{base64.b64encode(data).decode()}"}
    part: dict[str, Any] = {"type": PARTS[modality], PARTS[modality]: payload}
    for word in options:
        name, _, value = word.partition("=")
        if name == "weight":
            part["weight"] = _number(name, value)
        else:
            name, read = parsed_option(modality, word)
            payload.setdefault(modality, {})[name] = read
    return part


def parsed_option(modality: str, word: str) -> tuple[str, float | str | bool]:
    """A parameter of the modality from `name=value`. Raises CallError."""
    name, _, value = word.partition("=")
    if name not in OPTIONS.get(modality, ()):
        known = ", ".join(("weight", *OPTIONS.get(modality, ())))
        raise CallError(f"{modality} has no option {name!r}; it has {known}")
    return name, _option(OPTIONS[modality][name], value)


def _path_and_options(words: str) -> tuple[str, list[str]]:
    """A whole line that is a file's path is that, with all spaces and quotes in it; else it is read as a shell's."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # a line too long or too odd to be a path
        if Path(words).expanduser().is_file():
            return words, []
    try:
        path, *options = shlex.split(words) or [""]
    except ValueError as error:
        raise CallError(f"cannot read the line: {error}") from None
    return path, options


class Talk:
    """One conversation over one connection."""

    def __init__(self, client: httpx.Client, parameters: Mapping[str, Any], system: str | None = None) -> None:
        self._client = client
        self._parameters = dict(parameters)
        self._system = system
        self.pending: list[dict[str, Any]] = []
        self.fields: dict[str, Any] = {}  # beside the last answer's text
        self.clear()

    def clear(self) -> None:
        """Forget the turns and the attached media."""
        self._messages: list[dict[str, Any]] = [{"role": "system", "content": self._system}] if self._system else []
        self.pending = []

    def ask(self, text: str) -> Generator[str]:
        """Send `text` with what is attached; yield the answer as it comes.

        An answer that fails leaves the conversation as it was, attachments included; one that is cut short by the
        reader stays in it as far as it came. Raises TalkError.
        """
        message = {"role": "user", "content": [*self.pending, {"type": "text", "text": text}]}
        answer: list[str] = []
        try:
            for delta in self._stream([*self._messages, message]):
                answer.append(delta)
                yield delta
        except TalkError:
            raise
        except BaseException:
            self._keep(message, answer)
            raise
        self._keep(message, answer)

    def _keep(self, message: dict[str, Any], answer: list[str]) -> None:
        self._messages += [message, {"role": "assistant", "content": "".join(answer)}]
        self.pending = []

    def _stream(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        body, self.fields = {**self._parameters, "messages": messages, "stream": True}, {}
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != 200:
                    response.read()
                    raise TalkError(complaint(response))
                yield from _deltas(response.iter_lines(), self.fields)
        except httpx.ConnectError:
            raise TalkError(
                f"nothing answers at {str(self._client.base_url).rstrip('/')}; start it with `pandagpt serve`, or name "
                "another address with --url"
            ) from None
        except httpx.UnsupportedProtocol:
            raise CallError(f"{str(self._client.base_url).rstrip('/')} is no address; it begins with http://") from None
        except httpx.HTTPError as error:
            raise TalkError(f"the connection broke ({type(error).__name__})") from None


def _deltas(lines: Iterator[str], fields: dict[str, Any]) -> Iterator[str]:
    """The text of each event; the answer's fields are put into `fields`. Raises TalkError on an error event, and when
    the end is missing."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise TalkError(_described(event["error"]))
        for choice in event.get("choices", []):
            fields.update(choice.get("fields") or {})
            if text := choice["delta"].get("content"):
                yield text
    raise TalkError("the connection broke before the answer's end")


def complaint(response: httpx.Response) -> str:
    """The message of an answer that is an error; for one about the key, with the setting that holds the key."""
    hint = "; set PANDAGPT_CLIENT_KEY to the key of this service" if response.status_code == 401 else ""
    try:
        return _described(response.json()["error"]) + hint
    except (ValueError, KeyError, TypeError):
        return f"the service answered with status {response.status_code}"


def _described(error: Mapping[str, Any]) -> str:
    return f"{error.get('message', 'unknown error')} ({error.get('code', 'no code')})"


def _option(parameter: Parameter, value: str) -> float | str | bool:
    match parameter:
        case Selection():
            return value
        case Composition():
            return value.lower() in ("true", "1", "yes")
    return _number(parameter.name, value)


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise CallError(f"{name} is {value!r}, which is no number") from None
