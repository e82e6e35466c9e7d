"""Unpacking of LZF (Lehmann 2000), which packed PCD files use: runs of literal bytes, and copies of earlier ones."""

SHORT_RUN = 32  # control bytes below: so many literal bytes and one more follow


def unpacked(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes. Raises ValueError for data that holds more, fewer or copies from before the begin."""
    out = bytearray()
    at = 0
    while at < len(data):
        control, at = data[at], at + 1
        if control < SHORT_RUN:
            out += data[at : at + control + 1]
            at += control + 1
        else:
            length = control >> 5
            if length == 7:
                length, at = length + data[at], at + 1
            back = len(out) - ((control & 0x1F) << 8) - data[at] - 1
            at += 1
            if back < 0:
                raise ValueError("a copy from before the begin")
            _copy(out, back, length + 2)
        if len(out) > size:
            raise ValueError("more bytes than the header says")
    if len(out) != size:
        raise ValueError("fewer bytes than the header says")
    return bytes(out)


def _copy(out: bytearray, back: int, count: int) -> None:
    """`count` bytes from `back` on; a copy that reaches its own output repeats it."""
    piece = out[back : back + count]
    repeats = -(-count // len(piece))
    out += (piece * repeats)[:count]
