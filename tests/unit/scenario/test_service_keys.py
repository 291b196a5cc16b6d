"""Keys of a service that say how its container is made: how they arrive, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.policy import Policy
from pytest_clnrm.model.service import Artifact, Copy, Prepare, Service, SharedVolume, Volume

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


def test_artifacts(project: Any) -> None:
    """A text is a path; templates are filled in."""
    keys = 'artifacts = ["/app/{{ 1 + 1 }}.xml", { path = "/var/log/*.log", when = "failure" }]'
    assert box(project, keys).artifacts == (
        Artifact(path="/app/2.xml", at=("service", "box", "artifacts", 0)),
        Artifact(path="/var/log/*.log", only_failed=True, at=("service", "box", "artifacts", 1)),
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('"coverage.xml"', '3:14: {0}[0]: "coverage.xml" is not allowed: an absolute path'),
        ('"/app/../etc"', "3:14: {0}[0]: must not hold '..': say the folder that is meant"),
        ('"/"', "3:14: {0}[0]: is the whole container (name a folder first, as /var/log/*.log does)"),
        ('"/*/x.log"', "3:14: {0}[0]: would look through the whole container (name a folder first"),
        ('{ path = "/**" }', "3:16: {0}[0].path: would look through the whole container"),
        ('"/proc/1/environ"', "3:14: {0}[0]: /proc is in memory, which is not seen from outside (let a step"),
        ('"/dev/./shm/*"', "3:14: {0}[0]: /dev is in memory"),
        ('"/tmp/x/../y"', "3:14: {0}[0]: must not hold '..'"),
        ('"/tmp/x"', "3:14: {0}[0]: /tmp/ is in memory"),
        ('"/a\\u0000"', "3:14: {0}[0]: is no path: at most 4096 characters, and none of them NUL"),
        ('"/a", "/a"', "3:20: {0}[1]: /a is there twice"),
        ('{ path = "/a", when = "never" }', '3:29: {0}[0].when: "never" is not'),
    ],
)
def test_mistakes_of_artifacts(project: Any, head: Any, entry: str, message: str) -> None:
    """Each is told at its place."""
    keys = f'artifacts = [{entry}]\nscratch = ["/tmp/"]'
    (told,) = head(project.refuse(f'[service.box]\nimage = "x"\n{keys}\n{STEP}'))
    assert told.startswith(f"FILE:{message.format('service.box.artifacts')}")


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


KEYS = """
shm_size = "64m"
ulimits = { nofile = 1024, core = { soft = 0, hard = -1 } }
cap_add = ["cap_net_admin", "SYS_PTRACE"]
cap_drop = ["ALL"]
no_new_privileges = false
read_only = true
hostname = "db.local"
aliases = ["postgres", "pg.internal"]
extra_hosts = { "api.local" = "10.0.0.5", "six.local" = "fd00::5" }
labels = { "com.example.team" = "orders" }
platform = "linux/arm64"
stop_signal = "SIGINT"
stop_grace = "1.5s"
"""


def test_each_key_reaches_the_model(project: Any) -> None:
    """Each key arrives in its field, in its unit; names of capabilities have one form."""
    found = box(project, KEYS)
    assert found == Service(
        name="box",
        image="x",
        shm_bytes=64 << 20,
        ulimits={"nofile": (1024, 1024), "core": (0, -1)},
        cap_add=("NET_ADMIN", "SYS_PTRACE"),
        cap_drop=("ALL",),
        new_privileges=True,
        read_only=True,
        hostname="db.local",
        aliases=("postgres", "pg.internal"),
        extra_hosts={"api.local": "10.0.0.5", "six.local": "fd00::5"},
        labels={"com.example.team": "orders"},
        platform="linux/arm64",
        stop_signal="SIGINT",
        stop_grace_s=1.5,
        only_steps=True,
        at=("service", "box"),
    )
    assert box(project, 'stop_signal = "SIGRTMIN+3"').stop_signal == "SIGRTMIN+3"


READ_ONLY = (
    "cannot be copied into a container whose file system is read-only "
    "(mount them with `volumes`, or leave out `read_only`)"
)
HOST = "a host's name of up to 63 letters, digits, '_', '.' and '-' such as db.local"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            'shm_size = "much"',
            '3:1: service.box.shm_size: "much" is not allowed: a whole number of MB such as',
        ),
        (
            "ulimits = { nofile = { soft = 9, hard = 8 } }",
            "3:13: service.box.ulimits.nofile: the soft limit 9 is above the hard one, 8",
        ),
        (
            "ulimits = { nofile = { soft = -1, hard = 8 } }",
            "3:13: service.box.ulimits.nofile: the soft limit -1 is above the hard one, 8",
        ),
        (
            "ulimits = { rtprio = 9 }",
            '3:13: service.box.ulimits.rtprio: unknown key "rtprio"; allowed here: core,',
        ),
        (
            'cap_add = ["ALL"]',
            "3:12: service.box.cap_add[0]: ALL is all that root may do: name those that are needed",
        ),
        (
            'cap_add = ["NET_ADMNI"]',
            '3:12: service.box.cap_add[0]: "NET_ADMNI" is no capability (did you mean "NET_ADMIN"?)',
        ),
        (
            'cap_drop = ["x"]',
            '3:13: service.box.cap_drop[0]: "x" is no capability such as "NET_BIND_SERVICE"',
        ),
        (
            'cap_drop = ["CHOWN", "cap_chown"]',
            "3:22: service.box.cap_drop[1]: cap_chown is there twice",
        ),
        (
            'cap_add = ["CHOWN"]\ncap_drop = ["CHOWN"]',
            "4:13: service.box.cap_drop[0]: CHOWN is in `cap_add` too: one of both is meant",
        ),
        ('cap_drop = "ALL"', "3:1: service.box.cap_drop: expected"),
        (
            'read_only = true\nfiles = [{ content = "", target = "/a" }]',
            f"4:1: service.box.files: {READ_ONLY}",
        ),
        ('hostname = "-x"', f'3:1: service.box.hostname: "-x" is not allowed: {HOST}'),
        ('aliases = ["Box"]', "3:12: service.box.aliases[0]: is its name already"),
        (
            'network = "none"\naliases = ["x"]',
            '4:1: service.box.aliases: nothing reaches it with network = "none"',
        ),
        (
            'extra_hosts = { x = "host-gateway" }',
            '3:17: service.box.extra_hosts.x: "host-gateway" is no address: expected one such as 10.0.0.5',
        ),
        (
            'labels = { "pytest-clnrm.owner" = "x" }',
            '3:12: service.box.labels."pytest-clnrm.owner": labels that begin with pytest-clnrm are ours',
        ),
        (
            'platform = "arm64"',
            '3:1: service.box.platform: "arm64" is not allowed: a platform such as "linux/arm64"',
        ),
        (
            'stop_signal = "SIGTREM"',
            '3:1: service.box.stop_signal: there is no signal SIGTREM (did you mean "SIGTERM"?)',
        ),
        ('stop_signal = "SIGRTMIN+31"', "3:1: service.box.stop_signal: there is no signal SIGRTMIN+31"),
        (
            'stop_signal = "INT"',
            '3:1: service.box.stop_signal: "INT" is not allowed: a signal such as "SIGINT"',
        ),
        (
            'prepare = "x"\nvolumes = [{ name = "v", target = "/v" }]',
            "4:14: service.box.volumes[0].name: is new for each scenario: a service with `prepare` cannot",
        ),
        ('prepare = { each = "day" }', '3:13: service.box.prepare.each: "day" is not'),
        ('prepare = ""', "3:1: service.box.prepare: "),
        ('stop_grace = "-1s"', '3:1: service.box.stop_grace: "-1s" is not allowed: a number of seconds'),
    ],
)
def test_what_is_wrong_with_keys(project: Any, head: Any, keys: str, message: str) -> None:
    """Each mistake has its place, what is allowed, and where there is one a remedy."""
    told = head(project.refuse(f'[service.box]\nimage = "x"\n{keys}\n{STEP}'))
    assert told[0].startswith(f"FILE:{message}")
    assert len(told) == 1


def test_a_name_is_one_services_alone(project: Any, head: Any) -> None:
    """An alias is neither another service nor another one's alias, in whatever case."""
    text = """
    [service.box]
    image = "x"
    aliases = ["OTHER", "shared"]
    [service.other]
    image = "x"
    aliases = ["Shared"]
    """
    assert head(project.refuse(f"{text}\n{STEP}")) == [
        'FILE:4:16: service.box.aliases[0]: is a name of service "other" already, and only one can answer',
        'FILE:7:16: service.other.aliases[0]: is a name of service "box" already, and only one can answer',
    ]


def test_more_than_containers_have_is_allowed_by_name(project: Any, head: Any) -> None:
    """Nothing is by itself; capabilities that are listed are, and no others."""
    text = f'[service.box]\nimage = "x"\ncap_add = ["CAP_NET_ADMIN"]\nno_new_privileges = false\n{STEP}'
    remedy = "do without, or have it allowed by the ini option"
    lead = "FILE:3:12: service.box.cap_add[0]: the capability CAP_NET_ADMIN is not allowed"
    gain = (
        "FILE:4:1: service.box.no_new_privileges: letting programs gain privileges is not allowed (default)"
    )
    assert head(project.refuse(text, policy=Policy())) == [
        f"{lead} (default) ({remedy} clnrm_allow_cap_add)",
        f"{gain} ({remedy} clnrm_allow_new_privileges)",
    ]
    policy = Policy(capabilities=("SYS_PTRACE",), new_privileges=True, origins={"capabilities": "INI"})
    assert head(project.refuse(text, policy=policy)) == [
        f"{lead} (INI); allowed: SYS_PTRACE ({remedy} clnrm_allow_cap_add)",
    ]
    assert project.load(text, policy=Policy(capabilities=("NET_ADMIN",), new_privileges=True))


VOLUME_0 = "service.box.volumes[0]"


def test_volumes_of_the_scenario(project: Any) -> None:
    """They are writable unless the file says otherwise; those of the host stand apart, with their places."""
    keys = """volumes = [
        { name = "data", target = "/a" },
        { source = ".", target = "/b" },
        { name = "my.d", target = "/c", read_only = true },
    ]"""
    # Where volumes of the host are forbidden, these are not.
    text = f'[service.box]\nimage = "x"\nvolumes = [{{ name = "data", target = "/a" }}]\n{STEP}'
    assert project.load(text, policy=Policy(volumes=False))
    at = ("service", "box", "volumes")
    found = box(project, keys)
    assert found.shared_volumes == (
        SharedVolume(name="data", target="/a", at=(*at, 0)),
        SharedVolume(name="my.d", target="/c", read_only=True, at=(*at, 2)),
    )
    assert found.volumes == (Volume(source=str(project.root), target="/b", at=(*at, 1)),)


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        (
            '{ target = "/a" }',
            f"3:12: {VOLUME_0}: exactly one of source or name must be given, found none (write source =",
        ),
        (
            '{ name = "data", source = ".", target = "/a" }',
            f"3:12: {VOLUME_0}: exactly one of source or name must be given, found source and name",
        ),
        (
            '{ name = "./data", target = "/a" }',
            f'3:14: {VOLUME_0}.name: "./data" is not allowed: a name of up to 63 letters, ',
        ),
        (
            '{ name = "a", target = "/a" }, { name = "b", target = "/a/" }',
            "3:57: service.box.volumes[1].target: /a/ is there twice",
        ),
        (
            '{ name = "a", target = "/proc" }',
            "3:26: service.box.volumes[0].target: /proc is in the way of /proc, which the engine mounts",
        ),
    ],
)
def test_what_is_wrong_with_volumes(project: Any, head: Any, volumes: str, message: str) -> None:
    """A volume has a source or a name, and each has a target of its own."""
    (told,) = head(project.refuse(f'[service.box]\nimage = "x"\nvolumes = [{volumes}]\n{STEP}'))
    assert told.startswith(f"FILE:{message}")


def test_ports_of_udp(project: Any, head: Any) -> None:
    """They stand apart; the same number may be one of each; no port is there twice, or beyond the last."""
    found = box(project, 'ports = [53, "53/udp", "80/tcp"]')
    assert (found.ports, found.udp_ports) == ((53, 80), (53,))
    keys = 'ports = [53, "53/tcp", "70000/udp", "8080:53/udp"]'
    told = head(project.refuse(f'[service.box]\nimage = "x"\n{keys}\n{STEP}'))
    (message,) = told
    assert message == (
        'FILE:3:37: service.box.ports[3]: "8080:53/udp" is not allowed: a port such as 8080 or "53/udp" '
        '(write "53/udp", the container\'s port: it is published on a free one)'
    )
    keys = 'ports = [53, "53/tcp", "70000/udp"]'
    assert head(project.refuse(f'[service.box]\nimage = "x"\n{keys}\n{STEP}')) == [
        "FILE:3:14: service.box.ports[1]: 53 is there twice",
        "FILE:3:24: service.box.ports[2]: there is no port 70000: from 1 to 65535",
    ]


def test_how_a_service_is_prepared(project: Any) -> None:
    """`true`, a command or a table; what depends on others cannot be prepared."""
    assert box(project, "").prepare is None
    assert box(project, "prepare = false").prepare is None
    at = ("service", "box", "prepare")
    assert box(project, "prepare = true").prepare == Prepare(at=at)
    assert box(project, 'prepare = "a b"').prepare == Prepare(command=("sh", "-c", "a b"), at=at)
    assert box(project, 'prepare = ["a", "b"]').prepare == Prepare(command=("a", "b"), at=at)
    table = 'prepare = { command = ["a"], each = "start", secrets = true }'
    assert box(project, table).prepare == Prepare(command=("a",), secrets=True, at=at)


def test_what_is_not_prepared(project: Any, head: Any) -> None:
    """What depends on others, whose first start it would be too, and what has ended when it is ready."""
    job = '[service.job]\nimage = "x"\nprepare = true\nready = { exit = 0 }'
    told = head(project.refuse(f'{job}\n[service.box]\nimage = "x"\n{STEP}'))
    assert told[0].startswith("FILE:3:1: service.job.prepare: a job has ended when it is ready: there is")
    keys = 'image = "x"\nprepare = true\ndepends_on = ["db"]'
    told = head(project.refuse(f'[service.db]\nimage = "x"\n[service.box]\n{keys}\n{STEP}'))
    assert told[0].startswith("FILE:5:1: service.box.prepare: its first start would depend on other services")
