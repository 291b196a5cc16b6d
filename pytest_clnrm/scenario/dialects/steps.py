"""Wild steps and scenarios: ``[[steps]]``, ``[[scenario]]`` with ``run`` and ``steps``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pytest_clnrm.scenario.dialects.commands import split_run
from pytest_clnrm.scenario.dialects.expect import expectations
from pytest_clnrm.scenario.dialects.reader import MISSING, Reader, milliseconds, python_regex
from pytest_clnrm.scenario.dialects.services import environment

NOT_ZERO = {"ne": 0}
_CANONICAL_STEP = ("name", "user", "stdin", "timeout", "capture", "continue_on_failure")
_TIMES = (("timeout_ms", milliseconds), ("timeout_seconds", None), ("timeout_sec", None))
_DEFAULT = "default"
_OLD_STEP = frozenset({
    "capture_stderr", "capture_stdout", "command", "depends_on", "description", "environment",
    "expect_failure", "expected_exit_code", "expected_output", "expected_output_contains",
    "expected_output_not_contains", "expected_output_regex", "expected_output_regex_not", "max_retries",
    "retry_on_failure", "should_fail", "timeout_ms", "timeout_sec", "timeout_seconds", "working_dir",
})  # fmt: skip
_OLD_SCENARIO = frozenset({"author", "deadline_ms", "timeout_seconds", "version"})


def steps(reader: Reader, key: str, services: Collection[str], *, split: bool = False) -> None:
    """Read the array of steps *key* of a table into its canonical ``step``.

    :param services: names of the file's services.
    :param split: True if a ``run`` is split into words rather than run by a shell.
    """
    raw = reader.take(key)
    if raw is MISSING:
        return
    if not isinstance(raw, list):
        reader.put(("step",), raw, (key,), alike=True)
        return
    names: list[str] = []
    for index, each in enumerate(raw):
        if not isinstance(each, dict):
            reader.append("step", each, (key, index), alike=True)
            continue
        _step(reader.appended("step", each, (key, index)), services, names, split=split)
        if isinstance(each.get("name"), str):
            names.append(each["name"])


def is_old_service(scenario: dict[str, Any], services: Collection[str]) -> bool:
    """Tell whether a scenario names its service as the older dialect does, by what stands beside it."""
    if "service" not in scenario:
        return False
    made = scenario.get("step")
    beside = [each for each in made if isinstance(each, dict)] if isinstance(made, list) else []
    return (
        _is_default(scenario["service"], services)
        or not _OLD_SCENARIO.isdisjoint(scenario)
        or any(not _OLD_STEP.isdisjoint(each) or isinstance(each.get("retry"), int) for each in beside)
    )


def scenario(reader: Reader, services: Collection[str]) -> None:
    """Read a wild scenario: its ``run`` is the first step, or several, then come its ``steps``."""
    reader.move("timeout")
    reader.move("timeout_ms", "timeout", by=milliseconds)
    reader.move("deadline_ms", "timeout", by=milliseconds)
    reader.move("timeout_seconds", "timeout")
    reader.skip("version", "author", "artifacts")
    service = reader.take("service")
    _run(reader, services)
    steps(reader, "step", services)
    steps(reader, "steps", services, split=True)
    made = reader.out.get("step")
    if service is not MISSING and not _is_default(service, services):
        used = False
        for index, step in enumerate(made if isinstance(made, list) else ()):
            if isinstance(step, dict) and "service" not in step:
                step["service"] = service
                reader.notes.came((*reader.to, "step", index, "service"), (*reader.at, "service"), alike=True)
                used = True
        if not used:
            reader.give_up("service")
    fails = reader.take_flag("expect_failure")
    if fails and not _expect_failure(made if isinstance(made, list) else []):
        reader.give_up("expect_failure")
    expectations(reader, "expect")
    reader.finish("name", "description", "tags", "priority")


def _run(reader: Reader, services: Collection[str]) -> None:
    run = reader.take("run")
    if isinstance(run, list) and run and all(isinstance(each, dict) for each in run):
        for index, each in enumerate(run):
            below = reader.appended("step", each, ("run", index))
            below.put_default(("name",), f"run {index + 1}", ())
            _step(below, services, [], split=True)
    elif run is not MISSING:
        below = reader.appended("step", {}, ("run",))
        below.out.update({"name": "run", "run": split_run(run)})
        reader.notes.came((*below.to, "run"), below.at)


def _step(reader: Reader, services: Collection[str], before: Collection[str], *, split: bool) -> None:
    reader.move("name")
    reader.move("command", "run")
    reader.move("run", by=split_run if split else None)
    service = reader.take("service")
    if service is not MISSING and not _is_default(service, services):
        reader.put(("service",), service, ("service",), alike=True)
    for key in ("env", "environment"):
        environment(reader, key)
    reader.move("workdir")
    reader.move("working_dir", "workdir")
    reader.move("timeout")
    for key, unit in _TIMES:
        reader.move(key, "timeout", by=unit)
    reader.skip("description", "capture_stdout", "capture_stderr")
    after = reader.take("depends_on")
    if after is not MISSING and not (isinstance(after, list) and set(map(str, after)) <= set(before)):
        reader.give_up("depends_on")
    _expect(reader)
    _retry(reader)
    reader.finish(*_CANONICAL_STEP)


def _expect(reader: Reader) -> None:
    own = reader.take("expect")
    if own is not MISSING:
        reader.put(("expect",), dict(own) if isinstance(own, dict) else own, ("expect",), alike=True)
    reader.move("expected_exit_code", "expect", "exit")
    for key in ("should_fail", "expect_failure"):
        fails = reader.take_flag(key)
        free = fails and reader.put_default(("expect", "exit"), dict(NOT_ZERO), (key,))
        if fails and not free and _table(reader.out.get("expect")).get("exit") == 0:
            reader.give_up(key)
    for key, name in (
        ("expected_output_regex", "regex"),
        ("expected_output_regex_not", "not_regex"),
        ("expected_output_contains", "contains"),
        ("expected_output_not_contains", "not_contains"),
        ("expected_output", "contains"),
    ):
        by = python_regex if name.endswith("regex") else None
        reader.move(key, "expect", "stdout", name, by=by)


def _retry(reader: Reader) -> None:
    retry = reader.take("retry")
    if isinstance(retry, dict):
        below = reader.child("retry", retry, "retry")
        below.move("times")
        below.move("max_attempts", "times", by=lambda most: most - 1 if _is_count(most) else most)
        below.move("max_retries", "times")
        below.finish("delay")
        below.put_default(("times",), 1, ())
    elif retry is not MISSING:
        reader.put(("retry",), {"times": retry}, ("retry",))
    wanted = reader.take_flag("retry_on_failure")
    most = reader.take("max_retries")
    if most is not MISSING and not _is_count(most, least=0):
        reader.give_up("max_retries")
    elif wanted is not False and _is_count(most, least=0):
        reader.put(("retry", "times"), most, ("max_retries",), alike=True)
    elif wanted is True and most is MISSING and "retry" not in reader.out:
        reader.put(("retry", "times"), 1, ("retry_on_failure",))


def _expect_failure(made: list[Any]) -> bool:
    """Expect each step to fail that does not say itself what it expects, and tell whether one is to fail."""
    tables = [step.setdefault("expect", {}) for step in made if isinstance(step, dict)]
    exits = [each.setdefault("exit", dict(NOT_ZERO)) for each in tables if isinstance(each, dict)]
    return any(each != 0 for each in exits)


def _is_default(service: Any, services: Collection[str]) -> bool:
    return service == _DEFAULT and service not in services


def _is_count(value: Any, *, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
