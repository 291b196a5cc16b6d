"""Which cluster is meant, and by what it lets us in."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from clnrm_testing.cluster import Cluster

from pytest_clnrm.engine.connect.connect import connect
from pytest_clnrm.engine.kubernetes import connect as connecting
from pytest_clnrm.engine.kubernetes import rights
from pytest_clnrm.engine.kubernetes.access import find_access
from pytest_clnrm.engine.kubernetes.choice import is_cluster
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.engine.kubernetes.engine import KubernetesEngine
from pytest_clnrm.errors import EngineUnavailableError

EKS = "arn:aws:eks:eu-west-1:1:cluster/prod"


def config(folder: Path, name: str = "config", **more: Any) -> Path:
    """Write a kubeconfig and return its path."""
    written = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://c:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
            {"name": EKS, "context": {"cluster": "c", "user": "u", "namespace": "own"}},
        ],
        **more,
    }
    file = folder / name
    file.write_text(yaml.safe_dump(written), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("choice", "context", "namespace"),
    [
        ("kubernetes", "here", "default"),
        ("kubernetes://here", "here", "default"),
        ("kubernetes://here/tests", "here", "tests"),
        ("kubernetes:///tests", "here", "tests"),
        (f"kubernetes://{EKS}", EKS, "own"),
        (f"kubernetes://{EKS}/other", EKS, "other"),
    ],
)
def test_context_and_namespace(tmp_path: Path, choice: str, context: str, namespace: str) -> None:
    """A context may have slashes in its name; without one the current one is meant."""
    assert is_cluster(choice)
    found = find_access(choice, {"KUBECONFIG": str(config(tmp_path))})
    assert (found.context, found.namespace, found.server) == (context, namespace, "https://c:6443")
    assert found.url == f"kubernetes://{context}/{namespace}"
    assert found.token() == "t"


def test_several_files(tmp_path: Path) -> None:
    """The first that has a name wins; those that are not there do not matter."""
    first = config(tmp_path, "first", users=[{"name": "u", "user": {"token": "first"}}], contexts=[])
    second = config(tmp_path, "second", **{"current-context": "other"})
    found = find_access("kubernetes", {"KUBECONFIG": f"{tmp_path}/none:{first}:{second}"})
    assert (found.context, found.token()) == ("here", "first")


@pytest.mark.parametrize(
    ("choice", "more", "said"),
    [
        ("kubernetes://nowhere", {}, "has no context 'nowhere'"),
        ("kubernetes", {"current-context": ""}, "has no current one"),
        ("kubernetes://here/Not_A_Namespace", {}, "'Not_A_Namespace' cannot be a namespace"),
        ("kubernetes", {"clusters": []}, "has no cluster 'c', which its context names"),
        ("kubernetes", {"clusters": [{"name": "c", "cluster": {"server": "c"}}]}, "which is no address"),
        (
            "kubernetes",
            {"clusters": [{"name": "c", "cluster": {"server": "https://c", "certificate-authority": "/no"}}]},
            "certificates for https://c cannot be used",
        ),
        (
            "kubernetes",
            {"users": [{"name": "u", "user": {"auth-provider": {}, "username": "x"}}]},
            "not supported",
        ),
        ("kubernetes", {"users": [{"name": "u", "user": {"username": "x"}}]}, "username is not supported"),
        ("kubernetes", {"users": "x"}, "is no kubeconfig"),
    ],
)
def test_unusable(tmp_path: Path, choice: str, more: dict[str, Any], said: str) -> None:
    """One error that says what is wrong."""
    with pytest.raises(EngineUnavailableError, match=said):
        find_access(choice, {"KUBECONFIG": str(config(tmp_path, **more))})


def test_no_kubeconfig(tmp_path: Path) -> None:
    """It says where it was looked for."""
    with pytest.raises(EngineUnavailableError, match="there is no kubeconfig") as caught:
        find_access("kubernetes", {"HOME": str(tmp_path)})
    assert f"{tmp_path}/.kube/config" in caught.value.details[0]
    (tmp_path / "bad").write_text("a: [")
    with pytest.raises(EngineUnavailableError, match=r"bad cannot be read"):
        find_access("kubernetes", {"KUBECONFIG": f"{tmp_path}/bad"})


def plugin(folder: Path, said: str, **more: Any) -> Path:
    """Write a kubeconfig with a command that tells the token, and return its path."""
    command = folder / "tell"
    command.write_text(f"#!/bin/sh\necho x >> {folder}/asked\n{said}\n")
    command.chmod(0o755)
    about = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./tell", **more}
    return config(folder, users=[{"name": "u", "user": {"exec": about}}])


def test_a_command_tells_the_token(tmp_path: Path) -> None:
    """It is asked once, and again when its token is about to expire."""
    answer = json.dumps({"status": {"token": "told", "expirationTimestamp": "2099-01-01T00:00:00Z"}})
    found = find_access("kubernetes", {"KUBECONFIG": str(plugin(tmp_path, f"echo '{answer}'"))})
    assert [found.token(), found.token()] == ["told", "told"]
    assert (tmp_path / "asked").read_text() == "x\n"
    old = answer.replace("2099", "2001")
    found = find_access("kubernetes", {"KUBECONFIG": str(plugin(tmp_path, f"echo '{old}'"))})
    assert [found.token(), found.token()] == ["told", "told"]
    assert (tmp_path / "asked").read_text() == "x\n" * 3


@pytest.mark.parametrize(
    ("said", "more", "error"),
    [
        ("echo no login >&2; exit 1", {}, "tell failed: no login"),
        ("echo '{}'", {}, "told no token"),
        ("true", {"apiVersion": "x/v9"}, "speaks x/v9, known are"),
        ("true", {"command": "./none"}, "told no token: FileNotFoundError"),
    ],
)
def test_a_command_that_tells_none(tmp_path: Path, said: str, more: dict[str, Any], error: str) -> None:
    """Its own words are told."""
    found = find_access("kubernetes", {"KUBECONFIG": str(plugin(tmp_path, said, **more))})
    with pytest.raises(EngineUnavailableError, match=error):
        found.token()


def test_connected_by_the_option(cluster: Cluster, tmp_path: Path) -> None:
    """As any other engine; what it is and has is told, as far as we may ask."""
    environ = {"KUBECONFIG": str(cluster.kubeconfig())}
    engine = connect("kubernetes", environ=environ, runtime_dir=tmp_path, locks=lambda name: nullcontext())
    assert isinstance(engine, KubernetesEngine)
    assert (engine.facts.kind, engine.facts.version) == ("kubernetes", "1.20.2")
    assert engine.facts.url == "kubernetes://here/tests"
    assert engine.facts.identity.startswith("kubernetes-")
    assert len(engine.facts.warnings) == 1
    engine.close()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            (403, "Forbidden", "pods is forbidden"),
            r"cannot be used: .* pods is forbidden \(the smallest Role",
        ),
        ((401, "Unauthorized", "expired"), "does not know who we are"),
    ],
)
def test_a_cluster_that_refuses(cluster: Cluster, failure: tuple[int, str, str], said: str) -> None:
    """It is told when it is connected, not with each scenario."""
    cluster.failures["GET", "pods"] = [failure]
    with pytest.raises(EngineUnavailableError, match=said):
        connect_cluster("kubernetes", {"KUBECONFIG": str(cluster.kubeconfig())})


def test_a_cluster_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, and no other is tried; the log of a test that fails by that is not full of our tries."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.rest._TRIES", 2)
    file = config(tmp_path, clusters=[{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}])
    with pytest.raises(
        EngineUnavailableError, match=r"the cluster at http://127.0.0.1:1 does not answer"
    ) as caught:
        connect_cluster("kubernetes", {"KUBECONFIG": str(file)})
    assert "no other engine was tried" in caught.value.details[0]
    assert caplog.records == []


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setattr(connecting, "find_spec", lambda name: None)
    with pytest.raises(
        EngineUnavailableError, match=r"needs PyYAML and websocket-client: pip install 'pytest-clnrm"
    ):
        connect_cluster("kubernetes", {})


def test_rights(cluster: Cluster) -> None:
    """Each is asked for, and what is missing is told with what it is for."""
    environ = {"KUBECONFIG": str(cluster.kubeconfig())}
    assert rights.asked("kubernetes", environ, rights.missing_rights) == []
    cluster.denied = {("create", "pods/exec"), ("delete", "jobs")}
    assert list(map(str, rights.asked("kubernetes://here/other", environ, rights.missing_rights))) == [
        "create pods/exec (steps)",
        "delete jobs.batch (to end a run)",
    ]
    assert rights.asked("auto", {}, rights.missing_rights) == []


def test_the_role_that_is_shipped_is_what_is_asked_for() -> None:
    """No right more, and none less."""
    role = yaml.safe_load((Path(rights.__file__).parent / "role.yaml").read_text(encoding="utf-8"))
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(each.verb, each.group, each.resource) for each in rights.RIGHTS}
    page = (Path(__file__).parents[4] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    assert [each for each in rights.RIGHTS if f"| `{each.resource}` |" not in page] == []
