"""Where a JSON object or list ends in a text that grows."""


class JsonEnd:
    """Counts brackets outside of strings; `ended` once the first one is closed."""

    def __init__(self) -> None:
        self.ended = False
        self._depth = 0
        self._in_string = self._escaped = False

    def feed(self, text: str) -> int:
        """How many characters of `text` belong to the value."""
        for at, character in enumerate(text):
            if self.ended:
                return at
            self._take(character)
        return len(text)

    def _take(self, character: str) -> None:
        if self._in_string:
            self._in_string = self._escaped or character != '"'
            self._escaped = character == "\\" and not self._escaped
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self.ended = self._depth == 0
