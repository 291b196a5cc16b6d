"""Names that users select items by, and see in reports."""

from __future__ import annotations

from pytest_clnrm.util.terminal_text import commands, is_plain


def has_control(text: str) -> bool:
    """Tell whether *text* holds a control character, newlines and those of writing directions among them."""
    return not is_plain(text)


def item_name_problem(text: str) -> str:
    """Return why *text* cannot be (part of) an item's name, "" if it can."""
    if not text.strip():
        return "must not be empty"
    if "::" in text or has_control(text):
        return "must not hold '::' or control characters such as newlines"
    if commands(text):
        return "must not hold '##[' and the like, by which the logs of CI services take commands"
    return ""
