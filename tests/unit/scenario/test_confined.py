"""Files whose templates do more than name things are read in a process with limits."""

from __future__ import annotations

import collections
import io
import os
import pickle
import subprocess
from typing import Any

import pytest

from pytest_clnrm.errors import Mistake, ScenarioFileError
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.step import Command, Step
from pytest_clnrm.scenario.modest import MODEST_CHARS, is_modest
from pytest_clnrm.scenario.templates import confined
from pytest_clnrm.scenario.templates.binding import bind_step
from pytest_clnrm.scenario.templates.confined import LimitError, answer, bind, run_confined
from pytest_clnrm.scenario.templates.render import TemplateError, is_plain

STEP = '[[step]]\nrun = "true"\n'


@pytest.mark.parametrize(
    ("text", "modest"),
    [
        (STEP, True),
        ("[[step]]\nrun = 'echo {{ a }} {{a.b}} {{  vars.x  }}'\n", True),
        ("[[step]]\nrun = 'echo {{ a|upper }}'\n", False),
        ("[[step]]\nrun = 'echo {{ a() }}'\n", False),
        ("[[step]]\nrun = 'echo {{{ a }}}'\n", False),
        ("[[step]]\nrun = 'echo {{ a{{ b }} }}'\n", False),
        ("{% if 1 %}\n{% endif %}" + STEP, False),
        ("[matrix]\na = [1]\n" + STEP, False),
        ("a" + ".a" * 50 + " = 1\n" + STEP, False),
        ("a = " + "[" * 50 + "]" * 50 + STEP, False),
        ("#" * MODEST_CHARS + "\n" + STEP, False),
    ],
    ids=range(11),
)
def test_small_files_are_read_here(text: str, *, modest: bool) -> None:
    """If their templates only name things."""
    assert is_modest(text) == modest


@pytest.mark.parametrize("text", ["{{ a }}", "x{{ a }}{{b}}y", "{{ a.b.c }}", "{ {{ a }} }", "{", "${x}"])
def test_a_plain_template_only_names_things(text: str) -> None:
    """At any depth of a value."""
    assert is_plain(text)
    assert is_plain({"a": [text, 1, (text,)]})
    assert not is_plain({"a": [text + "{{ 1 }}"]})


def test_a_scenario_is_the_same_wherever_it_is_read(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it: variables, expectations, limits, dates, and where it stands."""
    text = (
        '[vars]\na = "x"\nd = 2020-01-01T00:00:00Z\nt = 10:00:00\nl = [1, { b = 2.5 }]\n'
        '[service.s]\nimage = "b"\nready = { log = "a" }\n'
        '[[step]]\nrun = "echo {{ a }}"\nservice = "s"\ncapture = { c = { regex = "x" } }\n'
        'expect = { exit = 0, stdout = { json = { a = [1] }, regex = ["{{ a }}"] } }\n'
        '[[expect.span]]\nname = "s*"\nattrs = { k = { gte = 1 } }\ncount = 1\n'
    )
    here = project.load(text)
    monkeypatch.setattr("pytest_clnrm.scenario.loading.is_modest", lambda _: False)
    assert project.load(text) == here
    assert isinstance(here[0], Scenario)


def test_mistakes_are_the_same_wherever_a_file_is_read(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their places, and what must not be shown in them."""
    text = '[vars]\np = { value = "hunter2", secret = true }\n[[step]]\nrun = "{{ b }}"\nrunn = 1\n'

    def mistakes() -> tuple[tuple[Mistake, ...], frozenset[str]]:
        with pytest.raises(ScenarioFileError) as raised:
            project.load(text)
        return raised.value.mistakes, raised.value.secrets

    here = mistakes()
    monkeypatch.setattr("pytest_clnrm.scenario.loading.is_modest", lambda _: False)
    assert mistakes() == here
    assert here[1] == {"hunter2"}


X = frozenset({"x"})


def templated(run: str, at: KeyPath = ()) -> Step:
    """Return a step whose command has templates."""
    return Step(name="s", service="b", action=Command(run=run, at=at), at=at, templated=True)


def test_a_step_is_bound_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its templates may do what they like; that they take too long is a mistake of theirs."""
    monkeypatch.setattr(confined, "CPU_S", 0.3)
    step = templated("echo {{ x|upper }} {{ x }}", ("step", 0))
    bound = bind(bind_step, step, {"x": "{{ y }}"}, X, wall_s=60)
    assert bound.action == Command(run="echo {{ Y }} {{ y }}", at=("step", 0))
    endless = templated("{{ ([[1]] * x|int)|sum(start=[]) }}")
    with pytest.raises(TemplateError, match=r"takes more than 0\.3 s"):
        bind(bind_step, endless, {"x": "90000"}, X, wall_s=60)
    with pytest.raises(TemplateError, match=r"takes more than 0\.3 s"):
        bind(bind_step, endless, {"x": "90000"}, X, wall_s=0.01)


def test_a_fault_of_ours_is_shown() -> None:
    """With its traceback, and the process goes on."""
    with pytest.raises(RuntimeError, match=r"Traceback(.|\n)*TypeError: .*missing"):
        run_confined(bind_step)


def test_no_memory_is_no_fault() -> None:
    """The process ends itself, and who asks is told."""
    with pytest.raises(MemoryError):
        answer(pickle.dumps((bytes, (1 << 62,))))


@pytest.mark.parametrize("function", [subprocess.Popen, collections.deque, print, bind_step], ids=range(4))
def test_a_reply_does_nothing(function: Any) -> None:
    """It holds values of scenarios alone."""

    class Evil:
        def __reduce__(self) -> Any:
            return function, ()

    with pytest.raises(pickle.UnpicklingError, match="a reply cannot hold"):
        confined._Reply(io.BytesIO(pickle.dumps(("result", Evil())))).load()


def test_what_ended_by_itself_is_told() -> None:
    """As Python may do where memory is short."""
    with pytest.raises(LimitError, match="reading the file takes more memory than there is"):
        run_confined(os._exit, 3)
