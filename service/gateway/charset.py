"""The charset that a content type names: text in it is read by it, or refused by name, and never misread."""

import re

from service.gateway.errors import GatewayError

UTF_8 = ("utf-8", "utf8", "us-ascii")
# Further ones of a form's text parts: clients name them for texts in other letters, or for any.
OF_PARTS = (*UTF_8, "iso-8859-1", "latin1", "windows-1252", "utf-16", "utf-16le", "utf-16be")
_CHARSET = re.compile(r"charset(\*?)\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


def named_charset(what: str, content_type: str, read: tuple[str, ...], param: str | None = None) -> str:
    """The codec, `utf-8` where none is named. Raises `invalid_request` for one that is not in `read`.

    `what` begins the message. `charset*=` (RFC 8187) is no charset of HTTP.
    """
    found = "utf-8"
    for extended, name in _CHARSET.findall(content_type):
        if extended or name.lower() not in read:
            raise GatewayError("invalid_request", f"{what}'s charset is none of: {', '.join(read)}.", param=param)
        found = name.lower()
    return found
