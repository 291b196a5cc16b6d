"""Values that steps capture: text, which remembers what it was."""

from __future__ import annotations

import json
from typing import Any


class JsonText(str):
    """A captured JSON value that is no string, as compact JSON: what is a text takes it as one.

    A string that names nothing else, and stands for a JSON value, is :attr:`value` again.
    """

    __slots__ = ()

    @property
    def value(self) -> Any:
        """Return the number, boolean, null, array or object."""
        return json.loads(self)


def captured_text(value: Any) -> str:
    """Return a JSON value as it is captured: a string as it is."""
    if isinstance(value, str):
        return value
    return JsonText(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
