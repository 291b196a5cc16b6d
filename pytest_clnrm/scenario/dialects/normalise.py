"""Scenario files in the dialects in the wild, put into the canonical form.

:func:`normalise` decides by a file's own marks whether it is wild. A canonical file passes as it is, so that
each key that it misspells is a mistake; of a wild file, what is not understood is *unchecked*, and named.
Nothing here judges: odd shapes are passed on, for validation to refuse.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.dialects.expect import expectations
from pytest_clnrm.scenario.dialects.otel import otel_validation
from pytest_clnrm.scenario.dialects.reader import MISSING, Notes, Reader, milliseconds, tables
from pytest_clnrm.scenario.dialects.services import limits, service
from pytest_clnrm.scenario.dialects.steps import is_old_service, scenario, steps

_WILD_TABLES = frozenset({
    "ai_management", "assertions", "cleanup", "determinism", "metrics", "otel", "otel_expectations",
    "otel_validation", "output", "report", "services", "steps", "template", "test", "validation",
})  # fmt: skip
_WILD_SCENARIO = frozenset({"artifacts", "expect_failure", "run", "steps", "timeout_ms"})
_WILD_SERVICE = frozenset({"args", "plugin", "type", "wait_for_span"})
_HOLD_IF_ALL_STEPS_PASS = frozenset({
    "all_commands_should_succeed", "all_scenarios_should_pass", "all_steps_must_pass",
    "all_steps_must_succeed", "all_steps_should_pass", "all_steps_should_succeed", "no_failed_assertions",
})  # fmt: skip
_DESCRIBING = frozenset({
    "author", "concurrent", "description", "hermetic", "name", "priority", "tags", "timeout",
    "timeout_seconds", "version",
})  # fmt: skip


@dataclass(frozen=True)
class Normalised:
    """A file in the canonical form.

    :param document: ready for validation.
    :param unchecked: paths in the file of claims that are not checked.
    :param mistakes: paths in the file, each with what is wrong there.
    :param stdout_spans: True if the file says that programs print spans to stdout.
    """

    document: dict[str, Any]
    unchecked: tuple[KeyPath, ...] = ()
    mistakes: tuple[tuple[KeyPath, str], ...] = ()
    stdout_spans: bool = False
    notes: Notes | None = None

    def origin(self, path: KeyPath) -> KeyPath:
        """Return where the canonical *path* is in the file as its author wrote it."""
        return path if self.notes is None else self.notes.origin(path)


def normalise(raw: dict[str, Any]) -> Normalised:
    """Return the file *raw* in the canonical form; *raw* itself is not changed."""
    wild = is_wild(raw)
    notes = Notes(wild=wild)
    if not wild:
        return Normalised(_canonical(raw, notes), mistakes=tuple(notes.mistakes), notes=notes)
    document: dict[str, Any] = {}
    # A copy: what is taken over may be completed in place.
    reader = Reader(notes, copy.deepcopy(raw), (), document, ())
    stdout_spans = _otel(reader)
    _meta(reader)
    names = _services(reader)
    limits(reader, "limits", to_timeout=True)
    _scenarios(reader, names)
    _assertions(reader, "assertions")
    expectations(reader, "expect")
    otel_validation(reader)
    for name in ("otel_expectations", "template"):
        table = reader.take(name)
        if table is not MISSING and not isinstance(table, dict):
            reader.give_up(name)
        for key in table if isinstance(table, dict) else ():
            # The variables of a template are read before all else.
            if (name, key) != ("template", "vars"):
                reader.give_up(name, key)
    reader.finish("vars", "matrix")
    return Normalised(document, tuple(notes.unchecked), tuple(notes.mistakes), stdout_spans, notes)


def is_wild(raw: dict[str, Any]) -> bool:
    """Tell whether a file is in an older dialect, by its own marks."""
    # [cleanup] is a table of theirs, and [[cleanup]] steps of ours; [[steps]] are theirs, [steps.NAME] ours.
    marks = _WILD_TABLES.intersection(raw)
    if not isinstance(raw.get("cleanup"), dict):
        marks -= {"cleanup"}
    if isinstance(raw.get("steps"), dict):
        marks -= {"steps"}
    if marks:
        return True
    scenarios, services = raw.get("scenario"), raw.get("service")
    services = services if isinstance(services, dict) else {}
    return any(
        not _WILD_SCENARIO.isdisjoint(each) or is_old_service(each, services) for _, each in tables(scenarios)
    ) or any(isinstance(each, dict) and not _WILD_SERVICE.isdisjoint(each) for each in services.values())


def _canonical(raw: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Return a file of the canonical form; only in its expectations are wild spellings read too."""
    document = dict(raw)
    if "expect" in raw:
        document["expect"] = _expect_of(raw, notes, ())
    scenarios = raw.get("scenario")
    if isinstance(scenarios, list):
        document["scenario"] = [
            {**each, "expect": _expect_of(each, notes, ("scenario", index))}
            if isinstance(each, dict) and "expect" in each
            else each
            for index, each in enumerate(scenarios)
        ]
    return document


def _expect_of(table: dict[str, Any], notes: Notes, at: KeyPath) -> Any:
    out: dict[str, Any] = {}
    expectations(Reader(notes, {"expect": copy.deepcopy(table["expect"])}, at, out, at), "expect")
    return out["expect"]


def _otel(reader: Reader) -> bool:
    """Read ``[otel]`` and tell whether spans are printed to stdout."""
    otel = reader.take_if(dict, "otel") or {}
    for key in otel:
        if key != "exporter":
            reader.give_up("otel", key)
    return otel.get("exporter") == "stdout"


def _meta(reader: Reader) -> None:
    raw = reader.take_if(dict, "meta", to="meta")
    if raw is not None:
        _description(reader.child("meta", raw))
    test = reader.take_if(dict, "test", to="meta")
    if test is None:
        return
    flat = reader.child("test", {key: each for key, each in test.items() if key in _DESCRIBING}, "meta")
    metadata = test.get("metadata")
    if isinstance(metadata, dict):
        _description(Reader(reader.notes, metadata, ("test", "metadata"), flat.out, ("meta",)))
    elif "metadata" in test:
        reader.put(("meta",), metadata, ("test", "metadata"), alike=True)
    _description(flat)
    for key, each in test.items():
        if key == "assertions" and isinstance(each, dict):
            _claims(reader, each, ("test", "assertions"))
        elif key not in _DESCRIBING and key != "metadata":
            reader.give_up("test", key)


def _description(reader: Reader) -> None:
    name = reader.take("name")
    if isinstance(name, str) and not name.strip():
        reader.notes.mistakes.append(((*reader.at, "name"), "the name must not be empty"))
    elif name is not MISSING:
        reader.put_default(("name",), name, ("name",), alike=True)
    reader.move("timeout")
    reader.move("timeout_seconds", "timeout")
    reader.move("timeout_ms", "timeout", by=milliseconds)
    reader.skip("version", "author", "hermetic", "fake_mode", "concurrent")
    reader.finish("description", "tags", "priority")


def _services(reader: Reader) -> set[str]:
    """Read the services and return their names."""
    names: set[str] = set()
    for key in ("service", "services"):
        raw = reader.take_if(dict, key, to="service")
        if raw is None:
            continue
        below = reader.child(key, raw, "service")
        for name, each in raw.items():
            names.add(name)
            if isinstance(each, dict):
                below.take(name)
                service(below.child(name, each))
            else:
                below.move(name)
    return names


def _scenarios(reader: Reader, services: Collection[str]) -> None:
    for key in ("step", "steps"):
        steps(reader, key, services)
    raw = reader.take_if(list, "scenario", to="scenario")
    if raw is None:
        return
    own = reader.out.get("step")
    if isinstance(own, list) and own:
        _steps_as_scenario(reader, own)
    for index, each in enumerate(raw):
        if isinstance(each, dict):
            scenario(reader.appended("scenario", each, ("scenario", index)), services)
        else:
            reader.append("scenario", each, ("scenario", index), alike=True)


def _steps_as_scenario(reader: Reader, own: list[Any]) -> None:
    """Make the steps of the file a scenario of its own, beside the others."""
    del reader.out["step"]
    meta = reader.out.get("meta")
    name = meta.get("name") if isinstance(meta, dict) else None
    reader.append("scenario", {"name": name or "steps", "step": own}, ("steps",))
    moved = {
        ("scenario", 0, *path): found for path, found in reader.notes.origins.items() if "step" in path[:1]
    }
    reader.notes.origins.update(moved)


def _assertions(reader: Reader, key: str) -> None:
    raw = reader.take(key)
    if isinstance(raw, dict):
        _claims(reader, raw, (key,))
    elif isinstance(raw, list):
        for index in range(len(raw)):
            reader.give_up(key, index)
    elif raw is not MISSING:
        reader.give_up(key)


def _claims(reader: Reader, claims: dict[str, Any], at: KeyPath) -> None:
    """Note each claim that is not simply that all steps pass."""
    for key, value in claims.items():
        rate = key == "minimum_success_rate" and value == 1
        if not rate and not (key in _HOLD_IF_ALL_STEPS_PASS and value is True):
            reader.notes.unchecked.append((*at, key))
