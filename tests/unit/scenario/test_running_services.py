"""What templates name of running services, and the name of this host."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.step import Command, Step
from pytest_clnrm.runner.running_services import Running
from pytest_clnrm.runner.sharing.upkeep import with_values
from pytest_clnrm.scenario.templates.binding import bind_step
from pytest_clnrm.scenario.templates.places import places_in

SERVICES = """
[service.web]
image = "x"
ports = [80, "53/udp"]
[service.my-db]
image = "x"
[service.alone]
image = "x"
network = "none"
"""
RUNNING = {"web": {"address": "10.0.0.5", "ports": {80: 32768, "53/udp": 32769}}, "my-db": {"address": "x"}}


def command(step: Step) -> str:
    """Return what a step runs."""
    assert isinstance(step.action, Command)
    assert isinstance(step.action.run, str)
    return step.action.run


def bound(project: Any, run: str, more: str = "") -> str:
    """Return what a step runs once the services run."""
    scenario = project.one(f"{SERVICES}\n[[step]]\nservice = 'web'\nrun = '''{run}'''\n{more}")
    step = scenario.steps[0]
    assert step.templated
    return command(bind_step(step, {**scenario.variables, "service": RUNNING}, frozenset({"service"})))


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("{{ service.web.address }}:80", "10.0.0.5:80"),
        ("{{ service.web.ports.80 }} {{ service['web'].ports[80] }}", "32768 32768"),
        ("{{ service.web.ports['53/udp'] }}", "32769"),
        ("{{ service['my-db'].address | upper }} {{ vars.a }}", "X 1"),
        ("{% for name in service %}{{ name }} {% endfor %}", "web my-db "),
    ],
)
def test_steps_name_what_runs(project: Any, text: str, given: str) -> None:
    """Addresses and published ports are filled in when the step runs."""
    assert bound(project, text, "[vars]\na = 1\n") == given


def test_a_variable_of_that_name_wins(project: Any) -> None:
    """Files that have their own ``service`` or ``host`` mean what they meant."""
    scenario = project.one(
        f"[vars]\nservice = {{ web = 'mine' }}\nhost = 'own'\n{SERVICES}\n"
        "[[step]]\nservice = 'web'\nrun = '{{ service.web }} {{ host }}'\n"
    )
    assert command(scenario.steps[0]) == "mine own"
    captured = project.one(
        f"{SERVICES}\n[[step]]\nservice = 'web'\nrun = 'x'\ncapture.service = {{ json = '' }}\n"
        "[[step]]\nservice = 'web'\nrun = '{{ service }}'\n"
    )
    assert command(bind_step(captured.steps[1], {"service": "taken"}, frozenset({"service"}))) == "taken"


def test_what_is_named_runs(project: Any) -> None:
    """A service of which only the address is named is started, and as a service: not to wait for steps."""
    scenario, whole = project.load(f"""
        {SERVICES}
        [[scenario]]
        name = "a"
        [[scenario.step]]
        service = "my-db"
        run = "{{{{ service.web.address }}}}"
        [[scenario]]
        name = "b"
        [[scenario.step]]
        service = "alone"
        run = "{{% for each in service %}}{{{{ service[each].address }}}}{{% endfor %}}"
    """)
    assert [(each.name, each.only_steps) for each in scenario.services] == [("web", False), ("my-db", True)]
    assert [each.name for each in whole.services] == ["web", "my-db", "alone"]


def test_host(project: Any) -> None:
    """The name of this host is known when the file is read."""
    scenario = project.one(
        "[service.web]\nimage = 'x'\nenv = { BACK = 'http://{{ host }}:8080' }\n"
        "[[step]]\nrun = 'a {{ host }}'\n"
    )
    assert scenario.services[0].env == {"BACK": "http://host.clnrm.internal:8080"}
    assert command(scenario.steps[0]) == "a host.clnrm.internal"
    assert not scenario.steps[0].templated


def test_places() -> None:
    """What a template names of services is known as far as it is constant."""
    text = "{{ service.a.ports[80] }} {{ service[x].address }} {{ other.service.y }} {{ service['b-c'] }}"
    assert set(places_in(["plain", {"x": text}])) == {(), ("a", "ports", 80), ("b-c",)}


NOT_YET = (
    'names "service" where services do not run yet: steps, checks, '
    "and env of services that depend on them may"
)
CASES = {
    "an unknown service": (
        "{{ service.wbe.address }}",
        'there is no service "wbe"; known: web, my-db, alone (did you mean "web"?)',
    ),
    "what no service has": (
        "{{ service.web.adress }}",
        (
            'there is no "adress": of a running service there are service.web.address, '
            'service.web.ports.PORT and service.web.url (did you mean "address"?)'
        ),
    ),
    "a port that is not published": (
        "{{ service.web.ports.8080 }}",
        '"web" does not publish the port 8080; its ports are: 80, 53/udp',
    ),
    "no ports": (
        "{{ service['my-db'].ports.80 }}",
        '"my-db" does not publish the port 80; its ports are: none',
    ),
    "no network": (
        "{{ service.alone.address }}",
        '"alone" has network = "none": it has no address and publishes nothing',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(project: Any, head: Any, case: str) -> None:
    """What can never be known is told when the file is read."""
    text, message = CASES[case]
    step = f'{SERVICES}\n[[step]]\nservice = "web"\nrun = "{text}"\n'
    assert head(project.refuse(step)) == [f"FILE:13:1: step[0].run: {message}"]
    check = f'{SERVICES}\n[[check]]\nservice = "web"\nfile = "/{text}"\n'
    assert head(project.refuse(check)) == [f"FILE:13:1: check[0].file: {message}"]


def test_only_in_steps(project: Any, head: Any) -> None:
    """Where services do not run, or may be gone, they are not named."""
    text = f"""{SERVICES}labels = {{ A = "{{{{ service.web.address }}}}" }}
[[step]]
service = "web"
name = "{{{{ service.web.address }}}}"
run = "true"
[[expect.span]]
name = "{{{{ service.web.address }}}}"
"""
    assert head(project.refuse(text)) == [
        f"FILE:10:12: service.alone.labels.A: {NOT_YET}",
        f"FILE:13:1: step[0].name: {NOT_YET}",
        'FILE:16:1: expect.span[0].name: names "service" where they may be gone: steps and checks may',
    ]


def test_the_host_is_not_reached_without_a_network(project: Any, head: Any) -> None:
    """A service without a network, and steps in it, cannot name it."""
    text = """
[service.alone]
image = "x"
network = "none"
env = { A = "http://{{ host }}" }
[[step]]
run = "wget host.clnrm.internal"
"""
    told = 'host.clnrm.internal is not reached with network = "none"'
    assert head(project.refuse(text)) == [
        f"FILE:5:9: service.alone.env.A: {told}",
        f"FILE:7:1: step[0].run: {told}",
    ]


APP = """
[service.db]
image = "x"
ports = [5432]
env = { NAME = "shop" }
url = "db://{host}:{port}/{NAME}"
[service.cache]
image = "x"
depends_on = ["db"]
[service.job]
image = "x"
ready = { exit = 0 }
[service.app]
image = "x"
depends_on = ["cache", "job"]
env = { URL = "{{ service.OTHER }}" }
[[step]]
service = "app"
run = "true"
"""


def test_variables_of_a_service_name_those_before_it(project: Any) -> None:
    """Those that it depends on, also through others; they run by themselves, as they are to be reached."""
    scenario = project.one(APP.replace("OTHER", "db.url"))
    db, _, _, app = scenario.services
    assert app.env == {"URL": "{{ service.db.url }}"}
    assert not db.only_steps
    container = SimpleNamespace(id="c", service=db)
    state = SimpleNamespace(addresses={"net": "10.0.0.7"}, ports={}, udp_ports={}, running=True)
    runtime = SimpleNamespace(
        engine=lambda: SimpleNamespace(state=lambda _: state),
        networks=lambda: SimpleNamespace(published=lambda _, port: ("127.0.0.1", port)),
    )
    network = SimpleNamespace(name="net")
    running = Running(runtime, {"db": container}, network)  # type: ignore[arg-type, dict-item]
    assert with_values(app, {}, running).env == {"URL": "db://db:5432/shop"}
    (_, _, _, app) = project.one(APP.replace("OTHER", "db.address")).services
    assert with_values(app, {}, running).env == {"URL": "10.0.0.7"}
    state.addresses = {}
    with pytest.raises(
        ContainerError, match=r"'app': env: .*service.db.address }} is not known: .* has no address"
    ):
        with_values(app, {}, running)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("dbb.url", 'there is no service "dbb"; known: db, cache, job, app (did you mean "db"?)'),
        ("cache.url", '"cache" has no url: give it one, such as url = "http://{host}:{port}"'),
        ("app.address", "a service does not run yet when its own variables are made"),
        ("job.address", '"job" is a job (ready = { exit = ... }), which has ended by then'),
        ("other.address", None),
        ("db.port", 'there is no "port": of a running service there are *'),
    ],
)
def test_mistakes_in_variables_of_services(project: Any, head: Any, other: str, message: str | None) -> None:
    """What can never be known is told when the file is read, and what need not run yet."""
    text = APP.replace("OTHER", other)
    if message is None:
        text = f'[service.other]\nimage = "x"\n{text}'
        message = (
            '"other" need not run yet when "app" starts, which does not depend on it '
            '(write depends_on = ["other"] in [service.app])'
        )
    (told,) = head(project.refuse(text))
    assert fnmatchcase(told, f"FILE:*: service.app.env.URL: {message.replace('[', '[[]')}"), told


def test_names_that_are_not_constant_or_in_a_circle(project: Any, head: Any) -> None:
    """A name that is made up is not known; a circle is told as one."""
    (told,) = head(project.refuse(APP.replace("{{ service.OTHER }}", "{{ service[env('X', 'db')].url }}")))
    assert told.endswith(
        "service.app.env.URL: which service it names must stand there: service.NAME.address, ports or url"
    )
    circle = APP.replace("OTHER", "db.url").replace("ports = [5432]", 'ports = [5432]\ndepends_on = ["app"]')
    assert "services depend on one another: " in "".join(head(project.refuse(circle)))
    shared = APP.replace("OTHER", "db.url").replace("[service.app]", '[service.app]\nscope = "run"')
    assert any(
        'names "service" where services do not run yet' in each for each in head(project.refuse(shared))
    )
