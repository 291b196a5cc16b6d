"""What a run of a scenario gave: frozen values that cross process borders as plain builtins.

``Result.to_data()`` and ``Result.from_data()`` are each other's inverse. The data holds exact builtins
only (no subclass of str, no enum, no lone surrogate): anything else on a test report ends an xdist session.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_clnrm.model.kept import KeptFile

RESULT_FORMAT = 1
StepOutcome = Literal["passed", "failed", "error", "timeout", "not run"]
Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "crashed"]


def clean_text(text: str) -> str:
    """Return *text* as an exact str without lone surrogates (shown as U+FFFD)."""
    return str(text).encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def tail(text: str, limit: int) -> str:
    """Return *text*, cut to its last *limit* characters with a note of how many are left out."""
    if len(text) <= limit:
        return text
    return f"[... {len(text) - limit} characters left out ...]\n{text[-limit:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a scenario failed, one reason.

    :param message: one line.
    :param where: ``file:line`` of what was expected, "" if there is no such place.
    :param step: name of the step, "" if it is not about one.
    :param details: more lines (what was seen, a difference, logs), "" if there are none.
    :param kind: "expectation" if the program did something else than expected, "error" if the scenario
        could not be run to that point.
    :param is_infrastructure: True if it is no fault of the scenario or of the program: the engine is gone, a
        pull is refused, a container was removed by somebody else, the disk is full.
    """

    message: str
    where: str = ""
    step: str = ""
    details: str = ""
    kind: Literal["expectation", "error"] = "expectation"
    is_infrastructure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step did, in its last attempt.

    :param exit_code: None if it did not end by itself, and of a request.
    :param stdout: of a request the answer's head and body; decoded with errors="replace", cut to a bounded
        tail that says so.
    :param started_s: seconds since the scenario's start.
    :param command: as it ran, with what earlier steps had captured; an argv as a shell would write it, of a
        request its method and URL. "" if it did not run.
    :param kind: the key of the step that says what it does.
    """

    name: str
    service: str
    outcome: StepOutcome
    phase: Literal["setup", "test", "cleanup"] = "test"
    command: str = ""
    kind: Literal["run", "http", "image"] = "run"
    started_s: float = 0.0
    duration_s: float = 0.0
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    attempts: int = 1
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """One container of a scenario, as the engine told at its end.

    :param memory_bytes: the limit it ran under.
    :param prepared: it was made of an image that holds its first start.
    :param peak_memory_bytes: None where the engine does not tell, and for a reused container.
    :param shared: it is one of all who use it.
    :param reuse: why it was not reused, or not kept; "" if there is nothing to say.
    :param timeline: when it was created, started and ready, in seconds since the scenario's start; "" for one
        that only waits for commands.
    :param spans: of one that is shared, what it sent while a scenario or test used it that failed, in words.
    """

    id: str
    name: str
    service: str
    image: str
    memory_bytes: int
    cpus: float
    reused: bool = False
    shared: bool = False
    prepared: bool = False
    oom_killed: bool = False
    exit_code: int | None = None
    peak_memory_bytes: int | None = None
    reuse: str = ""
    logs: str = ""
    spans: str = ""
    timeline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanCounts:
    """How many spans were recorded."""

    runner: int = 0
    workload: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one scenario gave.

    :param file: relative to rootdir where it lies below it.
    :param started: RFC 3339 UTC with microseconds: when its reservation was granted; duration_s counts
        from there.
    :param slot_wait_s: seconds waited for the reservation.
    :param attempts: how often the scenario ran.
    :param earlier: the attempts that failed and were tried again; all else here is of the last one.
    :param is_flaky: True if it failed, and then passed when it was tried again.
    """

    nodeid: str
    name: str
    file: str
    line: int
    tags: tuple[str, ...] = ()
    priority: str = "normal"
    outcome: Outcome = "passed"
    started: str = ""
    duration_s: float = 0.0
    slot_wait_s: float = 0.0
    worker: str = "master"
    attempts: int = 1
    containers: tuple[ContainerFacts, ...] = ()
    steps: tuple[StepResult, ...] = ()
    failures: tuple[Failure, ...] = ()
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    artifacts: tuple[KeptFile, ...] = ()
    spans: SpanCounts = field(default_factory=SpanCounts)
    earlier: tuple[Result, ...] = ()
    is_flaky: bool = False

    @property
    def is_infrastructure(self) -> bool:
        """Tell whether it failed for no fault of its own: the first failure decides."""
        return bool(self.failures) and self.failures[0].is_infrastructure

    @property
    def passed(self) -> bool:
        """Tell whether nothing of it has failed."""
        return self.outcome == "passed"

    def to_data(self) -> dict[str, Any]:
        """Return plain builtins, with the version of their form under ``"format"``."""
        return {"format": RESULT_FORMAT, **_plain(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Result:
        """Return the result that *data* describes.

        :raises ValueError: if *data* has another form than :data:`RESULT_FORMAT`.
        """
        fields = dict(data)
        if fields.pop("format", None) != RESULT_FORMAT:
            raise ValueError(f"a result of format {data.get('format')!r}; this version reads {RESULT_FORMAT}")
        fields["containers"] = tuple(ContainerFacts(**each) for each in fields["containers"])
        fields["steps"] = tuple(
            StepResult(**{**each, "failures": tuple(Failure(**why) for why in each["failures"])})
            for each in fields["steps"]
        )
        fields["failures"] = tuple(Failure(**each) for each in fields["failures"])
        fields["artifacts"] = tuple(KeptFile(**each) for each in fields["artifacts"])
        fields["spans"] = SpanCounts(**fields["spans"])
        fields["earlier"] = tuple(
            cls.from_data({"format": RESULT_FORMAT, **each}) for each in fields.get("earlier", ())
        )
        for name in ("tags", "unchecked", "notes"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def _plain(value: Any) -> Any:
    """Return *value* as exact builtins: dataclasses as dicts, tuples as lists."""
    if isinstance(value, str):
        return clean_text(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return float(value)
