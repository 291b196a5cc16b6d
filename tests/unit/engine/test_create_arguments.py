"""Specifications as the engine's API takes them; proxies; states as it tells them."""

from __future__ import annotations

from typing import Any

import docker
import pytest

from pytest_clnrm.engine.api import ContainerSpec, Mount
from pytest_clnrm.engine.docker.containers import read_state
from pytest_clnrm.engine.docker.create_arguments import create_arguments, proxy_environment
from pytest_clnrm.engine.exec.waiting import KEEP_SHELL

# Nothing is asked of it: its version is given.
CLIENT = docker.APIClient("unix:///nowhere", version="1.41")


def arguments(
    *,
    relabel: bool = False,
    is_shared: bool = True,
    published_on: str = "127.0.0.1",
    end_mark: str = "",
    is_podman: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """Return the arguments for a small container with *changes*."""
    small: dict[str, Any] = {"name": "n", "image": "i", "memory_bytes": 1 << 26, "cpus": 0.5, "pids": 7}
    spec = ContainerSpec(**{**small, **changes})
    return create_arguments(
        CLIENT,
        spec,
        proxies={"http_proxy": "p", "A": "p"},
        published_on=published_on,
        relabel=relabel,
        is_shared=is_shared,
        is_podman=is_podman,
        end_mark=end_mark,
    )


def test_the_least_container() -> None:
    """Limits, no network, no privileges; nothing else."""
    found = arguments()
    assert found["host_config"] == {
        "Memory": 1 << 26,
        "MemorySwap": 1 << 26,
        "NanoCpus": 500_000_000,
        "PidsLimit": 7,
        "SecurityOpt": ["no-new-privileges"],
        "Init": True,
        "NetworkMode": "none",
    }
    assert found["labels"] == {}
    assert not {"command", "entrypoint", "working_dir", "user", "ports", "networking_config"} & set(found)


def test_a_container_that_waits_in_our_shell() -> None:
    """The shell takes the place of the engine's init, its input stays open, its log is short."""
    found = arguments(end_mark="mark", command=("sh", "-c", "x"), replace_entrypoint=True)
    assert (found["entrypoint"], found["command"]) == (["sh"], ["-c", "x", "mark"])
    assert found["stdin_open"] is True
    assert found["stop_signal"] == "SIGKILL"
    assert found["host_config"]["Init"] is False
    assert found["host_config"]["LogConfig"]["Config"]["max-size"] == str(1 << 20)


def test_the_log_is_bounded() -> None:
    """In Docker by three files, in Podman by one; that of our own shell is shorter anyway."""
    config = arguments(log_bytes=3000)["host_config"]["LogConfig"]
    assert config == {"Type": "json-file", "Config": {"max-size": "1000", "max-file": "3"}}
    config = arguments(log_bytes=3000, is_podman=True)["host_config"]["LogConfig"]
    assert config == {"Type": "k8s-file", "Config": {"max-size": "3000"}}
    waits = arguments(log_bytes=3000, end_mark="mark", command=("sh", "-c", "x"), replace_entrypoint=True)
    assert waits["host_config"]["LogConfig"]["Config"]["max-size"] == str(1 << 20)


def test_variables_of_the_container_win() -> None:
    """Over the proxies'; its labels are its own."""
    found = arguments(env={"A": "own"}, labels={"its": "own"})
    assert found["environment"] == {"http_proxy": "p", "A": "own"}
    assert found["labels"] == {"its": "own"}
    assert found["use_config_proxy"] is False


@pytest.mark.parametrize(
    ("command", "replace", "entrypoint", "cmd"),
    [
        (("a", "b"), False, None, ["a", "b"]),
        (("a", "b"), True, ["a"], ["b"]),
        (("a",), True, ["a"], []),
        ((), True, None, None),
        (None, True, None, None),
    ],
)
def test_command_and_entrypoint(
    *, command: tuple[str, ...] | None, replace: bool, entrypoint: list[str] | None, cmd: list[str] | None
) -> None:
    """A command replaces the entrypoint only where asked to."""
    found = arguments(command=command, replace_entrypoint=replace)
    assert (found.get("entrypoint"), found.get("command")) == (entrypoint, cmd)


def test_mounts() -> None:
    """SELinux needs the form that carries `z`; a colon in a path the other one."""
    mounts = (
        Mount(source="/a", target="/x", read_only=True),
        Mount(source="/b", target="/y", read_only=False),
        Mount(source="/c:d", target="/z", read_only=True),
    )
    host = arguments(mounts=mounts, relabel=True)["host_config"]
    assert host["Binds"] == ["/a:/x:ro,z", "/b:/y:rw,z"]
    assert host["Mounts"] == [{"Target": "/z", "Source": "/c:d", "Type": "bind", "ReadOnly": True}]
    assert arguments(mounts=mounts)["host_config"]["Binds"] == ["/a:/x:ro", "/b:/y:rw"]


def test_mounts_of_an_engine_that_may_lack_their_sources() -> None:
    """The form is that which is refused then; the other one has a folder made there."""
    mounts = (Mount(source="/b", target="/y", read_only=False),)
    host = arguments(mounts=mounts, is_shared=False)["host_config"]
    assert host["Mounts"] == [{"Target": "/y", "Source": "/b", "Type": "bind", "ReadOnly": False}]
    assert "Binds" not in host
    assert arguments(mounts=mounts, is_shared=False, relabel=True)["host_config"]["Binds"] == ["/b:/y:rw,z"]


def test_everything_else() -> None:
    """GPUs, scratch folders, where and as whom."""
    found = arguments(gpus=2, tmpfs=("/t",), workdir="/w", user="u")
    host = found["host_config"]
    request = host["DeviceRequests"][0]
    assert (request["Count"], request["Capabilities"]) == (2, [["gpu"]])
    assert host["Tmpfs"] == {"/t": "rw,exec,nosuid,nodev,mode=1777"}
    assert (found["working_dir"], found["user"]) == ("/w", "u")


def test_ports_are_published_on_a_free_port() -> None:
    """On the address that is given."""
    found = arguments(ports=(80, 443), published_on="0.0.0.0")  # noqa: S104 -- what it is about
    assert found["host_config"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}],  # noqa: S104
        "443/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}],  # noqa: S104
    }
    assert found["ports"] == [80, 443]


def test_names_on_the_first_network() -> None:
    """Given at creation; the engine's own networks know no further names."""
    found = arguments(networks=("net", "other"), aliases=("db", "d"))
    assert found["host_config"]["NetworkMode"] == "net"
    assert found["networking_config"]["EndpointsConfig"] == {"net": {"Aliases": ["db", "d"]}}
    found = arguments(networks=("bridge",), aliases=("db",))
    assert found["host_config"]["NetworkMode"] == "bridge"
    assert "networking_config" not in found


SETTINGS = {
    "proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "corp"}, "tcp://e": {"httpsProxy": "s"}}
}


def test_a_proxy_does_not_stand_between_containers() -> None:
    """Names of the scenario are reached without it, and so is what the user says."""
    found = proxy_environment(SETTINGS, "unix:///x", {}, ("db", "corp"))
    assert found == {
        "http_proxy": "http://p:1",
        "HTTP_PROXY": "http://p:1",
        "no_proxy": "corp,localhost,127.0.0.1,db",
        "NO_PROXY": "corp,localhost,127.0.0.1,db",
    }


def test_each_engine_may_have_its_own_proxy() -> None:
    """An entry for its address comes before the default."""
    found = proxy_environment(SETTINGS, "tcp://e", {}, ())
    assert (found["HTTPS_PROXY"], found["no_proxy"]) == ("s", "localhost,127.0.0.1")
    assert "http_proxy" not in found


def test_the_containers_own_variables_win() -> None:
    """In either spelling; a proxy of its own gets the exceptions as well."""
    env = {"HTTP_PROXY": "own"}
    assert proxy_environment({}, "u", env, ("db",)) == dict.fromkeys(
        ("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,db"
    )
    assert proxy_environment(SETTINGS, "u", {"http_proxy": "own", "NO_PROXY": "mine"}, ("db",)) == {}


@pytest.mark.parametrize(
    "settings", [{}, {"proxies": None}, {"proxies": {"default": "odd"}}, {"proxies": []}]
)
def test_without_a_proxy_nothing_is_set(settings: dict[str, Any]) -> None:
    """Also where the settings are not as they should be."""
    assert proxy_environment(settings, "u", {"A": "b"}, ("db",)) == {}


def test_a_state_is_read_from_the_engines_answer() -> None:
    """Ports that are published (IPv4 first), addresses that there are."""
    state = read_state(
        {
            "Id": "1",
            "State": {"Running": True, "ExitCode": 0, "Health": {"Status": "starting"}},
            "NetworkSettings": {
                "Ports": {
                    "80/tcp": [
                        {"HostIp": "127.0.0.1", "HostPort": "49153"},
                        {"HostIp": "::", "HostPort": "1"},
                    ],
                    "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "2"}],
                    "90/tcp": None,
                },
                "Networks": {"a": {"IPAddress": "10.0.0.2"}, "b": {"IPAddress": ""}, "c": None},
            },
        },
        host="there",
    )
    assert (state.running, state.exit_code, state.health) == (True, None, "starting")
    assert state.ports == {80: ("there", 49153)}
    assert state.udp_ports == {53: ("there", 2)}
    assert state.addresses == {"a": "10.0.0.2"}


@pytest.mark.parametrize(
    ("facts", "exit_code"),
    [
        ({"ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z"}, None),
        ({"ExitCode": 127, "StartedAt": "0001-01-01T00:00:00Z"}, 127),
        ({"ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"}, 0),
        ({"ExitCode": 0}, None),
    ],
)
def test_an_exit_code_is_one_of_a_container_that_ended(facts: dict[str, Any], exit_code: int | None) -> None:
    """One that was never started has none, unless the start itself failed."""
    state = read_state({"Id": "1", "State": {"Running": False, **facts}}, host="h")
    assert state.exit_code == exit_code


@pytest.mark.parametrize(
    ("began", "ended", "lived_s"),
    [
        ("2026-01-01T00:00:00.25Z", "2026-01-01T00:00:02.123456789Z", 1.873456789),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:01Z", 1),
        ("2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z", 0),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", None),
        (None, "odd", None),
    ],
)
def test_how_long_a_container_has_lived(began: str | None, ended: str, lived_s: float | None) -> None:
    """By the engine's clock, whose times have nanoseconds; a clock that was set back is no life below 0."""
    state = read_state({"Id": "1", "State": {"StartedAt": began, "FinishedAt": ended}}, host="h")
    assert state.lived_s == (None if lived_s is None else pytest.approx(lived_s, abs=1e-6))
    assert read_state({"Id": "1", "State": {"Running": True, "StartedAt": began}}, host="h").lived_s is None


def test_what_a_health_check_said_last() -> None:
    """Its exit code in words, and its output on one line."""
    log = [{"ExitCode": 0, "Output": "fine"}, {"ExitCode": 127, "Output": "sh: curl:\n not found\n"}]
    state = read_state({"Id": "1", "State": {"Running": True, "Health": {"Log": log}}}, host="h")
    assert state.health_said == "exit code 127 (command not found): sh: curl: not found"
    quiet = {"Running": True, "Health": {"Log": [{"ExitCode": 1, "Output": ""}]}}
    assert read_state({"Id": "1", "State": quiet}, host="h").health_said == "exit code 1"


def test_an_error_of_the_engine_is_told_in_plain_words() -> None:
    """A health check that is switched off is none."""
    facts = {"Running": False, "ExitCode": 127, "Error": "No such image: x", "Health": {"Status": "none"}}
    state = read_state({"Id": "1", "State": facts}, host="h")
    assert (state.error, state.health) == ("no such image on the engine: x", "")


def test_what_a_service_may_ask_for() -> None:
    """Sizes, limits, capabilities and names go to the engine as they are; labels of ours win."""
    found = arguments(
        shm_bytes=3,
        ulimits={"nofile": (1, 2)},
        cap_add=("NET_ADMIN",),
        cap_drop=("ALL",),
        new_privileges=True,
        read_only=True,
        hostname="h",
        extra_hosts={"a": "10.0.0.5"},
        stop_signal="SIGINT",
        own_volumes=("/v",),
        more_labels={"a": "theirs", "b": "theirs"},
        labels={"a": "ours"},
    )
    host = found["host_config"]
    assert (host["ShmSize"], host["CapAdd"], host["CapDrop"]) == (3, ["NET_ADMIN"], ["ALL"])
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 1, "Hard": 2}]
    assert (host.get("SecurityOpt"), host["ReadonlyRootfs"]) == ([], True)
    assert host["ExtraHosts"] == ["a:10.0.0.5"]
    assert (found["hostname"], found["stop_signal"], found["volumes"]) == ("h", "SIGINT", ["/v"])
    assert found["labels"] == {"a": "ours", "b": "theirs"}
    assert arguments(end_mark="m", command=KEEP_SHELL, stop_signal="SIGINT")["stop_signal"] == "SIGKILL"


def test_ports_of_udp_are_published_too() -> None:
    """On a free port of the loopback address, as those of TCP; the same number may be one of each."""
    found = arguments(ports=(53,), udp_ports=(53,))
    assert found["ports"] == [53, (53, "udp")]
    free = [{"HostIp": "127.0.0.1", "HostPort": ""}]
    assert found["host_config"]["PortBindings"] == {"53/tcp": free, "53/udp": free}
