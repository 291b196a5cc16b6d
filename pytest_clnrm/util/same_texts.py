"""Keeping equal short texts once: what comes from another process has its own copy of each key and name."""

from __future__ import annotations

import sys
from typing import Any

_SHORT_CHARS = 64


def with_same_texts(data: Any) -> Any:
    """Return plain data in which equal short texts are one object, as they are in all that this has returned.

    Of twenty thousand results the keys alone would take hundreds of megabytes otherwise. What is no plain
    data is left as it is.
    """
    kind = type(data)
    if kind is str:
        return sys.intern(data) if len(data) <= _SHORT_CHARS else data
    if kind is dict:
        return {with_same_texts(key): with_same_texts(value) for key, value in data.items()}
    if kind in (list, tuple):
        return kind(map(with_same_texts, data))
    return data
