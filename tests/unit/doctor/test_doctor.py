"""``clnrm doctor``: each check where it is broken, without an engine; the others are in tests/engine.

Broken for real: no socket, the ledger's folder, credential helpers, neighbours. Faked, as they cannot be
broken here: what an engine tells of its limits, place and clock, and what its DNS answers.
"""

from __future__ import annotations

import json
import logging
import struct
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from clnrm_testing.cluster import Cluster as ApiServer

from pytest_clnrm.cli.main import main
from pytest_clnrm.doctor import cluster, engine, examine, ledger, machine, network, registry, software
from pytest_clnrm.doctor.finding import Finding, good
from pytest_clnrm.doctor.patient import NoProbeError, Patient
from pytest_clnrm.engine.api import EngineFacts
from pytest_clnrm.engine.connect.about import AboutEngine
from pytest_clnrm.engine.kubernetes.rights import RIGHTS
from pytest_clnrm.errors import EngineError, EngineUnavailableError, ImageError, PullError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.settings.settings import Settings

MIB = 1024**2
FACTS = EngineFacts(
    identity="x",
    kind="docker",
    version="1",
    url="unix:///x.sock",
    host="127.0.0.1",
    remote=False,
    rootless=False,
    cpus=2,
    memory_bytes=4096 * MIB,
)
ABOUT = AboutEngine(
    facts=FACTS,
    origin="",
    api="1.41",
    oldest_api="1.12",
    newest_api="1.41",
    cgroup="2",
    cgroup_driver="systemd",
    storage="overlay2",
    root="/data",
    index="index.example",
)


def patient(facts: EngineFacts = FACTS, *, about: AboutEngine = ABOUT, **parts: Any) -> Patient:
    """Return somebody of whom only these parts are known.

    :param parts: attributes; ``settings`` are those beside the defaults.
    """
    settings = Settings(**parts.pop("settings", {}))
    budget = Budget(containers=10, memory_bytes=settings.memory_budget_bytes or facts.memory_bytes)
    known = {
        "settings": settings,
        "facts": facts,
        "asked": SimpleNamespace(about=replace(about, facts=facts)),
        "is_here": True,
        "runtime": SimpleNamespace(budget=lambda: budget),
        "environ": {},
        **parts,
    }
    return cast("Patient", SimpleNamespace(**known))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a project, in which the command is started, with an engine that is not there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    place = tmp_path / "project"
    place.mkdir()
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    monkeypatch.chdir(place)
    return place


def examined(
    capsys: pytest.CaptureFixture[str], *words: str, code: int = 1
) -> dict[str, tuple[str, str, str]]:
    """Return what each check of ``doctor --json`` has found: state, text, remedy."""
    assert main(["doctor", "--json", *words]) == code
    data = json.loads(capsys.readouterr().out)
    assert data["format"] == 1
    assert [each["check"] for each in data["checks"]] == list(examine.CHECKS)
    return {each["check"]: (each["state"], each["text"], each["remedy"]) for each in data["checks"]}


@pytest.mark.usefixtures("project")
def test_without_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is told once, with its reason; what needs no engine is told all the same."""
    found = examined(capsys)
    state, text, remedy = found["engine"]
    assert state == "broken"
    assert text == (
        f"no container engine at unix://{tmp_path}/nowhere.sock (DOCKER_HOST): there is no such socket"
    )
    assert remedy == "start it, or name another one with --clnrm-engine or DOCKER_HOST"
    assert {name for name, each in found.items() if each[0] == "good"} >= {"versions", "ledger's folder"}
    assert found["receiver"] == ("not tried", "see engine", "")
    assert [name for name, each in found.items() if each[0] == "broken"] == ["engine"]
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"broken     engine: {text}: {remedy}" in lines
    assert len(lines) == len(examine.CHECKS) + 1
    assert lines[-1].startswith("1 broken, ")


def test_settings_of_the_project(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Count, and options win over them; wrong ones are one error."""
    ini = project / "pytest.ini"
    ini.write_text("[pytest]\nclnrm_engine = tcp://127.0.0.1:1\n", encoding="utf-8")
    assert "127.0.0.1:1" in examined(capsys)["engine"][1]
    assert "other.sock" in examined(capsys, "--engine", f"unix://{tmp_path}/other.sock")["engine"][1]
    assert main(["doctor", "--engine", "x"]) == 1
    assert capsys.readouterr().err.startswith("clnrm: --clnrm-engine: 'x' is not an engine")


@pytest.mark.usefixtures("project")
def test_a_ledger_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of its folder is told there, and is no error of the engine."""
    (tmp_path / "file").touch()
    found = examined(capsys, "--ledger-dir", str(tmp_path / "file"))
    state, text, _ = found["ledger's folder"]
    assert state == "broken"
    assert f"the ledger's folder {tmp_path / 'file'} cannot be used" in text
    assert "set clnrm_ledger_dir to another folder" in text
    assert found["disks"] == ("not tried", "see ledger's folder", "")
    assert "nowhere.sock" in found["engine"][1]


def test_a_ledger_on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks may not hold, by what the kernel tells of mounts (here: a file)."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} nfs4 rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr(ledger, "MOUNTS", mounts)
    runtime = SimpleNamespace(folder=lambda: SimpleNamespace(path=tmp_path / "x"))
    found = ledger.folder(patient(runtime=runtime))
    assert (found.state, found.text) == ("warning", f"{tmp_path}/x is on nfs4, where locks may not hold")
    mounts.write_text("a / ext4 rw 0 0\n", encoding="utf-8")
    assert ledger.folder(patient(runtime=runtime)).state == "good"


@pytest.mark.parametrize(
    ("settings", "check", "text"),
    [
        ({"memory_bytes": 512 * MIB, "memory_budget_bytes": 64 * MIB}, machine.memory, "512 MB does not fit"),
        ({"memory_budget_bytes": 9000 * MIB}, machine.memory, "9000 MB is more than the engine's 4096 MB"),
        ({"cpus": 8.0}, machine.cpus, "gets 8 CPUs, and the engine has 2"),
        ({"cpus": 2.0, "cpu_budget": 1.0}, machine.cpus, "gets 2 CPUs, and all together have 1"),
    ],
)
def test_more_than_there_is(settings: dict[str, Any], check: examine.Check, text: str) -> None:
    """Limits that no container can get are told with both numbers, and a remedy."""
    found = check(patient(settings=settings))
    assert found.state in {"broken", "warning"}
    assert text in found.text
    assert "--clnrm-" in found.remedy


def test_a_ledger_that_was_rebuilt() -> None:
    """Is told there, and not as a line of the log."""

    def opened() -> SimpleNamespace:
        logging.getLogger("pytest_clnrm").warning("x.json is torn: the ledger was rebuilt")
        return SimpleNamespace(snapshot=lambda: None)

    found = ledger.ledger(patient(runtime=SimpleNamespace(ledger=opened)))
    assert (found.state, found.text) == ("warning", "x.json is torn: the ledger was rebuilt")


def test_memory_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less free memory than one container may take is a warning (the kernel's word is a file here)."""
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    102400 kB\n", encoding="ascii")
    assert machine.memory(patient()).text.startswith("only 100 MB of memory are free here")
    assert machine.memory(patient(is_here=False)).state == "good"
    (tmp_path / "meminfo").unlink()
    assert machine.memory(patient()) == good(
        "4096 MB for all containers: 8 of 512 MB at the same time (at most 10)"
    )


def test_limits_that_the_engine_ignores() -> None:
    """Are told in the words of a run."""
    facts = replace(FACTS, warnings=("The engine cannot limit swap: x.",))
    found = engine.limits(patient(facts))
    assert (found.state, found.text) == ("warning", "cgroup v2 (systemd): The engine cannot limit swap: x")
    assert engine.limits(patient()).state == "good"


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "on this machine, with root's rights"),
        ({"rootless": True}, "rootless: containers are used again only with --clnrm-pool inside"),
        ({"elsewhere": True}, "it is in a virtual machine or on another host"),
        ({"remote": True}, "this process runs in a container of the engine"),
    ],
)
def test_where_the_engine_is(facts: dict[str, bool], text: str) -> None:
    """Is told, with what is different there."""
    of = SimpleNamespace(relay=None, gateway="10.0.0.1")
    found = engine.place(patient(replace(FACTS, **facts), network=of))  # type: ignore[arg-type]
    assert found.state == "good"
    assert found.text.startswith(text)


@pytest.mark.parametrize(
    ("skew_s", "state", "text"),
    [(0.5, "good", ""), (60.0, "warning", "ahead of"), (-9.0, "warning", "behind")],
)
def test_the_clock(skew_s: float, state: str, text: str) -> None:
    """Of the engine may differ by two seconds."""
    clock = SimpleNamespace(clock_s=lambda: time.time() + skew_s)
    found = engine.clock(patient(engine=lambda: clock))
    assert found.state == state
    assert text in found.text


def helper(folder: Path, script: str) -> Finding:
    """Return what is found of a credential helper that is a script; "" for none."""
    (folder / "config.json").write_text('{"credsStore": "mine", "credHelpers": {"r.example": "mine"}}')
    program = folder / "docker-credential-mine"
    program.unlink(missing_ok=True)
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return registry.credentials(patient(environ={"DOCKER_CONFIG": str(folder), "PATH": str(folder)}))


def test_credential_helpers(tmp_path: Path) -> None:
    """Are called: one that is not there or fails is a warning, as public images need none."""
    found = helper(tmp_path, "")
    assert found.state == "warning"
    assert found.describe() == (
        "the credential helper docker-credential-mine is not on PATH: private images cannot be pulled: "
        f"install it, or take it out of {tmp_path}/config.json"
    )
    assert "(no bus\\x1b)" in helper(tmp_path, "printf 'no bus\\033' >&2; exit 1").text
    assert "(exit code 3)" in helper(tmp_path, "exit 3").text
    assert helper(tmp_path, "echo {}") == good("credential helpers answer: mine")
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    found = registry.credentials(patient(environ={"DOCKER_CONFIG": str(tmp_path)}))
    assert (found.state, found.remedy) == ("warning", "mend or remove its config.json")
    (tmp_path / "config.json").write_text("[]", encoding="utf-8")
    assert registry.credentials(patient(environ={"DOCKER_CONFIG": str(tmp_path)})).state == "good"


@pytest.mark.parametrize(
    ("error", "has", "state"),
    [
        (None, False, "good"),
        (PullError("cannot ask: offline"), False, "broken"),
        (PullError("cannot ask: offline"), True, "warning"),
        (ImageError("there is none"), False, "broken"),
        (ImageError("there is none"), True, "good"),
    ],
)
def test_the_registry(error: Exception | None, has: bool, state: str) -> None:  # noqa: FBT001
    """Is asked for the default image as it is mapped; what the engine has already is no matter of life."""
    images: list[str] = []

    def ask(image: str) -> None:
        images.append(image)
        if error:
            raise error

    def ensure(image: str, _pull: str) -> None:
        if not has:
            raise ImageError(image)

    of = patient(
        asked=SimpleNamespace(about=ABOUT, ask_registry=ask),
        engine=lambda: SimpleNamespace(ensure_image=ensure),
        settings={"image_map": (("alpine:*", "mirror.example/alpine:3"),)},
    )
    assert registry.registry(of).state == state
    assert images == ["mirror.example/alpine:3"]


def install(folder: Path, name: str, version: str) -> None:
    """Make a distribution that is installed, as far as its metadata tell."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_neighbours_that_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are named with their version; one that is newer than what was tried is not."""
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "pytest", "9.2.0")
    install(tmp_path, "pytest-tap", "3.5")
    install(tmp_path, "pytest-forked", "1.8.0")
    found = software.neighbours(patient())
    assert (found.state, found.text) == (
        "warning",
        "seen to fail by itself with pytest 9.2.0: pytest-tap 3.5",
    )
    (tmp_path / "pytest-9.2.0.dist-info" / "METADATA").write_text("Name: pytest\nVersion: 8.4.2\n")
    assert software.neighbours(patient()).state == "good"


def test_clashes_are_those_of_the_docs() -> None:
    """docs/neighbours.md has each of them, in that version."""
    text = (Path(__file__).parents[3] / "docs" / "neighbours.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in text.splitlines()
        if line.startswith("| pytest-")
    ]
    told = {row[1]: row[2] for row in rows if "it fails by itself with 9.2" in row[-2]}
    assert told == software.CLASHES


def test_dns() -> None:
    """A question and its answer as RFC 1035 has them; another's answer is none."""
    query = network.dns_query("db.example")
    assert query[2:] == (
        b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x02db\x07example\x00" + b"\x00\x01\x00\x01"
    )
    answer = query[:2] + struct.pack("!HHHHH", 0x8183, 1, 2, 0, 0)
    assert network.dns_answer(answer, query) == (3, 2)
    with pytest.raises(OSError, match="none to the question"):
        network.dns_answer(b"xx" + answer[2:], query)
    with pytest.raises(OSError, match="none to the question"):
        network.dns_answer(answer[:5], query)


class Line:
    """A connection that answers with a header of DNS."""

    def __init__(self, code: int | None) -> None:
        self._code = code
        self._data = b""

    def __enter__(self) -> Line:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def sendall(self, data: bytes) -> None:
        if self._code is not None:
            answer = data[2:4] + struct.pack("!HHHHH", 0x8180 | self._code, 1, 0 if self._code else 1, 0, 0)
            self._data = struct.pack("!H", len(answer)) + answer

    def recv(self, size: int) -> bytes:
        found, self._data = self._data[:size], self._data[size:]
        return found


@pytest.mark.parametrize(
    ("code", "inside", "outside"),
    [
        (0, "good", "good"),
        (3, "broken", "warning: names outside, such as index.example, are not resolved"),
        (None, "broken", "warning: names outside, such as index.example, are not resolved"),
    ],
)
def test_names(code: int | None, inside: str, outside: str) -> None:
    """Of containers and of hosts outside, as the engine's DNS tells them."""
    relay = SimpleNamespace(dial=lambda *_, **__: Line(code), id="r")
    of = patient(relay=relay, relay_name="clnrm-r", engine=lambda: SimpleNamespace(connect=lambda *_: None))
    assert network.names(of).state == inside
    found = network.outside_names(of)
    assert f"{found.state}: {found.text}".startswith(outside)


def test_containers_that_do_not_reach_us() -> None:
    """Without a network that leads here, the reason is told."""
    runtime = SimpleNamespace(networks=lambda: SimpleNamespace(why_out_of_reach="no relay for s390x"))
    of = SimpleNamespace(gateway="", relay=None)
    found = network.receiver(patient(network=of, runtime=runtime))
    assert (found.state, found.text) == ("broken", "containers do not reach this process: no relay for s390x")
    found = engine.place(patient(network=of, runtime=runtime))
    assert found.state == "warning"
    assert "no relay for s390x" in found.text


def test_a_check_that_fails_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; what fails of the same points to it."""

    def fails(_: Patient) -> Finding:
        raise EngineError("it is gone")

    def lacks(_: Patient) -> Finding:
        raise NoProbeError("there is no relay")

    def cannot(_: Patient) -> Finding:
        raise PermissionError(13, "Permission denied")

    def is_wrong(_: Patient) -> Finding:
        raise KeyError("x")

    monkeypatch.setattr(
        examine, "CHECKS", {"one": fails, "two": fails, "three": cannot, "four": lacks, "five": is_wrong}
    )
    assert list(examine.examine(patient())) == [
        ("one", Finding("broken", "it is gone")),
        ("two", Finding("not tried", "see one")),
        ("three", Finding("broken", "PermissionError: [Errno 13] Permission denied")),
        ("four", Finding("not tried", "there is no relay")),
        ("five", Finding("broken", "the check itself has failed: KeyError: 'x'")),
    ]


def test_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it answers, and what we may not do there, each with what it is for and the one remedy."""
    server = ApiServer(tmp_path)
    try:
        settings = Settings(engine="kubernetes", ledger_dir=tmp_path / "ledger")
        asked = Patient(settings, tmp_path, {"KUBECONFIG": str(server.kubeconfig())})
        assert cluster.rights(asked) == good(f"all {len(RIGHTS)} that runs need in the namespace")
        server.denied = {("create", "jobs"), ("get", "pods/log")}
        found = cluster.rights(asked)
        assert found.state == "broken"
        assert found.text == (
            "missing in the namespace: get pods/log (what services print); "
            "create jobs.batch (what all else of a run belongs to)"
        )
        assert found.remedy.startswith(f"kubectl apply -f {cluster.ROLE}, and a rolebinding")
        assert cluster.priorities(asked) == good(
            "the cluster gives room to scenarios of higher priority first"
        )
        server.classes.discard("clnrm-low")
        lacking = cluster.priorities(asked)
        assert lacking.state == "warning"
        assert lacking.text == "the cluster has no PriorityClass clnrm-low: runs get room in any order"
        assert lacking.remedy.startswith(f"kubectl apply -f {cluster.PRIORITIES}, which takes an admin")
        facts = replace(FACTS, kind="kubernetes", version="1.31", url="kubernetes://c/n")
        told = cluster.cluster(patient(engine=lambda: SimpleNamespace(facts=facts)))
        assert told == good("kubernetes 1.31 at kubernetes://c/n, named by --clnrm-engine")

        def refuse() -> None:
            raise EngineUnavailableError("there is no kubeconfig", ("looked for x", "Name it."))

        none = cluster.cluster(patient(engine=refuse))
        assert (none.state, none.text) == ("broken", "there is no kubeconfig")
        assert none.remedy == "looked for x Name it."
        monkeypatch.setattr(examine, "CHECKS_OF_A_CLUSTER", {"only this": lambda _: good("so")})
        assert list(examine.examine(patient(settings={"engine": "kubernetes"}))) == [
            ("only this", good("so"))
        ]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("found", "relay", "told"),
    [
        ((), "r", good("the network keeps out what a NetworkPolicy does not let in")),
        (("it ignores them",), "r", Finding("warning", "it ignores them", "use a network that heeds them")),
        ((), None, Finding("not tried", "no way")),
    ],
)
def test_policies_of_a_cluster(found: tuple[str, ...], relay: str | None, told: Finding) -> None:
    """Whether its network heeds them is tried, with an image that the nodes have."""
    runtime = SimpleNamespace(
        settings=Settings(default_image="img:1"),
        engine_warnings=("known", *found),
        end_trying=lambda: None,
        networks=lambda: SimpleNamespace(why_out_of_reach="no way"),
    )
    asked: list[str] = []
    engine = SimpleNamespace(
        ensure_image=lambda image, pull: asked.append(image), facts=SimpleNamespace(warnings=("known",))
    )
    seen = cluster.policies(
        patient(runtime=runtime, engine=lambda: engine, network=SimpleNamespace(relay=relay))
    )
    assert (seen.state, seen.text, seen.remedy[:29]) == (told.state, told.text, told.remedy)
    assert asked == ["img:1"]

    def refuse() -> None:
        raise EngineUnavailableError("there is no kubeconfig", ())

    lacking = cluster.policies(patient(runtime=runtime, engine=refuse))
    assert (lacking.state, lacking.text[-22:]) == ("not tried", "there is no kubeconfig")


@pytest.mark.usefixtures("project")
def test_a_cluster_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is told once, as an engine is."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert main(["doctor", "--json", "--engine", "kubernetes"]) == 1
    checks = {each["check"]: each["state"] for each in json.loads(capsys.readouterr().out)["checks"]}
    assert list(checks) == list(examine.CHECKS_OF_A_CLUSTER)
    assert [name for name, state in checks.items() if state == "broken"] == ["cluster"]
