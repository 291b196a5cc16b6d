"""Values as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_WIDTH = 110


def toml_key(name: str) -> str:
    """Return a key, quoted where it has to be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml_key(name)} = {toml_value(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    # A string of JSON is one of TOML, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_lines(name: str, value: Any) -> Iterator[str]:
    """Yield the lines of a key; a list that is too long for one has a line for each of its values."""
    line = f"{toml_key(name)} = {toml_value(value)}"
    if isinstance(value, list) and len(line) > _WIDTH:
        yield f"{toml_key(name)} = ["
        yield from (f"    {toml_value(each)}," for each in value)
        yield "]"
    else:
        yield line
