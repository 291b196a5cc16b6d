"""The combinations of ``[matrix]``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.names import item_name_problem

MAX_COMBINATIONS = 1000
_COUNTED = 10**12
MAX_ITEMS = 10_000
"""Items of one file: its scenarios times the combinations."""


def as_text(value: Any) -> str:
    """Return a TOML scalar as the text that programs get: ``true``, not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def combinations(axes: Mapping[str, list[Any]]) -> Iterator[dict[str, str]]:
    """Yield each combination of *axes*, the last axis turning fastest; one empty one without axes."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, map(as_text, values), strict=True))


def suffix(combination: Mapping[str, str]) -> str:
    """Return what a combination adds to the name of its item: ``[database=16]``, "" without axes."""
    return f"[{','.join(f'{axis}={value}' for axis, value in combination.items())}]" if combination else ""


def check_axes(axes: Mapping[str, list[Any]]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the mistakes of axes of the right types."""
    count = math.prod(map(len, axes.values()))
    if count > MAX_COMBINATIONS:
        shown = str(count) if count < _COUNTED else f"more than {_COUNTED}"
        yield ("matrix",), f"{shown} combinations; at most {MAX_COMBINATIONS} are allowed"
    for axis, values in axes.items():
        seen: set[str] = set()
        for index, text in enumerate(map(as_text, values)):
            problem = item_name_problem(text)
            if problem:
                yield ("matrix", axis, index), problem
            if "{{" in text or "{%" in text:
                told = "values of a matrix are no templates, and would be taken as they stand: write them out"
                yield ("matrix", axis, index), told
            if text in seen:
                yield ("matrix", axis, index), f'"{text}" is there twice'
            seen.add(text)
