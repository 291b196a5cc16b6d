"""``clnrm doctor`` on a real engine: where all is well, and with what it looks for broken for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from clnrm_testing.daemon import own_engine
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.left_behind import IMAGE

from pytest_clnrm.cleanup.labels import LEDGER, name_stem, object_labels
from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.ledger.folder import open_folder

pytestmark = pytest.mark.engine

Found = Mapping[str, tuple[str, str]]


def doctor(
    folder: Path, *words: str, through: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Found:
    """Return what each check of ``doctor`` has found in a project: state, and text with remedy.

    :param through: a command that runs another one.
    """
    done = subprocess.run(
        [*through, sys.executable, "-m", "pytest_clnrm", "doctor", "--json", *words],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": "", **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    checks = json.loads(done.stdout)["checks"]
    assert done.returncode == any(each["state"] == "broken" for each in checks)
    return {each["check"]: (each["state"], f"{each['text']}: {each['remedy']}") for each in checks}


def states(found: Found, state: str) -> set[str]:
    """Return the names of the checks in a state."""
    return {name for name, (each, _) in found.items() if each == state}


def test_all_is_well(project: EndToEnd, tmp_path: Path) -> None:
    """Nothing is broken, containers reach the receiver, and nothing of it is left."""
    folder = project.write("pytest.ini", f"[pytest]\nclnrm_image_map = *={project.image}\n").parent
    ledger = tmp_path / "ledger"
    found = doctor(folder, "--ledger-dir", str(ledger))
    assert states(found, "broken") == set()
    assert found["receiver"][0] == "good"
    assert found["addresses"][0] == "good"
    ledger_id = open_folder(ledger, {}).ledger_id
    ours = {"label": f"{LEDGER}={ledger_id}"}
    assert project.client.containers(all=True, filters=ours) == []
    assert project.client.networks(filters=ours) == []


def test_what_is_broken(project: EndToEnd, tmp_path: Path) -> None:
    """A full disk, another folder than the engine's, budgets too small, what was kept, and a stranger."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    folder = project.write("pytest.ini", "[pytest]\n").parent
    ledger = open_folder(tmp_path / "ledger", {})
    _, facts = reach("auto", environ=os.environ, runtime_dir=tmp_path)
    if facts.remote or facts.elsewhere:
        pytest.skip("the engine's folders are elsewhere")
    kept = ledger.kept(facts.identity)
    kept.mkdir()
    (kept / "something").touch()
    stranger = project.client.create_container(
        project.image,
        ["sleep", "100"],
        name=f"{name_stem('0a1b2c3d', 'master')}1-stranger",
        labels=object_labels(ledger="another", session="0a1b2c3d", owner="x", worker="master"),
        use_config_proxy=False,
    )["Id"]
    script = (
        'mount -t tmpfs -o size=5m none . && cd "$PWD" && touch marker && '
        'printf "[pytest]\\nclnrm_memory_budget = 64m\\n" >pytest.ini && exec "$@"'
    )
    try:
        project.client.start(stranger)
        found = doctor(
            folder,
            "--ledger-dir",
            str(ledger.path),
            through=["unshare", "--mount", "sh", "-c", script, "sh"],
            environ={"TMPDIR": str(folder)},
        )
    finally:
        project.client.remove_container(stranger, force=True)
    for name, state, text in (
        ("disks", "broken", f"5 MB free in the folder of temporary files (TMPDIR), {folder}: make room"),
        ("memory", "broken", "a container of 512 MB does not fit into the budget of 64 MB"),
        ("volumes", "warning", f"the engine has another {folder} than this machine"),
        ("leftovers", "warning", "1 objects that --clnrm-keep left"),
        ("other ledgers", "warning", "ran on this engine: counted as load, never removed"),
    ):
        assert found[name][0] == state, found[name]
        assert text in found[name][1]
    # Whether a registry is reached is up to this machine.
    assert states(found, "broken") - {"registry"} == {"disks", "memory"}


def test_an_engine_without_a_way(tmp_path: Path) -> None:
    """Address pools used up, and then a firewall, on an engine that is offline."""
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nclnrm_image_map = *={IMAGE}\n", encoding="utf-8")
    with own_engine("--default-address-pool=base=10.99.0.0/24,size=24") as daemon:
        client, _ = daemon.connect()
        words = ("--engine", daemon.url, "--ledger-dir", str(tmp_path / "ledger"))
        subnets = {"Config": [{"Subnet": "10.251.0.0/16"}]}
        taken = client.create_network("taken", ipam=subnets)["Id"]  # type: ignore[arg-type]
        found = doctor(tmp_path, *words)
        assert found["addresses"][0] == "broken"
        assert "address pools are used up" in found["addresses"][1]
        assert found["receiver"] == ("not tried", "see addresses: ")
        client.remove_network(taken)
        client.close()
        through = ["nsenter", f"--net=/proc/{daemon.namespace}/ns/net"]
        subprocess.run(
            [*through, "iptables", "-I", "INPUT", "-p", "tcp", "-j", "REJECT"],
            check=True,
            capture_output=True,
        )
        found = doctor(tmp_path, *words, through=through)
        assert states(found, "broken") == {"receiver"}
        assert "a container does not reach the receiver of spans at 10.251." in found["receiver"][1]
        assert "such as `iptables -I INPUT -d 10.251." in found["receiver"][1]
        assert found["names"][0] == "good"
        assert states(found, "warning") == {"names outside", "registry"}
        assert f"{IMAGE}" in found["registry"][1]
