"""Keys of a service that say how its container is made: how they arrive, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.policy import Policy
from pytest_clnrm.model.service import Copy

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


def test_files(project: Any) -> None:
    """Sources are absolute, modes are numbers; what is copied stands in the order of the file."""
    (project.root / "app.conf").write_text("x")
    keys = """files = [
        { source = "app.conf", target = "/etc/app.conf" },
        { content = "hello {{ 1 + 1 }}", target = "/a/b", mode = "0600" },
    ]"""
    assert box(project, keys).files == (
        Copy(
            source=str(project.root / "app.conf"), target="/etc/app.conf", at=("service", "box", "files", 0)
        ),
        Copy(content="hello 2", target="/a/b", mode=0o600, at=("service", "box", "files", 1)),
    )


NEITHER = (
    "exactly one of source or content must be given, found none "
    '(write source = "./app.conf", or content = "...")'
)
TOO_LARGE = (
    "16777217 bytes are more than is copied: at most 16 MiB together "
    "(mount them with `volumes`, or put them into an image)"
)
UNSEEN = "would not be seen, or be in the way:"
NO_VALUE = "line 2: HOME has no value: this host's environment is not read; write HOME=..."
VOLUME = 'volumes = [{ source = ".", target = "/data" }]\n'
FILES = "service.box.files"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            'files = [{ target = "/a" }]',
            f"3:10: {FILES}[0]: {NEITHER}",
        ),
        (
            'files = [{ source = "good.env", content = "y", target = "/a" }]',
            f"3:10: {FILES}[0]: exactly one of source or content must be given, found source and content",
        ),
        (
            'files = [{ source = "..", target = "/a" }]',
            f"3:12: {FILES}[0].source: lies outside of the project; allowed are paths below ",
        ),
        (
            'files = [{ source = ".", target = "/a" }]',
            f"3:12: {FILES}[0].source: is a folder: mount it with `volumes`, or name its files one by one",
        ),
        (
            'files = [{ content = "", target = "/etc/" }]',
            f"3:26: {FILES}[0].target: expected the path of a file in the container, such as /etc/app.conf",
        ),
        (
            'files = [{ content = "", target = "/etc/hosts" }]',
            f"3:26: {FILES}[0].target: /etc/hosts is in the way of /etc/hosts, which the engine mounts",
        ),
        (
            'files = [{ content = "", target = "/.clnrm/x" }]',
            f"3:26: {FILES}[0].target: /.clnrm/x is in the way of /.clnrm, which is ours",
        ),
        (
            VOLUME + 'files = [{ content = "", target = "/data/x" }]',
            f"4:26: {FILES}[0].target: /data/x {UNSEEN} the volume /data is there",
        ),
        (
            'scratch = ["/tmp/"]\nfiles = [{ content = "", target = "/tmp/x" }]',
            f"4:26: {FILES}[0].target: /tmp/x {UNSEEN} the tmpfs /tmp/ is there",
        ),
        (
            'files = [{ content = "", target = "/a" }, { content = "", target = "/./a" }]',
            f"3:59: {FILES}[1].target: /./a is there twice",
        ),
        (
            'files = [{ content = "", target = "/a" }, { content = "", target = "/a/b" }]',
            f"3:59: {FILES}[1].target: /a is a file, so one of both cannot be there",
        ),
        (
            'files = [{ content = "", target = "/a", mode = "644x" }]',
            f'3:41: {FILES}[0].mode: "644x" is not allowed: permissions such as "0644"',
        ),
        (
            'files = [{ source = "large", target = "/a" }]',
            f"3:1: {FILES}: {TOO_LARGE}",
        ),
        (
            'env_file = "missing.env"',
            "3:1: service.box.env_file: missing.env: ",
        ),
        (
            'env_file = ["good.env", "bad.env"]',
            f"3:25: service.box.env_file[1]: bad.env: {NO_VALUE}",
        ),
    ],
)
def test_what_is_wrong_with_files(project: Any, head: Any, keys: str, message: str) -> None:
    """Each mistake has its place, and says what to write instead."""
    (project.root / "good.env").write_text("A=1\n")
    (project.root / "bad.env").write_text("A=1\nHOME\n")
    with (project.root / "large").open("wb") as large:
        large.truncate((16 << 20) + 1)
    (told,) = head(project.refuse(f'[service.box]\nimage = "x"\n{keys}\n{STEP}'))
    assert told.startswith(f"FILE:{message}")


def test_variables_of_files(project: Any) -> None:
    """The later file wins over the earlier, and the table over both; secrets are those of their names."""
    (project.root / "a.env").write_text("A=1\nB=2\nC=3\nTOKEN=hunter2\n")
    (project.root / "b.env").write_text("B=two\nC=three\n")
    text = f'[service.box]\nimage = "x"\nenv_file = ["a.env", "b.env"]\nenv = {{ C = "own" }}\n{STEP}'
    scenario = project.one(text, secrets=("TOKEN",))
    (service,) = scenario.services
    assert service.env == {"A": "1", "B": "two", "C": "own", "TOKEN": "hunter2"}
    assert service.env_files == (str(project.root / "a.env"), str(project.root / "b.env"))
    assert scenario.secrets == {"hunter2"}


def test_files_of_the_host_may_be_forbidden(project: Any, head: Any) -> None:
    """What forbids volumes forbids to copy and to read files; texts of the scenario file are none."""
    (project.root / "a.env").write_text("A=1\n")
    keys = (
        'env_file = "a.env"\nfiles = [{ source = "a.env", target = "/a" }, { content = "x", target = "/b" }]'
    )
    told = head(project.refuse(f'[service.box]\nimage = "x"\n{keys}\n{STEP}', policy=Policy(volumes=False)))
    allow = "of the host is not allowed (default) (do without, or have it allowed there)"
    assert told == [
        f"FILE:3:1: service.box.env_file: reading files {allow}",
        f"FILE:4:12: service.box.files[0].source: copying files {allow}",
    ]
