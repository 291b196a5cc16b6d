"""Values that are one template, ``exit = "{{ code }}"``: their type is that of what they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.document import FileDoc
from pytest_clnrm.scenario.templates.render import ONE_NAME
from pytest_clnrm.toml.checking import convert
from pytest_clnrm.toml.positions import value_at

if TYPE_CHECKING:
    from pytest_clnrm.scenario.dialects.normalise import Normalised

_NONE: Mapping[KeyPath, Any] = {}


def give_types(
    normal: Normalised,
    raw: Mapping[str, Any],
    names: Mapping[str, Any],
    typed: Mapping[KeyPath, Any] = _NONE,
) -> None:
    """Put numbers, booleans, lists and tables where a key wants one and a template names one.

    Where a key wants text, or takes both, the rendered text stays.

    :param normal: its document is changed in place.
    :param raw: the file's values before they were rendered.
    :param names: what templates name.
    :param typed: what is known already, by its path in the file.
    """
    for finding in convert(normal.document, FileDoc)[1]:
        written = value_at(raw, normal.origin(finding.path))
        match = ONE_NAME.fullmatch(written) if isinstance(written, str) else None
        value = None if match is None else value_at(names, tuple(match[1].split(".")))
        value = typed.get(normal.origin(finding.path), value)
        if (
            value is None
            or isinstance(value, str)
            or not isinstance(value_at(normal.document, finding.path), str)
        ):
            continue
        table = value_at(normal.document, finding.path[:-1])
        table[finding.path[-1]] = value
