"""The names that users import from ``pytest_clnrm``, and that docs and examples use no others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.config import parse_warning_filter

import pytest_clnrm
from pytest_clnrm import (
    AsyncContainer,
    BytesResult,
    ClnrmError,
    CommandResult,
    Container,
    Containers,
    Engine,
    Result,
    Span,
    SpanCollector,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import assert_type

ROOT = Path(__file__).parents[2]
NAMES = {
    "AsyncContainer",
    "ReservationError",
    "BuildSpec",
    "BytesResult",
    "ClnrmError",
    "CollectedSpan",
    "CommandResult",
    "Container",
    "ContainerError",
    "ContainerNetwork",
    "ContainerSpec",
    "ContainerState",
    "Containers",
    "DemandTooLargeError",
    "Engine",
    "EngineError",
    "EngineFacts",
    "EngineUnavailableError",
    "ExecOutcome",
    "ExecSpec",
    "ImageError",
    "ImageFacts",
    "LedgerError",
    "ForwardedPort",
    "SnapshotSpec",
    "LogStream",
    "PathFacts",
    "ChangeStream",
    "Relay",
    "Result",
    "ScenarioFailedError",
    "Mount",
    "NoShellError",
    "NotReadyError",
    "OwnedObject",
    "ScenarioWarning",
    "ServiceEndedError",
    "ServiceError",
    "SlotTimeoutError",
    "Span",
    "SpanCollector",
    "UnobservableError",
    "UnsharedError",
}
"""A name may be added. One that is taken away breaks projects that import it."""

TOOLS = {
    # It ends the embedded engine that it starts, and makes an image with the engine's own client: neither is
    # for users. The scripts of examples/, tests/ and benchmarks/ run it.
    ROOT / "examples/with_engine.py",
}
SHOWN = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.py")]


def test_the_list_is_whole() -> None:
    """``__all__`` has these names, and the version."""
    assert set(pytest_clnrm.__all__) == {*NAMES, "__version__"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_can_be_imported_and_is_documented(name: str) -> None:
    """A name leads to the thing of that name, and docs/api.md says what it is for."""
    assert getattr(pytest_clnrm, name).__name__ == name
    assert f"`{name}`" in (ROOT / "docs/api.md").read_text(encoding="utf-8")


def test_type_checkers_know_them() -> None:
    """mypy, which checks this file, knows what was imported above; a run has the same."""

    def greet(clnrm: Containers) -> tuple[Span, ...]:
        box: Container
        with clnrm.container("alpine") as box:
            assert box.run("true").exit_code == 0
        return clnrm.spans(count=1)

    def gather(collector: SpanCollector, engine: Engine) -> str:
        return f"{engine.facts.url}: {len(collector.get_scenario_spans('orders'))}"

    async def greet_async(clnrm: Containers) -> None:
        async with clnrm.container(build="./app", files=[{"content": "x", "target": "/x"}]) as box:
            assert_type(box, AsyncContainer)
            assert_type(await box.run("true"), CommandResult)
            assert_type(await box.run(["cat"], text=False), BytesResult)
            assert_type([line async for line in box.logs(follow=True)], list[str])
            assert_type(await box.logs(), str)
            assert_type(box.container.run("true", text=False), BytesResult)
            assert_type(box.container.logs(follow=True, timeout="5s"), Iterator[str])
            assert_type(box.container.port("53/udp"), int)
            box.container.wait_for(log="up", times=2, timeout=5)
            await box.wait_for(prot=80)  # type: ignore[call-arg]
        clnrm.container("alpine", volume=[])  # type: ignore[call-arg]
        assert_type(clnrm.scenario("x.clnrm.toml", vars={"a": 1}), Result)

    assert callable(greet_async)
    assert callable(greet)
    assert callable(gather)
    assert issubclass(pytest_clnrm.ServiceEndedError, ClnrmError)


def test_a_name_that_is_not_there() -> None:
    """It is Python's usual error; what merely lies in a room is not handed on."""
    for name in ("Nothing", "Mistake", "python_tests_key"):
        with pytest.raises(AttributeError, match=f"module 'pytest_clnrm' has no attribute '{name}'"):
            getattr(pytest_clnrm, name)


def test_importing_the_package_imports_no_room() -> None:
    """Every pytest run imports it; a name costs what it needs when it is asked for."""
    tells = (
        "import sys, pytest_clnrm; rooms = lambda: sum('pytest_clnrm.' in each for each in sys.modules); "
        "before = rooms(); pytest_clnrm.Container; print(before, rooms() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", tells], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]


@pytest.mark.parametrize("path", sorted(set(SHOWN) - TOOLS), ids=lambda path: path.name)
def test_docs_and_examples_name_no_room(path: Path) -> None:
    """What users copy imports from ``pytest_clnrm`` itself, so that nothing breaks when a module moves."""
    text = path.read_text(encoding="utf-8")
    imports = re.findall(r"from pytest_clnrm import \(?([\w, ]+)", text)
    named = {name.strip() for names in imports for name in names.split(",")}
    assert named | set(re.findall(r"pytest_clnrm\.(\w+)", text)) <= NAMES


def test_a_filter_of_warnings_finds_ours() -> None:
    """As docs/api.md names it."""
    category = parse_warning_filter("error::pytest_clnrm.ScenarioWarning", escape=False)[2]
    assert category is pytest_clnrm.ScenarioWarning
