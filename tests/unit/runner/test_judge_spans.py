"""When spans are judged: lower bounds early, all else once nobody can send any more; services end last."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from clnrm_testing.spans import to_request

from pytest_clnrm.errors import ContainerError, ScenarioTimeoutError
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.span import Loss, Span
from pytest_clnrm.runner import judge_spans
from pytest_clnrm.runner.judge_spans import STOP_GRACE_S, SpanJudge
from pytest_clnrm.runner.sharing.spans import SharedSpans
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.telemetry.tracing import Tracing

GATEWAY = "172.18.0.1"
WAITS = {"process init, pid 1": "S", "process sleep, pid 7": "S", "shell of ours": ""}


class Engine:
    """An engine whose containers run until they are told to end, and that notes what it was told."""

    def __init__(self) -> None:
        self.facts = SimpleNamespace(url="unix://x")
        self.seen: dict[str, str] | None = dict(WAITS)
        self.running = True
        self.stopped: list[str] = []
        self.grace_s = 0.0
        self.on_stop: Callable[[], None] = lambda: None

    def state(self, container: str) -> Any:
        return SimpleNamespace(running=self.running, addresses={"n": "172.18.0.2"})

    def observe(self, container: str) -> dict[str, str]:
        if self.seen is None:
            raise ContainerError("no shell")
        return self.seen

    def stop(self, container: str, *, grace_s: float) -> None:
        self.stopped.append(container)
        self.grace_s = grace_s
        self.on_stop()


@pytest.fixture
def tracing(tmp_path: Path) -> Iterator[Tracing]:
    """Return a process's spans."""
    tracing = Tracing(tmp_path / "spans", "gw0", "")
    yield tracing
    tracing.close()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine; what is waited for is short."""
    monkeypatch.setattr(judge_spans, "DRAIN_S", 0.02)
    monkeypatch.setattr(judge_spans, "LOOK_S", 0.05)
    return Engine()


def judge_of(
    tracing: Tracing,
    engine: Engine,
    expect: dict[str, Any],
    *,
    keeps_alive: bool = False,
    stop_grace_s: float | None = None,
    unseen: Sequence[Loss] = (),
    **env: str,
) -> SpanJudge:
    """Return what judges a scenario with one service, ``api``, and one that is shared, ``db``."""
    doc = msgspec.convert({"wait": 60, "settle": 0.05, **expect}, ExpectDoc)
    service = Service(name="api", image="i", env=env, stop_grace_s=stop_grace_s)
    running = SimpleNamespace(id="c1", name="x-api", keeps_alive=keeps_alive, service=service)
    networks = SimpleNamespace(reach_us=True, gateway=GATEWAY)
    runtime = SimpleNamespace(
        engine=lambda: engine, networks=lambda: networks, board=SimpleNamespace(at=print)
    )
    trace = tracing.scenario("a.toml::a", {})
    return SpanJudge(
        runtime=cast("Any", runtime),
        scenario=Scenario(
            name="s",
            file="/f",
            services=(service, Service(name="db", scope="run")),
            expect=doc.built(lambda *keys: ("expect", *keys)),
        ),
        trace=trace,
        captured={},
        containers=cast("Any", {"api": running}),
        shared={},
        shared_spans=SharedSpans(trace, None),
        unseen=lambda: unseen,
        where=lambda at: "f:1",
        began_s=time.monotonic(),
    )


def arrive(judge: SpanJudge, *names: str, status: Any = "unset") -> None:
    """Let spans of the workload arrive."""
    assert judge.trace.inbox is not None
    judge.trace.inbox.add(
        to_request(
            Span(
                trace_id="1" * 32,
                span_id=f"{int.from_bytes(name.encode(), 'big'):016x}"[-16:],
                name=name,
                start_ns=1,
                end_ns=2,
                status=status,
            )
            for name in names
        )
    )


NO_ERROR = {"counts": {"errors_total": 0, "spans_total": {"gte": 1}}}
SOME = {"span": [{"select": "a"}]}


def test_what_further_spans_cannot_undo_is_not_waited_for(tracing: Tracing, engine: Engine) -> None:
    """A lower bound that holds ends the wait, and nothing is stopped."""
    judge = judge_of(tracing, engine, SOME)
    arrive(judge, "a")
    judge.wait(time.monotonic() + 60)
    assert (judge.judge(), engine.stopped) == ((), [])


def test_a_service_that_nobody_knows(tracing: Tracing, engine: Engine) -> None:
    """Names of the file's services, those that it sets for their spans, and those of steps are known."""
    known = {"api": 0, "api (step)": 0, "shop": 0, "shop (s*": 0}
    judge = judge_of(tracing, engine, {"counts": {"by_service": known}, "wait": 0}, OTEL_SERVICE_NAME="shop")
    arrive(judge, "a")
    judge.wait(time.monotonic() + 60)
    assert judge.judge() == ()
    other = judge_of(tracing, engine, {"counts": {"by_service": {"ap": 0}}, "wait": 0})
    arrive(other, "a")
    other.wait(time.monotonic() + 60)
    (failure,) = other.judge()
    assert failure.message.startswith("expect.counts.by_service[ap]: no span has this service.name")


def test_a_lower_bound_is_waited_for(tracing: Tracing, engine: Engine) -> None:
    """It ends the wait as soon as it holds, long before ``wait`` is over."""
    judge = judge_of(tracing, engine, SOME)
    late = threading.Timer(0.2, arrive, (judge, "a"))
    late.start()
    judge.wait(time.monotonic() + 60)
    late.join()
    assert (judge.judge(), engine.stopped) == ((), [])


def test_a_number_that_holds_now_is_not_enough(tracing: Tracing, engine: Engine) -> None:
    """That there is no error needs the whole of ``wait`` while a service runs, which ends only then."""
    judge = judge_of(tracing, engine, {**NO_ERROR, "wait": 2})
    arrive(judge, "a")
    late = threading.Timer(0.2, partial(arrive, judge, "b", status="error"))
    late.start()
    judge.wait(time.monotonic() + 60)
    late.join()
    assert engine.stopped == []
    (failure,) = judge.judge()
    assert engine.stopped == ["c1"]
    assert failure.message == "expect.counts.errors_total: got 1, expected exactly 0"
    first, second, *_ = failure.details.splitlines()
    assert re.fullmatch(r"spans were waited for, [2-9]\.\d s long \(wait = 2 s\)", first), first
    told = r"then api had to end \(SIGTERM\), [2-9]\.\d s after the scenario's start, which took \d\.\d s"
    assert re.match(told, second), second


def test_spans_of_a_shared_service_that_are_not_seen(tracing: Tracing, engine: Engine) -> None:
    """What is only shown by their absence is not shown then; what is there counts. It goes on for others."""
    unseen = [Loss(what="shared service", why="the shared service 'db' sends spans")]
    judge = judge_of(tracing, engine, {**NO_ERROR, **SOME, "wait": 0}, unseen=unseen)
    arrive(judge, "a")
    judge.wait(time.monotonic() + 60)
    (failure,) = judge.judge()
    assert failure.message == (
        "expect.counts.errors_total: cannot be judged, as not all spans arrived: "
        "the shared service 'db' sends spans"
    )
    assert engine.stopped == ["c1"]


def test_the_last_batch_is_read(tracing: Tracing, engine: Engine) -> None:
    """What a service sends when it is told to end counts."""
    judge = judge_of(tracing, engine, {**NO_ERROR, "wait": 0.0})
    arrive(judge, "a")
    engine.on_stop = lambda: arrive(judge, "b", status="error")
    judge.wait(time.monotonic() + 60)
    (failure,) = judge.judge()
    assert failure.message == "expect.counts.errors_total: got 1, expected exactly 0"


@pytest.mark.parametrize("keeps_alive", [True, False])
def test_where_nothing_runs_nothing_is_waited_for(
    tracing: Tracing,
    engine: Engine,
    keeps_alive: bool,  # noqa: FBT001
) -> None:
    """Services that ended, and containers in which only our shell waits, send nothing any more."""
    engine.running = False
    judge = judge_of(tracing, engine, NO_ERROR, keeps_alive=keeps_alive)
    arrive(judge, "a")
    judge.wait(time.monotonic() + 60)
    assert (judge.judge(), engine.stopped) == ((), [])
    judge = judge_of(tracing, engine, NO_ERROR, keeps_alive=keeps_alive)
    judge.wait(time.monotonic() + 60)
    (failure, *_) = judge.judge()
    assert "(nothing that could send more was running any longer)" in failure.details


@pytest.mark.parametrize("seen", [None, {**WAITS, "process worker, pid 9": "S"}])
def test_a_process_in_the_background_is_waited_for(
    tracing: Tracing, engine: Engine, seen: dict[str, str] | None
) -> None:
    """A container with another process, or into which nobody can look, may still send; until that ends."""
    engine.seen = seen
    judge = judge_of(tracing, engine, {**NO_ERROR, "wait": 0.3}, keeps_alive=True)
    arrive(judge, "a")
    judge.wait(time.monotonic() + 60)
    assert judge._told == ["spans were waited for, 0.3 s long (wait = 0.3 s)"]
    assert (judge.judge(), engine.stopped) == ((), [])
    judge = judge_of(tracing, engine, NO_ERROR, keeps_alive=True)
    ends = threading.Timer(0.1, lambda: setattr(engine, "seen", WAITS))
    ends.start()
    judge.wait(time.monotonic() + 60)
    ends.join()


def test_a_scenario_without_time_to_wait(tracing: Tracing, engine: Engine) -> None:
    """That there is no error is not shown by a wait that was cut short; that there is one is."""
    judge = judge_of(tracing, engine, NO_ERROR)
    arrive(judge, "a")
    judge.wait(time.monotonic())
    with pytest.raises(ScenarioTimeoutError, match=r"waiting for spans \(wait = 60 s\)"):
        judge.judge()
    arrive(judge, "b", status="error")
    (failure,) = judge.judge()
    assert "errors_total: got 1" in failure.message


def test_how_long_it_must_be_quiet(tracing: Tracing, engine: Engine) -> None:
    """Twice the time that exporters hold spans back, which the file may set."""
    assert judge_of(tracing, engine, SOME)._quiet_s() == 0.05
    assert judge_of(tracing, engine, SOME, OTEL_BSP_SCHEDULE_DELAY="700")._quiet_s() == 1.4
    assert judge_of(tracing, engine, SOME, OTEL_BSP_SCHEDULE_DELAY="x")._quiet_s() == 0.05


@pytest.mark.parametrize(("own_s", "grace_s"), [(None, STOP_GRACE_S), (1.5, 1.5), (0.0, 0.0)])
def test_how_long_a_service_may_take_to_end(
    tracing: Tracing, engine: Engine, own_s: float | None, grace_s: float
) -> None:
    """What it says itself holds where it is stopped for its spans, else the usual time."""
    engine.grace_s = -1.0
    judge = judge_of(tracing, engine, {**NO_ERROR, "wait": 0.1}, stop_grace_s=own_s)
    arrive(judge, "a")
    judge.wait(time.monotonic() + 60)
    judge.judge()
    assert (engine.stopped, engine.grace_s) == (["c1"], grace_s)
