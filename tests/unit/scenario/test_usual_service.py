"""The service of steps and checks that name none."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.scenario.format.build import Builder
from pytest_clnrm.scenario.format.document import ScenarioDoc

SERVICES = '[service.web]\nimage = "x"\n[service.db]\nimage = "x"\n'
JOB = '[meta]\nservice = "job"\n[service.job]\nimage = "x"\nready = { exit = 0 }\n'


def test_of_a_file(project: Any) -> None:
    """``[meta]`` says it for steps, what is before and after them, and checks; each may name its own."""
    scenario = project.one(f"""
        [meta]
        service = "db"
        {SERVICES}
        [[setup]]
        run = "a"
        [[step]]
        run = "b"
        check = [{{ file = "/b" }}]
        [[step]]
        run = "c"
        service = "web"
        check = [{{ file = "/c" }}, {{ file = "/d", service = "db" }}]
        [[step]]
        wait = "exit"
        [[cleanup]]
        run = "d"
        [[check]]
        file = "/e"
    """)
    assert [each.service for each in scenario.steps] == ["db", "db", "web", "db", "db", "db"]
    checked = [check.service for step in scenario.steps for check in step.checks]
    assert checked == ["db", "web", "db", "db"]


def test_of_a_scenario(project: Any) -> None:
    """Its own is that of what stands in it; the file's is that of what stands in the file."""
    steps = '[[scenario.step]]\nrun = "x"\n[[scenario.check]]\nfile = "/own"\n'
    own, other = project.load(f"""
        [meta]
        service = "db"
        {SERVICES}
        [[setup]]
        run = "a"
        [[check]]
        file = "/shared"
        [[scenario]]
        name = "own"
        service = "web"
        {steps}
        [[scenario]]
        name = "other"
        {steps}
    """)
    assert [each.service for each in own.steps] == ["db", "web", "web", "db"]
    assert [each.service for each in other.steps] == ["db", "db", "db", "db"]


def test_only_what_is_reached_is_started(project: Any) -> None:
    """A scenario whose steps all run in its usual service has no container of another one's."""
    web, db = project.load(f"""
        {SERVICES}
        [[scenario]]
        name = "web"
        service = "web"
        [[scenario.step]]
        run = "x"
        [[scenario]]
        name = "db"
        service = "{{{{ vars.where }}}}"
        [[scenario.step]]
        run = "x"
        [vars]
        where = "db"
    """)
    assert [[each.name for each in scenario.services] for scenario in (web, db)] == [["web"], ["db"]]


CASES = {
    "unknown, of a file": (
        f'[meta]\nservice = "bd"\n{SERVICES}[[step]]\nrun = "x"\n',
        'FILE:2:1: meta.service: there is no service "bd"; known: web, db',
    ),
    "unknown, of a scenario": (
        f'{SERVICES}[[scenario]]\nname = "a"\nservice = "bd"\n[[scenario.step]]\nrun = "x"\n',
        'FILE:7:1: scenario[0].service: there is no service "bd"; known: web, db',
    ),
    "a job": (
        f'{JOB}[service.db]\nimage = "x"\n[[step]]\nrun = "x"\n',
        (
            'FILE:8:1: step[0]: "job" is a job (ready = { exit = ... }), which has ended by then: '
            "name another one"
        ),
    ),
    "at the top": (
        'service = "db"\n[[step]]\nrun = "x"\n',
        (
            'FILE:1:1: service: expected a table, found "db" '
            '(write [service.NAME], or what names none uses it: [meta] with service = "db")'
        ),
    ),
    "a number": (
        '[meta]\nservice = 5\n[[step]]\nrun = "x"\n',
        (
            "FILE:2:1: meta.service: expected up to 63 letters, digits, '_', '.' and '-', a letter or digit "
            "first, found 5"
        ),
    ),
    "none for a check of a scenario": (
        f'{SERVICES}[[scenario]]\nname = "a"\n[[scenario.check]]\nfile = "/a"\n',
        'FILE:7:1: scenario[0].check[0]: the key "service" is missing: there are several, web, db',
    ),
    "a key that no scenario has": (
        f'{SERVICES}[[scenario]]\nname = "a"\nservice = "db"\nstp = 1\n[[scenario.step]]\nrun = "x"\n',
        'FILE:8:1: scenario[0].stp: unknown key "stp"',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(project: Any, head: Any, case: str) -> None:
    """Each is told with its place."""
    text, told = CASES[case]
    (found,) = head(project.refuse(text))
    assert found.startswith(told)


def test_services_of_many_scenarios_are_looked_for_once_each(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which services nobody names is found once in a file, not for each of its scenarios again."""
    text = '[service.used]\nimage = "one:1"\n[service.unused]\nimage = "two:1"\n'
    text += "".join(
        f'[[scenario]]\nname = "s{at}"\n[[scenario.step]]\nrun = "true"\nservice = "used"\n'
        for at in range(20)
    )
    asked: list[str] = []
    reached = Builder._reached

    def counted(builder: Builder, doc: ScenarioDoc) -> set[str]:
        asked.append(doc.name)
        return reached(builder, doc)

    monkeypatch.setattr(Builder, "_reached", counted)
    scenarios = project.load(text)
    assert len(asked) == 2 * len(scenarios)
    assert {tuple(sorted(each.name for each in one.services)) for one in scenarios} == {("unused", "used")}
