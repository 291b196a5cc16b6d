"""A failed scenario in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_clnrm.model.result import ContainerFacts, Failure, Result, StepResult
from pytest_clnrm.report.failure_text import (
    MAX_COMMAND_CHARS,
    MAX_SOURCE_LINES,
    Explained,
    explain,
    explain_failure,
    explain_rest,
    title,
)

WHY = Failure(message="exit code 3, expected 0", where="a.toml:9", step="ask", details="stdout:\n\n    no\n")
STEP = StepResult(name="ask", service="db", outcome="failed", command="psql; exit 3", failures=(WHY,))
RESULT = Result(nodeid="a.toml::a", name="a", file="a.toml", line=1, steps=(STEP,), failures=(WHY,))
DB = ContainerFacts(id="1", name="n", service="db", image="i", memory_bytes=32 << 20, cpus=1.0, timeline="t")


def explained(result: Result, first: int = 0, *lines: str) -> list[Explained]:
    """Return what is shown of *result*, whose steps have these lines."""
    return list(explain(result, source_of=lambda _: (first, lines)))


def test_a_step_with_source_command_and_details() -> None:
    """The failing line is marked; the place and the message stand apart from what was seen."""
    (failure,) = explained(RESULT, 8, "[[step]]", "run = 1", "")
    assert failure == Explained(
        where="a.toml:9",
        message="step 'ask': exit code 3, expected 0",
        about=("   8 | [[step]]", ">  9 | run = 1", "  10 |", "ran in service 'db': psql; exit 3"),
        details=("stdout:", "", "    no"),
    )
    assert list(explain_rest(RESULT, "pytest a")) == ["reproduce with: pytest a"]


def test_the_source_is_shown_with_the_first_failure_of_a_step() -> None:
    """All lines that its failures name are marked there, and it is not repeated."""
    more = replace(WHY, message="stdout is empty", where="a.toml:8", details="")
    first, second = explained(replace(RESULT, failures=(WHY, more)), 8, "one", "two")
    assert first.about[:2] == (">  8 | one", ">  9 | two")
    assert second == Explained(where="a.toml:8", message="step 'ask': stdout is empty")


@pytest.mark.parametrize("failing", [8, 8 + MAX_SOURCE_LINES + 3])
def test_a_long_source_is_cut(failing: int) -> None:
    """Lines beyond the first few are left out, and those that failures name are not."""
    why = replace(WHY, where=f"a.toml:{failing}")
    about = explained(replace(RESULT, failures=(why,)), 8, *(f"line {n}" for n in range(30)))[0].about
    assert f"> {failing:>2} | line {failing - 8}" in about
    assert any(each.endswith(f"| line {MAX_SOURCE_LINES - 1}") for each in about)
    assert not any(each.endswith(f"| line {MAX_SOURCE_LINES}") for each in about)
    assert sum(each.endswith("...") for each in about) == (1 if failing == 8 else 2)


def test_a_long_command_is_cut_and_its_lines_stay() -> None:
    """The command may have lines of its own; of a very long one the beginning is shown."""
    long = replace(STEP, command="one\ntwo\n" + "x" * MAX_COMMAND_CHARS)
    first, second, third = explained(replace(RESULT, steps=(long,)))[0].about
    assert (first, second) == ("ran in service 'db': one", "    two")
    assert third.endswith("x [... 8 characters left out]")


def test_a_failure_that_is_about_no_step() -> None:
    """It has neither source nor command; so has a step that could not be run."""
    alone = Failure(message="service 'db' was not ready")
    assert explained(replace(RESULT, failures=(alone,))) == [
        Explained(where="", message="service 'db' was not ready")
    ]
    not_run = replace(RESULT, steps=(replace(STEP, command=""),))
    assert explained(not_run) == [explain_failure(WHY)]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (DB, "service 'db': running (t)"),
        (replace(DB, exit_code=3), "service 'db': ended with exit code 3 (t)"),
        (
            replace(DB, exit_code=137, oom_killed=True),
            (
                "service 'db': ended with exit code 137 (killed by SIGKILL), out of memory: "
                "its limit is 32 MB (t)"
            ),
        ),
    ],
)
def test_services_with_state_and_time_line(facts: ContainerFacts, line: str) -> None:
    """Each service has a line; a container that only waits for commands has none."""
    shell = replace(DB, service="shell", timeline="")
    result = replace(RESULT, containers=(facts, shell), notes=("spans were lost",))
    rest = list(explain_rest(result, "pytest a"))
    assert rest == [line, "note: spans were lost", "reproduce with: pytest a"]


@pytest.mark.parametrize("name", ["bob", "says 'alice'", 'a "b"', "it's"])
def test_the_step_is_named_whatever_the_message_says(name: str) -> None:
    """Also where what is expected or seen reads like its name."""
    for message in (f"expected {name!r}, got 1", f'stdout does not contain "step {name!r}"'):
        assert title(replace(WHY, step=name, message=message)) == f"step {name!r}: {message}"
    timeout = Failure(kind="error", step=name, message=f"too late while step {name!r} was running")
    assert title(timeout) == timeout.message
