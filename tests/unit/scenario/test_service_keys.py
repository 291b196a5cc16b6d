"""Keys of a service that say how its container is made: how they arrive, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

STEP = '[[step]]\nservice = "box"\nrun = "true"\n'


def box(project: Any, keys: str, **options: Any) -> Any:
    """Return the service of a file that has these keys."""
    (service,) = project.one(f'[service.box]\nimage = "x"\n{keys}\n{STEP}', **options).services
    return service


def test_entrypoint(project: Any) -> None:
    """None, nothing and something are three things."""
    assert box(project, "").entrypoint is None
    assert box(project, "entrypoint = []").entrypoint == ()
    assert box(project, 'entrypoint = ["/serve", "-v"]').entrypoint == ("/serve", "-v")


@pytest.mark.parametrize(
    "more",
    [
        "ready = { port = 80 }",
        "ports = [80]",
        "may_end = 0",
        '[service.other]\nimage = "x"\ndepends_on = ["box"]\n[[step]]\nservice = "other"\nrun = "true"\n',
    ],
)
def test_whatever_others_do_with_a_service_is_more_than_steps(project: Any, more: str) -> None:
    """Only a service that nothing else is said of has but steps; one without steps has none."""
    assert box(project, "").only_steps
    text = f'[service.box]\nimage = "x"\n{more}\n{STEP}'
    assert not project.one(text).services[0].only_steps
    idle = '[service.idle]\nimage = "x"\n'
    (other,) = (each for each in project.one(idle + text).services if each.name == "idle")
    assert not other.only_steps
