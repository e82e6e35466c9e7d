"""Sound files that a recorder or an editor left odd, made such that a library reads them.

A WAV whose recorder crashed states a length of zero bytes; an MP3 may begin with another program's junk.
"""

import struct

_JUNK = 1 << 16  # bytes in front of an MP3's first frame that are looked through
_RATES = (44100, 48000, 32000)
# Kilobits a second by (version 1, layer) and index.
_BITRATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_UNKNOWN = (0, 0xFFFFFFFF)


def mended(data: bytes) -> bytes:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _sized(data)
    return data[at:] if (at := _first_frame(data)) else data


def is_mpeg_frame(data: bytes) -> bool:
    """Eleven set bits, and a layer that is not the reserved one (which AAC streams use)."""
    return len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0


def _sized(data: bytes) -> bytes:
    """The WAV with its data chunk's true size, where the header states none."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"data":
            rest = len(data) - at - 8
            if size not in _UNKNOWN or rest == 0:
                return data
            head = data[:4] + struct.pack("<I", len(data) - 8) + data[8 : at + 4] + struct.pack("<I", rest)
            return head + data[at + 8 :]
        at += 8 + size + size % 2
    return data


def _first_frame(data: bytes) -> int:
    """Index of an MP3's first frame behind junk; 0 where the bytes are another format's or none."""
    if data[:2] == b"\xff\xd8" or not data or data[0] in b"RIFOfc.#\x1a\x00" or data[4:8] == b"ftyp":
        return 0
    if is_mpeg_frame(data) or data[:3] == b"ID3" or data[0] == 0xFF:
        return 0
    at = data.find(b"\xff", 0, _JUNK)
    while at >= 0:
        length = frame_length(data[at : at + 4])
        if length and frame_length(data[at + length : at + length + 4]):
            return at
        at = data.find(b"\xff", at + 1, _JUNK)
    return 0


def frame_length(header: bytes) -> int:
    """Bytes of an MPEG audio frame by its header (ISO 11172-3, 2.4.2.3); 0 where it is none."""
    if len(header) < 4 or not is_mpeg_frame(header):
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or index in (0, 15) or rate_index == 3:
        return 0
    first = version == 3
    bits = _BITRATES[first, layer if first or layer == 1 else 2][index] * 1000
    rate = _RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // rate + padding
