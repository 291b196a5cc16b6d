"""What a shared service cannot be, and what a scenario cannot do to it; and which of them are the same."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.http import HttpRequest
from pytest_clnrm.model.step import Command
from pytest_clnrm.runner.running_services import Running
from pytest_clnrm.runner.sharing.share import share_of
from pytest_clnrm.runner.sharing.upkeep import users_of, with_values
from pytest_clnrm.settings.settings import Settings

DB = '[service.db]\nimage = "x:1"\nscope = "run"\n'
STEP = '[[step]]\nrun = "true"\nservice = "db"\n'
OWN = "(leave `scope` out: each scenario has a container of its own then)"
WHEN = "where services do not run yet: steps, checks, and env of services that depend on them may"
CASES = {
    "a reset of its own": (
        f'[service.db]\nimage = "x:1"\nreset = {{ command = "true" }}\n{STEP}',
        (
            "FILE:3:1: service.db.reset: its container serves one scenario: only a shared service has "
            '`reset` (write [[setup]] steps, or scope = "run")'
        ),
    ),
    "two ways to reset": (
        f'{DB}reset = {{ command = "true", steps = [{{ run = "true" }}] }}\n{STEP}',
        "FILE:4:1: service.db.reset: has both: write `command`, or `steps` (steps = [{ run = ... }])",
    ),
    "no way to reset": (
        f"{DB}reset = {{ steps = [] }}\n{STEP}",
        "FILE:4:1: service.db.reset: has neither: write `command`, or `steps` (steps = [{ run = ... }])",
    ),
    "a user in what all share": (
        f'{DB}env = {{ DB = "{{{{ worker }}}}" }}\n{STEP}',
        f'FILE:4:9: service.db.env.DB: names "worker" {WHEN}',
    ),
    "a user elsewhere": (
        f'[service.db]\nimage = "x:1"\nworkdir = "/{{{{ scenario_id }}}}"\n{STEP}',
        f'FILE:3:1: service.db.workdir: names "scenario_id" {WHEN}',
    ),
    "fresh": (
        f"{DB}fresh = true\n{STEP}",
        f'FILE:4:1: service.db.fresh: means a container that serves one scenario, not scope = "run" {OWN}',
    ),
    "a job": (
        f'{DB}ready = {{ exit = 0 }}\n[service.other]\nimage = "x:1"\n{STEP.replace("db", "other")}',
        (
            "FILE:4:1: service.db.ready: a job has ended when it is ready: there is nothing to share "
            f'(scope = "run") {OWN}'
        ),
    ),
    "an end": (
        f"{DB}may_end = 0\n{STEP}",
        (
            'FILE:4:1: service.db.may_end: a service with scope = "run" must not end while others use it '
            f"{OWN}"
        ),
    ),
    "others first": (
        f'{DB}depends_on = ["app"]\n[service.app]\nimage = "x:1"\n{STEP}',
        (
            "FILE:4:1: service.db.depends_on: it outlives 'app', of which each scenario has one of its own "
            "(give 'app' scope = \"run\" too, or name it in the `depends_on` of others)"
        ),
    ),
    "one of its file first": (
        f'{DB}depends_on = ["app"]\n[service.app]\nimage = "x:1"\nscope = "file"\n{STEP}',
        (
            "FILE:4:1: service.db.depends_on: it outlives 'app', of which each file has one of its own "
            "(give 'app' scope = \"run\" too, or name it in the `depends_on` of others)"
        ),
    ),
    "a volume of the scenario": (
        f'{DB}volumes = [{{ name = "data", target = "/data" }}]\n{STEP}',
        (
            "FILE:4:12: service.db.volumes[0]: the volume 'data' goes with its scenario, and the service "
            'with scope = "run" stays (use `scratch`, or the image\'s own folders)'
        ),
    ),
    "a fault": (
        f'{DB}command = ["serve"]\n{STEP}[[step]]\npause = "db"\n',
        (f"FILE:8:1: step[1]: cannot pause the service 'db': its scope is shared with other scenarios {OWN}"),
    ),
    "a wait": (
        f'{DB}command = ["serve"]\n{STEP}[[step]]\nservice = "db"\nwait = "exit"\n',
        (
            "FILE:8:1: step[1]: cannot wait for the end of the service 'db': its scope is shared with other "
            f"scenarios {OWN}"
        ),
    ),
    "its log": (
        f'{DB}{STEP}check = [{{ log = "db", content = {{ contains = "x" }} }}]\n',
        (
            "FILE:7:10: step[0].check[0]: the log of 'db' holds what other scenarios made it print "
            "(ask the service itself; or leave `scope` out: each scenario has a container of its own then)"
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=list(CASES))
def test_a_refusal_is_told(project: Any, head: Any, text: str, message: str) -> None:
    """Each has its message, at its place, and no other."""
    assert head(project.refuse(text)) == [message]


def share(project: Any, text: str, name: str = "orders.clnrm.toml") -> Any:
    """Return how the only shared service of a file counts."""
    (scenario,) = project.load(text, name)
    (service,) = [each for each in scenario.services if each.is_shared]
    return share_of(Settings(), service, scenario.file)


def test_equal_tables_are_one_service(project: Any) -> None:
    """Where it stands, its artifacts and whether steps run in it make no difference; all else does."""
    app = '[service.app]\nimage = "x:1"\ndepends_on = ["db"]\n[[step]]\nrun = "true"\nservice = "app"\n'
    here = share(project, DB + STEP)
    assert (here.name, here.memory_bytes) == ("db", Settings().memory_bytes)
    assert share(project, f'\n{app}{DB}artifacts = ["/log"]\n', "other.clnrm.toml") == here
    others = [
        share(project, f"{DB}{more}{STEP}").key
        for more in ("env = { A = 1 }\n", 'command = ["x"]\n', "limits = { cpu = 2 }\n")
    ]
    assert len({here.key, *others}) == 4


def test_what_it_depends_on_makes_another(project: Any) -> None:
    """With another database it is another application, through others too."""

    def keys(more: str) -> list[str]:
        app, web = '[service.app]\nimage = "x:1"\nscope = "run"\ndepends_on = ["db"]\n', ""
        web = app.replace("db", "app").replace(".app]", ".web]").replace("run", "file")
        scenario = project.one(f"{DB}{more}{app}{web}{STEP}")
        everything = scenario.services
        return [share_of(Settings(), each, scenario.file, everything).key for each in everything]

    same, other = keys(""), keys("env = { A = 1 }\n")
    assert keys("") == same
    assert not set(same) & set(other)


def test_those_of_a_file_are_its_own(project: Any) -> None:
    """The scenarios of another file have another one."""
    text = DB.replace("run", "file") + STEP
    assert share(project, text).key != share(project, text, "other.clnrm.toml").key
    assert share(project, text).key == share(project, text).key


def test_a_reset_has_the_steps_of_scenarios(project: Any) -> None:
    """They know what steps know, and blocks; another reset makes another container."""
    steps = """[
        { name = "empty", run = "a {{ worker }}" },
        { use = "seed", with = { user = "bob" } },
        { http = "GET http://db:80/{{ id }}", until = { timeout = "5s" }, expect = { status = 204 } },
        { restart = "db", check = [{ file = "/there" }] },
        { image = "tool:1", run = ["--all"] },
    ]"""
    block = """[steps.seed]
args = ["user"]
[[steps.seed.step]]
run = ["seed", "{{ args.user }}"]
user = "{{ args.user }}"
capture = { id = { regex = "id=([0-9]+)" } }
"""
    scenario = project.one(f"{DB}reset = {{ steps = {steps} }}\n{block}{STEP}")
    (db,) = scenario.services
    empty, seed, ask, again, tool = db.reset
    assert (empty.name, empty.templated, empty.phase, empty.service) == ("empty", True, "setup", "db")
    assert (seed.name, seed.action) == (
        "seed: step 1",
        Command(run=("seed", "bob"), user="bob", at=seed.at),
    )
    assert isinstance(ask.action, HttpRequest)
    assert (ask.name, ask.templated, ask.retry.timeout_s, ask.expect.http.status) == (
        "step 3",
        True,
        5,
        ((204, 204),),
    )
    assert (again.action.kind, again.service, len(again.checks)) == ("restart", "db", 1)
    assert [each.image for each in scenario.image_runs] == [tool.action.image] == ["tool:1"]
    assert scenario.captures_secrets is False
    assert (
        share(project, f"{DB}reset = {{ steps = {steps} }}\n{block}{STEP}").key
        != share(project, DB + STEP).key
    )


def test_a_reset_by_a_command_is_a_step(project: Any) -> None:
    """It has no name, and may name who uses the service."""
    (db,) = project.one(f'{DB}reset = {{ command = "a {{{{ scenario_id }}}}" }}\n{STEP}').services
    (step,) = db.reset
    assert (step.name, step.action.run, step.templated) == ("", ("sh", "-c", "a {{ scenario_id }}"), True)


RESETS = {
    '{ run = "true", service = "app" }': (
        '.service: a reset is of its own service alone: "app" need not run yet'
    ),
    '{ http = "GET http://app/" }': '.http: a reset is of its own service alone: "app" need not run yet',
    '{ run = "echo {{ service.app.address }}" }': (
        '.run: a reset is of its own service alone: "app" need not run yet'
    ),
    '{ check = [{ file = "/x", service = "app" }] }': (
        '.check[0].service: a reset is of its own service alone: "app" need not run yet'
    ),
    '{ stop = "db" }': ".stop: the next scenario needs it as it was: write restart, or a command",
    '{ wait = "exit" }': ".wait: it does not end: the next scenario uses it",
    '{ run = "true", check = [{ image = "x:1", user = "a" }] }': (
        ".check[0]: no reset changes an image: check it in a step"
    ),
    '{ run = "true", check = [{ log = "db", content = { contains = "a" } }] }': (
        ".check[0]: its log holds what scenarios before made it print "
        "(write since = the name of a step of the reset)"
    ),
    '{ run = "true", expect = { status = 200 } }': (
        ".expect.status: `status` goes with http only, and this step has `run`"
    ),
    '{ run = "echo {{ id }}" }, { run = "b", capture = { id = { regex = "x" } } }': (
        '.run: names "id" before a step captures it'
    ),
    '{ run = "b", name = "{{ worker }}" }': '.name: names "worker" where services do not run yet',
    '{ use = "unknown" }': '.use: there is no block "unknown"; known: none is defined',
}


@pytest.mark.parametrize("step", RESETS)
def test_mistakes_of_a_reset(project: Any, step: str) -> None:
    """What no reset can do has a reason, and all else is a mistake as in any step."""
    app = '[service.app]\nimage = "x:1"\n'
    (mistake, *_) = project.refuse(f"{DB}reset = {{ steps = [{step}] }}\n{app}{STEP}")
    assert f": service.db.reset.steps[0]{RESETS[step]}" in mistake


def test_what_a_reset_captures_is_its_own(project: Any) -> None:
    """No step of a scenario may name it."""
    steps = '[{ run = "b", capture = { id = { regex = "x" } } }, { run = "echo {{ id }}" }]'
    text = f"{DB}reset = {{ steps = {steps} }}\n{STEP.replace('true', 'echo {{ id }}')}"
    (mistake,) = project.refuse(text)
    assert 'step[0].run: names "id" before a step captures it' in mistake


def test_who_uses_it_is_filled_in_later(project: Any) -> None:
    """In steps, in variables of other services, in what is run in it; a variable of that name wins."""
    text = (
        f'{DB}prepare = {{ command = "mkdir {{{{ scenario_id }}}}", each = "scenario" }}\n'
        '[service.app]\nimage = "x:1"\nenv = { DB = "{{ worker }}-{{ scenario_id }}" }\n'
        '[[step]]\nservice = "app"\nrun = "echo {{ worker }}"\n'
    )
    scenario = project.one(text)
    (db, app), (step,) = scenario.services, scenario.steps
    assert step.templated
    assert db.prepare.command == ("sh", "-c", "mkdir {{ scenario_id }}")
    none = Running(runtime=None, containers={}, network=None)  # type: ignore[arg-type]
    users = users_of("gw1", "clnrm-0a-gw1-7")
    assert with_values(app, users, none).env == {"DB": "gw1-gw1_7"}
    assert with_values(db, users, none) is db
    (own,) = project.one(f'[vars]\nworker = "me"\n{STEP.replace("true", "echo {{ worker }}")}{DB}').steps
    assert own.action.run == "echo me"
