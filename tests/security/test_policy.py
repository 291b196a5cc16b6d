"""A scenario file asks for more than whoever runs it allows, or fills the host's disk."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

# It may be looked at while it is being written.
WRITTEN = r"service 'default' has written \d+ MB into its container: at most 10 MB"


def test_a_file_asks_for_more_than_it_may(project: EndToEnd) -> None:
    """Each cap is told at its place when the file is read; nothing runs."""
    config = project.path / ".clnrm/config.toml"
    config.parent.mkdir()
    config.write_text(
        "[executor.policy]\nmax_memory_mb = 64\nmax_pids = 100\nmax_timeout_ms = 60000\n"
        "allow_bridge = false\nallow_volumes = false\n"
    )
    project.write(
        "a.clnrm.toml",
        '[meta]\ntimeout = "1h"\n[limits]\npids = 4194304\n[service.a]\nimage = "x"\nnetwork = "bridge"\n'
        'limits = { memory = "1g" }\nvolumes = [{ source = ".", target = "/x", read_only = true }]\n'
        '[[step]]\nrun = "true"\n',
    )
    run = project.run()
    assert "a.clnrm.toml:2:1: meta.timeout: 3600 s is more than may be asked for: at most 60 s" in run.text, (
        f"DID NOT FAIL\n{run.text}"
    )
    assert "(.clnrm/config.toml:4: executor.policy.max_timeout_ms)" in run.text
    assert "a.clnrm.toml:4:1: limits.pids: 4194304 processes is more than may be asked" in run.text
    assert "a.clnrm.toml:7:1: service.a.network: network" in run.text
    assert "a.clnrm.toml:8:12: service.a.limits.memory: 1024 MB is more than may be" in run.text
    assert "a.clnrm.toml:9:1: service.a.volumes: mounting files of the host is not allowed" in run.text
    assert "ask for less, or have the cap raised there" in run.text


def test_a_file_asks_for_privileges(project: EndToEnd) -> None:
    """Capabilities that are not listed, and gaining privileges, are told at their places; nothing runs."""
    project.write(
        "a.clnrm.toml",
        '[service.a]\nimage = "x"\ncap_add = ["NET_RAW", "SYS_ADMIN"]\nno_new_privileges = false\n'
        '[[step]]\nrun = "true"\n',
    )
    run = project.run("-o", "clnrm_allow_cap_add=NET_RAW")
    told = "a.clnrm.toml:3:23: service.a.cap_add[1]: the capability SYS_ADMIN is not allowed ("
    assert told in run.text, f"DID NOT FAIL\n{run.text}"
    assert "; allowed: NET_RAW" in run.text
    assert (
        "a.clnrm.toml:4:1: service.a.no_new_privileges: letting programs gain privileges is not allowed"
        in (run.text)
    )
    assert "cap_add[0]" not in run.text


def test_a_scenario_has_more_containers_than_it_may(project: EndToEnd) -> None:
    """Both numbers, when the file is read."""
    service = '[service.{name}]\nimage = "x"\n'
    services = "".join(service.format(name=name) for name in ("a", "b"))
    project.write("a.clnrm.toml", services + '[[step]]\nservice = "a"\nrun = "true"\n')
    run = project.run("-o", "clnrm_max_scenario_containers=1")
    assert "2 containers is more than may be asked for: at most 1 container (" in run.text, (
        f"DID NOT FAIL\n{run.text}"
    )


def test_a_container_fills_the_disk(project: EndToEnd) -> None:
    """A step that has written too much is ended, and what it has written is told."""
    project.write(
        "a.clnrm.toml",
        '[[step]]\nrun = "dd if=/dev/zero of=/large bs=1M count=20; sleep 8"\n',
    )
    run = project.run("-o", "clnrm_max_disk=10m")
    assert run.ret == pytest.ExitCode.TESTS_FAILED, f"DID NOT FAIL\n{run.text}"
    assert re.search(WRITTEN, run.text), run.text
    assert project.leftovers(run) == []


def test_a_container_fills_the_disk_with_removed_files(project: EndToEnd) -> None:
    """A file that has no name any more, and is open, is counted too; its engine does not."""
    script = "exec 9>/held; rm /held; dd if=/dev/zero bs=1M count=20 >&9; sleep 8"
    project.write("a.clnrm.toml", f'[[step]]\nrun = "{script}"\n')
    run = project.run("-o", "clnrm_max_disk=10m")
    assert run.ret == pytest.ExitCode.TESTS_FAILED, f"DID NOT FAIL\n{run.text}"
    assert re.search(WRITTEN, run.text), run.text


def test_a_service_fills_the_log(project: EndToEnd) -> None:
    """The engine keeps the end of what a service prints, and no more."""
    project.write(
        "a.clnrm.toml",
        '[service.a]\nimage = "x"\ncommand = ["sh", "-c", "yes | head -c 4m; touch /done; sleep 1000"]\n'
        'ready = { command = "test -e /done" }\n'
        '[[step]]\nrun = "touch /tmp/held; until test -e /tmp/go; do sleep 0.05; done"\n',
    )
    kept: list[int] = []

    def look(seen: object) -> None:
        assert isinstance(seen, dict)
        kept.append(len(project.client.logs(seen["a"]["Id"])))

    project.look(look, "-o", "clnrm_max_log=1m")
    assert 0 < kept[0] <= 1 << 20, f"DID NOT FAIL: {kept}"
