"""Keeping equal short texts once: what is read has its own copy of each key and name."""

from __future__ import annotations

import sys
from typing import Any

_SHORT_CHARS = 64
_STAYS = frozenset((str, int, float, bool, type(None)))
_intern = sys.intern


def with_same_texts(data: Any) -> Any:
    """Return plain data in which equal short texts are one object, as they are in all that this has returned.

    What is no plain data is left as it is.
    """
    kind = type(data)
    if kind is str:
        return _intern(data) if len(data) <= _SHORT_CHARS else data
    if kind is dict:
        same = {}
        for key, value in data.items():
            its_kind = type(value)
            if its_kind is str and len(value) <= _SHORT_CHARS:
                value = _intern(value)  # noqa: PLW2901
            elif its_kind not in _STAYS:
                value = with_same_texts(value)  # noqa: PLW2901
            same[with_same_texts(key)] = value
        return same
    if kind is list or kind is tuple:
        return kind(map(with_same_texts, data)) if data else data
    return data
