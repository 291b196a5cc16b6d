"""What a Python test may say of a container, and what it is told to write instead."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_clnrm.items.container_arguments import ARGUMENTS, service_of
from pytest_clnrm.items.service_arguments import LIMITS, NOT_ARGUMENTS
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.policy import Policy
from pytest_clnrm.model.service import (
    Build,
    Copy,
    Ready,
    Service,
    SharedVolume,
    Volume,
)
from pytest_clnrm.scenario.format.limits_document import LimitsDoc
from pytest_clnrm.scenario.format.reset_document import FileServiceDoc
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.scenario.sources import Sources

ROOT = Path(__file__).parents[3]
RIGHT = {"image": "redis:7", "name": "db"}
ALL = Policy(capabilities=("NET_ADMIN",), new_privileges=True)


def made(given: Mapping[str, object], *, folder: Path = ROOT, policy: Policy = ALL) -> Service:
    """Return the service of arguments of a test that lies in *folder*."""
    arguments = {**RIGHT, **given}
    image, name = arguments.pop("image"), arguments.pop("name")
    source = Sources(str(folder), LoadOptions(rootdir=str(folder)))
    return service_of(image, name, arguments, source=source, policy=policy)


def test_every_key_of_a_service_is_an_argument() -> None:
    """What a file can say of a service a Python test can say too, or is told what to do instead."""
    keys = set(FileServiceDoc.__struct_fields__) - {"image"}
    assert keys - set(NOT_ARGUMENTS) <= ARGUMENTS
    assert ARGUMENTS - keys == set(LIMITS) == set(LimitsDoc.__struct_fields__)
    assert set(NOT_ARGUMENTS) <= keys - ARGUMENTS


def test_every_argument_is_documented() -> None:
    """The table of docs/fixtures.md names each, and no other."""
    rows = [line for line in (ROOT / "docs/fixtures.md").read_text("utf-8").splitlines() if "| " in line]
    table = "\n".join(row.split("|")[1] for row in rows)
    assert [each for each in (*ARGUMENTS, "image", "name") if f"`{each}`" not in table] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"command": ["sleep", "1"]}, {"command": ("sleep", "1")}),
        ({"entrypoint": []}, {"entrypoint": ()}),
        ({"entrypoint": ("/serve", "-v")}, {"entrypoint": ("/serve", "-v")}),
        ({"env": {"A": "1"}}, {"env": {"A": "1"}}),
        ({"ports": [80, "53/udp"]}, {"ports": (80,), "udp_ports": (53,)}),
        (
            {"memory": "64m", "cpu": 1, "gpus": 0, "pids": 9},
            {"limits": Limits(memory_bytes=64 << 20, cpus=1, gpus=0, pids=9)},
        ),
        ({"ready": {"port": 80}}, {"ready": (Ready(port=80, at=("ready",)),)}),
        ({"may_end": 0}, {"may_end": (0,)}),
        ({"may_end": (0, 3)}, {"may_end": (0, 3)}),
        ({"user": "1000", "workdir": "/app"}, {"user": "1000", "workdir": "/app"}),
        ({"network": "none"}, {"network": "none"}),
        ({"scratch": ["/s"], "shm_size": "256m"}, {"scratch": ("/s",), "shm_bytes": 256 << 20}),
        ({"ulimits": {"nofile": {"soft": 1, "hard": 2}}}, {"ulimits": {"nofile": (1, 2)}}),
        ({"cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"]}, {"cap_add": ("NET_ADMIN",), "cap_drop": ("ALL",)}),
        ({"no_new_privileges": False, "read_only": True}, {"new_privileges": True, "read_only": True}),
        ({"hostname": "db.local", "aliases": ["pg"]}, {"hostname": "db.local", "aliases": ("pg",)}),
        ({"extra_hosts": {"a": "10.0.0.5"}}, {"extra_hosts": {"a": "10.0.0.5"}}),
        ({"labels": {"a": "b"}}, {"labels": {"a": "b"}}),
        ({"platform": "linux/arm64"}, {"platform": "linux/arm64"}),
        ({"stop_signal": "SIGINT", "stop_grace": "2s"}, {"stop_signal": "SIGINT", "stop_grace_s": 2.0}),
        ({"memory": None, "command": None, "build": None, "ready": None}, {"command": None, "ready": ()}),
    ],
)  # fmt: skip
def test_what_is_right_reaches_the_service(given: dict[str, object], expected: dict[str, object]) -> None:
    """As the key of that name does; None is as if an argument was left out."""
    service = made(given)
    assert {name: getattr(service, name) for name in expected} == expected


def test_paths_of_the_host(tmp_path: Path) -> None:
    """They are relative to the test's file, and may be Path objects."""
    for name, text in (("Dockerfile", "FROM a"), ("a.conf", "x"), ("a.env", "A=1\nB=2\n")):
        (tmp_path / name).write_text(text)
    real = os.path.realpath(tmp_path)
    service = made(
        {
            "image": None,
            "build": tmp_path,
            "volumes": [{"source": Path("a.conf"), "target": "/c"}, {"name": "data", "target": "/d"}],
            "files": [{"source": "./a.conf", "target": "/etc/a.conf"}, {"content": "y", "target": "/y"}],
            "env_file": Path("a.env"),
            "env": {"B": "3"},
        },
        folder=tmp_path,
    )
    assert service.build == Build(context=real, at=("build",))
    assert service.volumes == (Volume(source=f"{real}/a.conf", target="/c", at=("volumes", 0)),)
    assert service.shared_volumes == (SharedVolume(name="data", target="/d", at=("volumes", 1)),)
    assert service.files == (
        Copy(source=f"{real}/a.conf", target="/etc/a.conf", at=("files", 0)),
        Copy(content="y", target="/y", at=("files", 1)),
    )
    assert service.env == {"A": "1", "B": "3"}


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("command", "sleep 100", 'write command=["sleep", "100"], or for a shell command=["sh", "-c", "sl'),
        ("command", "echo 'a", "write command=[\"sh\", \"-c\", \"echo 'a\"]"),
        ("command", ["sleep", 100], 'write command=["sleep", "100"]'),
        ("command", [], 'write command=["sleep", "1d"]'),
        ("command", 5, 'write command=["sleep", "1d"]'),
        ("entrypoint", "/serve -v", 'write entrypoint=["/serve", "-v"]'),
        ("ports", {80: 5005}, "write ports=[80], and ask box.port(80)"),
        ("ports", {"80/tcp": None}, "write ports=[80], and ask box.port(80)"),
        ("ports", ["9/sctp"], "only ports of TCP and UDP are published: leave '9/sctp' out"),
        ("ports", ["80/tcp"], "'80/tcp' is no number of a container port: write 80"),
        ("ports", ["8080:80"], "write 80"),
        ("ports", ["80"], "write 80"),
        ("ports", [(8080, 80)], "write 80"),
        ("ports", [True], "write "),
        ("ports", 80, "write ports=[80]"),
        ("ports", "8080:80", "write ports=[80]"),
        ("ports", None, "write ports=[8080]"),
        ("ports", [70000], "70000 is no port: 1 to 65535"),
        ("ports", [80, 80], "1: 80 is there twice"),
        ("env", ["A=1"], "write env={'A': '1'}"),
        ("env", "A=1", 'write env={"NAME": "value"}'),
        ("env", {"A": 1}, "write env={'A': '1'}"),
        ("env", {"A": None}, "or leave it out"),
        ("env", {"A=B": "1"}, "without '='"),
        ("cpu", "1", "write cpu=0.5"),
        ("cpu", 0, "write cpu=0.5"),
        ("gpus", 0.5, "write gpus=1"),
        ("pids", "many", "write pids=1"),
        ("memory", "lots", 'memory=\'lots\': "lots" is not allowed: a whole number of MB such as 512'),
        ("memory", "1m", "memory='1m': 1m is less than a container can have: at least 6m"),
        ("image", None, "image=None: it is the reference of an image"),
        ("image", 5, "image=5: it is the reference of an image"),
        ("image", "abc123", "image=...: abc123 may be the id of any image of this host, or the start of one"),
        ("name", "my db", "name='my db': it is a host name"),
        ("name", "", "name='': it is a host name"),
        ("workdir", Path("/app"), 'write workdir="/app"'),
        ("workdir", "app", "workdir='app': \"app\" is not allowed: an absolute path in the container"),
        ("user", 1000, 'write user="1000"'),
        ("network", "host", 'write "isolated", "bridge" or "none"'),
        ("ready", {"prot": 80}, 'ready={\'prot\': 80}: prot: unknown key "prot"; allowed here: '),
        ("volumes", {"./seed": {"bind": "/seed"}}, "write volumes=[{'source': './seed', 'target': '/seed'}]"),
        ("volumes", {"./seed": "/seed"}, "write volumes=[{'source': './seed', 'target': '/seed'}]"),
        ("volumes", ["./seed:/seed:ro"], "write volumes=[{'source': './seed', 'target': '/seed'}]"),
        ("volumes", [{"target": "/a"}], 'write source="./folder", or name="data" for a volume that'),
        ("volumes", [{"source": "/etc", "target": "/e"}], "0.source: lies outside of the project"),
        ("volumes", [{"source": "docs", "target": "/e", "read_only": False}], "0.read_only: "),
        ("files", [{"source": "nothing", "target": "/x"}], "0.source: "),
        ("env_file", "nothing.env", "env_file='nothing.env': nothing.env: "),
        ("build", "nothing", "build='nothing': "),
        ("cap_add", ["ALL"], "0: ALL is all that root may do"),
        ("stop_signal", "SIGINTT", 'there is no signal SIGINTT (did you mean "SIGINT"?)'),
        ("read_only", "yes", "read_only='yes': "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(argument: str, value: object, message: str) -> None:
    """The error names the argument, shows its value and says what to write."""
    given = {argument: value, "image": None} if argument == "build" else {argument: value}
    with pytest.raises(ValueError, match=argument) as raised:
        made(given)
    assert message in str(raised.value)


def test_an_image_and_a_build() -> None:
    """One of both is meant."""
    with pytest.raises(ValueError, match=r"^exactly one of image or build must be given, found image and b"):
        made({"build": "docs"})


def test_long_values_are_cut() -> None:
    """An error shows the beginning of what was given."""
    with pytest.raises(ValueError, match="files=") as raised:
        made({"files": [{"content": "x" * 10_000, "target": "etc"}]})
    assert len(str(raised.value)) < 500


def test_more_than_the_caps_allow() -> None:
    """An argument that is too much is named, and all of them at once."""
    policy = Policy(cpus=1.0, bridge=False, origins={"bridge": "pytest.ini:3: it"})
    with pytest.raises(
        ValueError,
        match=r"^cpu=...: 2 CPUs is more than may be asked for: at most 1 CPU \(default\); "
        r'network=...: network="bridge" is not allowed \(pytest.ini:3: it\); '
        r"ports=...: publishing ports, which needs the engine's bridge, is not allowed \(pytest.ini:3: it\); "
        r"cap_add=...: 0: the capability SYS_TIME is not allowed \(default\) "
        r"\(do without, or have it allowed by the ini option clnrm_allow_cap_add\)$",
    ):
        made({"cpu": 2.0, "network": "bridge", "ports": [80], "cap_add": ["SYS_TIME"]}, policy=policy)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("volume", "there is no argument 'volume': did you mean \"volumes\"?"),
        ("detach", "there is no argument 'detach'"),
        *((name, f"{name}=1 is no argument: {NOT_ARGUMENTS[name]}") for name in NOT_ARGUMENTS),
    ],
)
def test_what_is_no_argument(argument: str, message: str) -> None:
    """It is Python's usual error, with what is meant or what to do instead."""
    with pytest.raises(TypeError) as raised:
        made({argument: 1})
    assert str(raised.value) == message
