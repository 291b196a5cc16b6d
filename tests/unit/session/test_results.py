"""The controller's summary."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from pytest_clnrm.model.result import Failure, Result
from pytest_clnrm.session.results import SessionResults, open_ports_lines


def results_of(**runtime: Any) -> SessionResults:
    """Return the results of a run in which nothing has happened."""
    made = Mock(**{"engine_warnings": (), "interrupted": [], "open_ports": set(), **runtime})
    made.settings.report_dir, made.settings.keep, made.settings.ledger_dir = None, "never", None
    return SessionResults(runtime=made, began_s=0.0, began_monotonic_s=0.0)


def test_engines_that_could_not_be_used() -> None:
    """However many reasons there are, each is told once, with what to do."""
    results = results_of()
    results.refused = {"it is gone": [], "no such socket": ["start one"]}
    told = [each.text for each in results.notes()]
    assert told[:3] == ["it is gone", "no such socket", "start one"]
    assert told[3].endswith(" -m pytest_clnrm doctor` tries what runs need")


def test_what_to_do_next() -> None:
    """It is told after failures, not after infrastructure errors, and names only what is not done yet."""
    results = results_of()
    failed = Result(nodeid="a::a", name="a", file="a", line=1, outcome="failed").to_data()
    gone = Failure(kind="error", message="the engine is gone", is_infrastructure=True)
    results.results = {
        "b::b": Result(nodeid="b::b", name="b", file="b", line=1, outcome="error", failures=(gone,)).to_data()
    }
    assert [each.text for each in results.notes()] == [
        "infrastructure error, no fault of b::b: the engine is gone"
    ]
    results.results = {"a::a": failed}
    (note,) = results.notes()
    assert note.text.startswith("next: `pytest --lf` runs what failed again; --clnrm-report DIR shows ")
    assert "--clnrm-keep failed" in note.text
    results.runtime.settings.report_dir = Path("out")
    results.runtime.settings.keep = "failed"
    (note,) = results.notes()
    assert note.text == "next: `pytest --lf` runs what failed again"


def test_many_kept_containers_take_three_lines() -> None:
    """Three are named, and how the first is entered; -v has each one's command."""
    results = results_of()
    results.engine = "docker 20.10 at unix:///docker.sock"
    results.kept = [f"box-{number}" for number in range(5)]
    names, enter, remove = results.notes()
    assert (
        names.text
        == "5 containers are kept, and count until they are removed: box-0, box-1, box-2 and 2 more"
    )
    assert names.details[4] == "box-4: enter it with: docker -H unix:///docker.sock exec -it box-4 sh"
    assert enter.text == "the first: enter it with: docker -H unix:///docker.sock exec -it box-0 sh"
    assert remove.text.endswith(" -m pytest_clnrm sweep --kept --engine unix:///docker.sock")


def test_others_that_were_interrupted_take_a_line() -> None:
    """The first one is shown as failures are, and with -v all."""
    interrupted = [({"nodeid": f"{name}::it"}, f"{name} was at it") for name in "abc"]
    results = results_of(interrupted=interrupted)
    (note,) = results.notes()
    assert note.text == "interrupted too: b::it, c::it (-v shows what they were at)"
    for verbose, shown in ((0, ["a was at it"]), (1, ["a was at it", "b was at it", "c was at it"])):
        reporter = Mock()
        reporter.config.option = Namespace(no_summary=False, verbose=verbose)
        results.pytest_terminal_summary(reporter)
        assert [call.args[0] for call in reporter.line.call_args_list] == shown


def test_many_open_ports_are_counted() -> None:
    """Ten are named, and how many more there are; a single one, and none, in words of their own."""
    (line,) = open_ports_lines({("there", "web", port) for port in range(80, 92)})
    assert line.startswith("ports 80 of service 'web', 81 of ")
    assert ", 89 of service 'web' and 2 more were published on all addresses of " in line
    (line,) = open_ports_lines({("there", "db", 5432)})
    assert line.startswith("port 5432 of service 'db' was published on ")
    assert "whoever reaches there reaches" in line
    assert open_ports_lines(set()) == []
