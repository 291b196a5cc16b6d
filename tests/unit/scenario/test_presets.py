"""Presets: services of which a name gives the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.scenario.conftest import Project

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.policy import Policy
from pytest_clnrm.model.service import Service
from pytest_clnrm.scenario.presets.library import names, preset
from pytest_clnrm.scenario.presets.users import NO_PRESETS, UsersPresets, read_users

STEP = '\n[[step]]\nrun = "true"\nservice = "db"\n'
Head = Callable[[list[str]], list[str]]


@pytest.fixture
def db(project: Project) -> Callable[..., Service]:
    """Return a function that returns the service of a text, with a text of the user's presets."""

    def load(text: str, users: str = "") -> Service:
        options = {"presets": own(project, users)} if users else {}
        return next(each for each in project.one(text + STEP, **options).services if each.name == "db")

    return load


def own(project: Project, text: str | bytes) -> UsersPresets:
    """Return the user's presets with that text."""
    project.write(text, ".clnrm/presets.toml")
    return read_users(str(project.root))


def test_a_preset_gives_the_keys_of_a_service(db: Callable[..., Service]) -> None:
    """Image, port, readiness, limits and the url are the preset's."""
    service = db('[service.db]\npreset = "postgres"')
    assert service.image == "postgres:17"
    assert service.ports == (5432,)
    assert service.env["POSTGRES_DB"] == "test"
    assert service.ready[0].command is not None
    assert service.limits.memory_bytes == 256 << 20
    assert service.own_url == "postgresql://test:test@db:5432/test"
    assert service.url_at("::1", 40001) == "postgresql://test:test@[::1]:40001/test"


def test_own_keys_win_and_variables_one_by_one(db: Callable[..., Service]) -> None:
    """A service that gives a key has its own; of variables and limits it keeps the others."""
    service = db(
        '[service.db]\npreset = "postgres"\nimage = "postgres:15"\nlimits = { cpu = 2 }\n'
        'env = { POSTGRES_DB = "orders", POSTGRES_PASSWORD = "a/b{host}" }\n'
    )
    assert service.image == "postgres:15"
    assert service.limits.memory_bytes == 256 << 20
    assert service.limits.cpus == 2
    assert service.env["POSTGRES_USER"] == "test"
    assert service.own_url == "postgresql://test:a%2Fb%7Bhost%7D@db:5432/orders"


def test_a_build_stands_in_place_of_the_presets_image(project: Project, db: Callable[..., Service]) -> None:
    """One that is built has no image."""
    (project.root / "app").mkdir()
    service = db('[service.db]\npreset = "redis"\nbuild = "./app"')
    assert service.image is None
    assert service.build is not None
    assert service.build.context == str(project.root / "app")


@pytest.mark.parametrize("name", names(NO_PRESETS))
def test_each_of_ours_can_be_used_as_it_is(db: Callable[..., Service], name: str) -> None:
    """Each says when it is ready, what memory it needs, and its url."""
    service = db(f'[service.db]\npreset = "{name}"')
    assert service.ready, "it says when it is ready"
    assert service.ports
    assert service.limits.memory_bytes
    assert f"db:{service.ports[0]}" in service.own_url
    assert ":" in str(service.image)


def test_a_preset_may_be_named_by_a_template(project: Project) -> None:
    """Its name may come from the matrix."""
    scenarios = project.load(
        '[matrix]\nkind = ["mysql", "mariadb"]\n[service.db]\npreset = "{{ matrix.kind }}"\n' + STEP
    )
    assert [each.services[0].image for each in scenarios] == ["mysql:8", "mariadb:11"]


def test_older_dialects_name_presets_too(project: Project) -> None:
    """A service of them may name one."""
    (scenario,) = project.load(f'[services.db]\npreset = "redis"\nenv = {{ A = "b" }}\n{STEP}')
    assert scenario.services[0].image == "redis:7"
    assert scenario.services[0].env == {"A": "b"}


def test_the_users_presets_are_new_ones_and_changes_of_ours(
    project: Project, db: Callable[..., Service]
) -> None:
    """They stand on ours, on one another, or on nothing; their paths are relative to their file."""
    project.write("A=file\n", ".clnrm/mine.env")
    users = """
[postgres]
image = "postgres:14"
env = { POSTGRES_DB = "orders" }

[orders]
preset = "postgres"
env_file = "mine.env"
env = { POSTGRES_USER = "orders" }

[cache]
image = "valkey:8"
ports = [6379]
url = "redis://{host}:{port}"
"""
    service = db('[service.db]\npreset = "orders"', users)
    assert service.image == "postgres:14"
    assert service.env["A"] == "file"
    assert service.own_url == "postgresql://orders:test@db:5432/orders"
    assert db('[service.db]\npreset = "cache"', users).own_url == "redis://db:6379"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'preset = "postgre"',
            (
                'FILE:2:1: service.db.preset: there is no preset "postgre"; known: elasticsearch, kafka, '
                "mariadb, minio, mongo, mysql, otel-collector, postgres, rabbitmq, redis "
                '(did you mean "postgres"?)'
            ),
        ),
        ("preset = 1", "FILE:2:1: service.db.preset: expected text, found 1"),
        (
            'preset = "postgres"\nurl = "x://{POSTGRES_USR}@{host}"',
            (
                'FILE:3:1: service.db.url: there is no variable "POSTGRES_USR"; known: host, port, '
                "POSTGRES_DB, "
                'POSTGRES_INITDB_ARGS, POSTGRES_PASSWORD, POSTGRES_USER (did you mean "POSTGRES_USER"?)'
            ),
        ),
        (
            'image = "x"\nurl = "x://{port}"',
            "FILE:3:1: service.db.url: {port} is the first of `ports`, and there is none of TCP",
        ),
        (
            'image = "x"\nurl = "x://{host"',
            "FILE:3:1: service.db.url: a brace stands alone: {NAME} is a variable of `env`",
        ),
    ],
)
def test_mistakes_of_a_service(project: Project, head: Head, text: str, told: str) -> None:
    """A mistake is told with its place and what there is."""
    assert told in head(project.refuse(f"[service.db]\n{text}\n{STEP}"))


@pytest.mark.parametrize(
    ("users", "told"),
    [
        ("[mine]\nimage = 1", ".clnrm/presets.toml:2:1: mine.image: expected text, found 1"),
        (
            '[mine]\nimage = "x"\nprots = [1]',
            '.clnrm/presets.toml:3:1: mine.prots: unknown key "prots"; allowed here: ',
        ),
        (
            '[mine]\nimage = "x"\nready = { log = "(" }',
            ".clnrm/presets.toml:3:11: mine.ready.log: not a regular",
        ),
        ('[mine]\nimage = "x"\nenv = { A = [] }', ".clnrm/presets.toml:3:9: mine.env.A: expected "),
        ('[mine]\nimage = "x"\nbuild = "gone"', "/.clnrm/gone: No such file"),
        ("[mine]\nports = [1]", "exactly one of image or build must be given, found none"),
        (
            '[mine]\nimage = "{{ x }}"',
            ".clnrm/presets.toml:2:1: mine.image: templates are not rendered in presets",
        ),
        ("mine = 1", ".clnrm/presets.toml:1:1: mine: expected a table: [mine] with the keys of a service"),
        ("[mine\n", ".clnrm/presets.toml:1:6: "),
        ("a = 1" + "0" * 30, ".clnrm/presets.toml:1:1: a: this number is beyond 64 bits"),
        (
            '[mine]\npreset = "mine"',
            '.clnrm/presets.toml:2:1: mine.preset: there is no preset "mine" below this one',
        ),
        (
            '[mine]\npreset = "b"\n[b]\npreset = "mine"',
            ".clnrm/presets.toml:4:1: b.preset: a preset cannot stand on itself: mine -> b -> mine",
        ),
        (
            '[mine]\npreset = "redsi"',
            '.clnrm/presets.toml:2:1: mine.preset: there is no preset "redsi"; known: elasticsearch, kafka, ',
        ),
        (b"[mine]\nimage = '\xff'", ".clnrm/presets.toml: is not UTF-8"),
    ],
)
def test_mistakes_of_the_users_presets(project: Project, users: str | bytes, told: str) -> None:
    """One in the user's file is told where it is used, with its place there."""
    mistakes = project.refuse(f'[service.db]\npreset = "mine"\n{STEP}', presets=own(project, users))
    assert any(told in each and each.startswith("FILE:") for each in mistakes), mistakes


def test_what_the_user_may_ask_for_holds_for_presets(project: Project) -> None:
    """A cap is one for presets too."""

    def loaded(**caps: Any) -> list[str]:
        return project.refuse(f'[service.db]\npreset = "elasticsearch"\n{STEP}', policy=Policy(**caps))

    assert any("service.db" in each and "1280" in each for each in loaded(memory_bytes=512 << 20))


def test_steps_name_the_url_of_a_service_that_has_one(project: Project, head: Head) -> None:
    """Of a service without one the file is refused."""
    step = '[[step]]\nservice = "db"\nrun = "echo {{ service.db.url }}"\n'
    assert project.load(f'[service.db]\npreset = "redis"\n{step}')
    told = head(project.refuse(f'[service.db]\nimage = "x"\n{step}'))
    assert told == [
        'FILE:5:1: step[0].run: "db" has no url: give it one, such as url = "http://{host}:{port}"'
    ]


def test_a_preset_is_not_changed_by_who_uses_it(project: Project) -> None:
    """Data that all files share stays as it is."""
    before = dict(preset("redis", NO_PRESETS).keys)
    project.load(f'[service.db]\npreset = "redis"\nenv = {{ A = "b" }}\nports = [1]\n{STEP}')
    assert dict(preset("redis", NO_PRESETS).keys) == before


def test_without_a_file_of_the_user_there_are_ours_alone(project: Project) -> None:
    """None is needed."""
    assert read_users(str(project.root)) == NO_PRESETS
    with pytest.raises(ScenarioFileError):
        project.load(f'[service.db]\npreset = "mine"\n{STEP}')
