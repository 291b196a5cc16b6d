"""JUnit's files of several shards as one, in the form in which pytest writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

OF_FILES = ("collection failure", "collection skipped")
"""The messages of cases that pytest makes for a file, which each shard has."""

_COUNTED = {"errors": "error", "failures": "failure", "skipped": "skipped"}


class NoJUnitError(Exception):
    """A text is no file of JUnit."""


def merged_junit(texts: Sequence[bytes]) -> bytes:
    """Return one file: a suite with all cases, those of a file that each shard has once.

    :param texts: of each shard.
    :raises NoJUnitError: if one of them is none, with its place.
    """
    suites = [suite for text in texts for suite in _suites(text)]
    try:
        return _merged(suites)
    except ValueError as error:
        raise NoJUnitError(f"no suite of tests: {error}") from None


def _merged(suites: Sequence[ET.Element]) -> bytes:
    merged = ET.Element("testsuite", {**suites[0].attrib})
    totals = dict.fromkeys(("tests", *_COUNTED), 0)
    seen: set[tuple[str, str]] = set()
    for suite in suites:
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
        for child in suite:
            # Properties of a suite, such as those of record_testsuite_property, are each shard's own.
            known = (child.get("classname", ""), child.get("name", ""))
            of_file = [each for each in child if each.get("message") in OF_FILES]
            if of_file and known in seen:
                totals["tests"] -= 1
                for name, tag in _COUNTED.items():
                    totals[name] -= sum(each.tag == tag for each in of_file)
                continue
            seen.add(known)
            merged.append(child)
    merged.attrib.update({name: str(total) for name, total in totals.items()})
    merged.set("time", f"{max(float(each.get('time', '0')) for each in suites):.3f}")
    merged.set("timestamp", min(each.get("timestamp", "") for each in suites))
    merged.set("hostname", _joined(each.get("hostname", "") for each in suites))
    root = ET.Element("testsuites", {"name": "pytest tests"})
    root.append(merged)
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body


def _suites(text: bytes) -> list[ET.Element]:
    try:
        root = ET.fromstring(text)  # noqa: S314 (expat bounds what entities become)
    except (ET.ParseError, ValueError) as error:
        raise NoJUnitError(f"no XML: {error}") from None
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    if not suites or root.tag not in {"testsuite", "testsuites"}:
        raise NoJUnitError("no suite of tests")
    return suites


def _joined(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))
