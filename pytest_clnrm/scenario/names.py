"""Names that users select items by, and see in reports."""

from __future__ import annotations

import re

__all__ = ["has_control", "item_name_problem"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def has_control(text: str) -> bool:
    """Tell whether *text* holds a control character, newlines among them."""
    return bool(_CONTROL.search(text))


def item_name_problem(text: str) -> str:
    """Return why *text* cannot be (part of) an item's name, "" if it can."""
    if not text.strip():
        return "must not be empty"
    if "::" in text or has_control(text):
        return "must not hold '::' or control characters such as newlines"
    return ""
