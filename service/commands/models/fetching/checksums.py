"""SHA-256 of the downloads, recorded at first use in `SHA256SUMS` beside them, as `sha256sum --check` reads it."""

from pathlib import Path

from pandagpt_core.errors import PandaGPTError

NAME = "SHA256SUMS"


class DownloadError(PandaGPTError):
    """A file could not be had, or is not the one expected."""

    code = "download_failed"


class Checksums:
    """The record of one folder of downloads: path below it -> hex SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        self._known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def check(self, path: Path, name: str, published: str | None) -> None:
        """Raises DownloadError unless the file has the published sum and the recorded one; records it where none is."""
        from pandagpt_core.checkpoints import file_digest  # torch comes with it: not for a page of help

        found = file_digest(path)
        recorded = f"was recorded in {NAME} (remove its line where another file is meant)"
        for wanted, source in ((published, "is published"), (self._known.get(name), recorded)):
            if wanted is not None and found != wanted:
                raise DownloadError(f"{name}: its SHA-256 is {found}, and {wanted} {source}")
        if name not in self._known:
            self._known[name] = found
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{found}  {name}\n")
