"""Which names are encodings of text."""

from __future__ import annotations

import codecs
import re

# Others are no encodings of text, or such that a server can make anything of: idna, unicode_escape.
_CODECS = re.compile(r"ascii|iso8859-\d+|cp\d+|koi8-\w|gb\w+|big5\w*|euc_\w+|shift_jis\w*|utf-(8|16|32)\S*")


def codec_of(name: str) -> str:
    """Return Python's name of the encoding of text that *name* is, such as ``utf-8`` of UTF8; "" if none."""
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""
    return codec if _CODECS.fullmatch(codec) else ""
