"""What types cannot say of the keys that decide which scenarios run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_clnrm.model.demand import GROUP_NAME
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.selection import KnownMarks
from pytest_clnrm.scenario.format.marks import check_marks, missing_plugin
from pytest_clnrm.scenario.format.problems import Problem, each_text
from pytest_clnrm.scenario.format.selection_document import TRUTH, ItemDoc, SkipIfDoc
from pytest_clnrm.scenario.names import has_control

_GROUP = "up to 63 letters, digits, '_', '.' and '-', a letter or digit first"
_WHEN = "write a template that compares, such as \"{{ matrix.database == 'mysql' }}\""


def check_selection(doc: ItemDoc, path: KeyPath, known: KnownMarks) -> Iterator[Problem]:
    """Yield the mistakes of one file's, or one scenario's, own keys."""
    if doc.flaky and "flaky" not in known.plugins:
        yield from missing_plugin("flaky", (*path, "flaky"))
    names = [name for each in doc.marks for name in ([each] if isinstance(each, str) else each)]
    if doc.flaky is not None and "flaky" in names:
        yield Problem((*path, "flaky"), "it is among the marks, too", "leave one of them out")
    if doc.flaky is not None and doc.retry is not None:
        told = "pytest-rerunfailures runs it again for that, and retry would multiply it"
        yield Problem((*path, "flaky"), told, "leave flaky or retry out")
    yield from check_marks(doc.marks, (*path, "marks"), known)
    for key, reason in (("skip", doc.skip), ("xfail", doc.xfail)):
        if isinstance(reason, str):
            yield from _reason(reason, (*path, key))
        elif reason is not None:
            yield from _reason(reason.reason, (*path, key, "reason"))
    yield from _skip_if(doc, (*path, "skip_if"))
    for at, name in each_text(doc.group, (*path, "group")):
        if not re.fullmatch(GROUP_NAME, name):
            yield Problem(at, f'"{name}" is not allowed: {_GROUP}')


def _skip_if(doc: ItemDoc, path: KeyPath) -> Iterator[Problem]:
    if isinstance(doc.skip_if, str):
        yield from _when(doc.skip_if, path)
    elif isinstance(doc.skip_if, list):
        for index, each in enumerate(doc.skip_if):
            yield from _condition(each, (*path, index))
    elif isinstance(doc.skip_if, SkipIfDoc):
        yield from _condition(doc.skip_if, path)


def _condition(doc: SkipIfDoc, path: KeyPath) -> Iterator[Problem]:
    if all(getattr(doc, name) is None for name in doc.CONDITIONS):
        told = f"this is no condition; set at least one of {', '.join(doc.CONDITIONS)}"
        yield Problem(path, told, 'to skip it always, write skip = "reason"')
    for key in ("env", "missing_env"):
        given = getattr(doc, key)
        for index, name in enumerate([given] if isinstance(given, str) else given or ()):
            if not name.strip() or "=" in name or "\0" in name:
                at = (*path, key) if isinstance(given, str) else (*path, key, index)
                yield Problem(at, f'"{name}" is no name of an environment variable')
    if isinstance(doc.when, str):
        yield from _when(doc.when, (*path, "when"))
    if doc.reason is not None:
        yield from _reason(doc.reason, (*path, "reason"))


def _when(text: str, path: KeyPath) -> Iterator[Problem]:
    if text not in TRUTH:
        yield Problem(path, f'expected a template that gives true or false, found "{text}"', _WHEN)


def _reason(reason: str, path: KeyPath) -> Iterator[Problem]:
    if has_control(reason) or not reason.strip():
        yield Problem(path, "the reason must not be empty or hold control characters")
