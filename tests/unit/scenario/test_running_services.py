"""What templates name of running services, and the name of this host."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.step import Command, Step
from pytest_clnrm.scenario.templates.places import places_in
from pytest_clnrm.scenario.templates.render import bind_step

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
    return command(bind_step(step, {**scenario.variables, "service": RUNNING}))


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
    assert command(bind_step(captured.steps[1], {"service": "taken"})) == "taken"


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


NOT_YET = 'names "service" where services do not run yet: steps and checks may'
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
    text = f"""{SERVICES}env = {{ A = "{{{{ service.web.address }}}}" }}
[[step]]
service = "web"
name = "{{{{ service.web.address }}}}"
run = "true"
[[expect.span]]
name = "{{{{ service.web.address }}}}"
"""
    assert head(project.refuse(text)) == [
        f"FILE:10:9: service.alone.env.A: {NOT_YET}",
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
