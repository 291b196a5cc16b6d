"""Images, builds, networks and logs against a client that answers by the book."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from pytest_clnrm.engine.docker.containers import disconnect_container, remove_container
from pytest_clnrm.engine.docker.images import Images, PullProgress, lock_name, read_image
from pytest_clnrm.engine.docker.networks import SPACE, create_network, remove_network, subnets
from pytest_clnrm.errors import ContainerError, EngineError, ImageError, LostContainerError


def test_an_image_is_read_from_the_engines_answer() -> None:
    """An entrypoint stands before the command; a health check may be switched off; all may be missing."""
    image = read_image(
        "r", {"Id": "i", "Config": {"Entrypoint": ["e"], "Cmd": ["c"], "Volumes": {"/b": {}, "/a": {}}}}
    )
    assert (image.command, image.entrypoint, image.volumes) == (("e", "c"), ("e",), ("/a", "/b"))
    assert image.healthcheck_s == 0
    assert read_image("r", {"Id": "i", "Config": None}).command == ()


@pytest.mark.parametrize(
    ("check", "seconds"),
    [
        ({"Test": ["CMD", "x"]}, 180),
        ({"Test": ["NONE"]}, 0),
        ({"Test": []}, 0),
        ({"Test": ["CMD", "x"], "Interval": 10**9, "Timeout": 2 * 10**9, "Retries": 4}, 12),
        ({"Test": ["CMD-SHELL", "x"], "StartPeriod": 5 * 10**9, "Interval": 10**8, "Retries": 1}, 35.1),
    ],
)
def test_how_long_an_images_health_check_may_take(check: dict[str, Any], seconds: float) -> None:
    """Its start period, and as many runs as may fail; what it leaves out is the engine's default."""
    assert read_image("r", {"Id": "i", "Config": {"Healthcheck": check}}).healthcheck_s == seconds


def test_progress_adds_up_layers() -> None:
    """Messages about other things change nothing; a layer that is loaded counts as whole."""
    progress = PullProgress("r")
    assert progress.text == "pulling r"
    assert not progress.feed({"status": "Pulling from library/r", "id": "latest"})
    assert not progress.feed({"status": "Digest: sha256:1"})
    assert progress.feed({"status": "Pulling fs layer", "id": "a"})
    assert progress.feed({"status": "Already exists", "id": "b"})
    assert progress.text == "pulling r: 1 of 2 layers"
    detail = {"current": 3_100_000, "total": 8_000_000}
    assert progress.feed({"status": "Downloading", "id": "a", "progressDetail": detail})
    assert progress.text == "pulling r: 1 of 2 layers, 3 of 8 MB"
    assert not progress.feed(
        {"status": "Downloading", "id": "a", "progressDetail": {**detail, "current": 3_200_000}}
    )
    assert progress.feed(
        {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 8_000_000}}
    )
    assert progress.text == "pulling r: 1 of 2 layers, 8 of 8 MB"
    assert progress.feed({"status": "Pull complete", "id": "a"})
    assert progress.text == "pulling r: 2 of 2 layers, 8 of 8 MB"


class Puller:
    """Knows no image; answers pulls with events."""

    def __init__(self, *events: dict[str, Any], broken: bool = False) -> None:
        self.events = events
        self.broken = broken
        self.pulls: list[dict[str, Any]] = []

    def inspect_image(self, reference: str) -> dict[str, Any]:
        """Know nothing."""
        raise docker.errors.ImageNotFound(reference)

    def pull(self, reference: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Answer with the events."""
        self.pulls.append({"reference": reference, **options})
        if self.broken and "auth_config" not in options:
            raise docker.errors.DockerException("Credentials store error")
        return iter(self.events)


def test_a_pull_that_the_engine_reports_as_failed() -> None:
    """Its detailed message counts."""
    client = Puller({"status": "x"}, {"error": "short", "errorDetail": {"message": "toomanyrequests: wait"}})
    with pytest.raises(ImageError, match=r"^cannot pull the image 'r': the registry's rate limit"):
        Images(client, lambda _: nullcontext()).ensure("r", "missing", None)  # type: ignore[arg-type]
    client = Puller({"error": "toomanyrequests"})
    with pytest.raises(ImageError, match="rate limit"):
        Images(client, lambda _: nullcontext()).ensure("r", "always", None)  # type: ignore[arg-type]


def test_a_pull_that_leads_to_nothing() -> None:
    """An engine that says yes and has no image; credentials that cannot be had are done without."""
    client = Puller(broken=True)
    with pytest.raises(ImageError, match=r"^cannot use the image 'r': it is not on the engine although"):
        Images(client, lambda _: nullcontext()).ensure("r", "missing", None)  # type: ignore[arg-type]
    assert [each.get("auth_config") for each in client.pulls] == [None, {}]


def test_an_image_of_another_platform_is_pulled_for_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is there already counts for its platform alone; what is pulled has to be of it."""
    has = {"Id": "i", "Os": "linux", "Architecture": "arm", "Variant": "v7"}
    client = Puller({"status": "x"})
    monkeypatch.setattr(client, "inspect_image", lambda _: has)
    images = Images(client, lambda _: nullcontext())  # type: ignore[arg-type]
    for platform in (None, "linux/arm", "linux/arm/v7"):
        assert images.ensure("r", "missing", None, platform).platform == "linux/arm/v7"
    assert client.pulls == []
    with pytest.raises(ImageError, match=r"^cannot use the image 'r' for linux/arm64: the engine does not"):
        images.ensure("r", "never", None, "linux/arm64")
    with pytest.raises(
        ImageError, match=r"^cannot use the image 'r' for linux/amd64: what was pulled is for"
    ):
        images.ensure("r", "missing", None, "linux/amd64")
    assert [each["platform"] for each in client.pulls] == ["linux/amd64"]


def test_names_of_locks_are_names_of_files() -> None:
    """Whatever stands in a reference; different ones for different subjects."""
    assert lock_name("pull", "a/b:c@d").replace("-", "").isalnum()
    assert len({lock_name("pull", "a"), lock_name("pull", "b"), lock_name("build", "a")}) == 3


class Networks:
    """Refuses networks by text, removes none."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.asked: list[str] = []

    def create_network(self, name: str, *, ipam: Any, **_: Any) -> dict[str, str]:
        """Refuse as long as there are refusals."""
        self.asked.append(ipam["Config"][0]["Subnet"] if ipam else "")
        if self.refusals:
            raise docker.errors.APIError("x", explanation=self.refusals.pop(0))
        return {"Id": name}

    def remove_network(self, network: str) -> None:
        """Refuse."""
        raise docker.errors.APIError(network, explanation="odd")


def create(client: Networks) -> str:
    """Create a network."""
    return create_network(client, "n", internal=True, labels={})  # type: ignore[arg-type]


POOL = "could not find an available, non-overlapping IPv4 address pool among the defaults to assign"
OVERLAP = "Pool overlaps with other one on this address space"


def test_subnets_are_different_and_ours() -> None:
    """Each of 64 addresses inside the space."""
    found = list(subnets(random.SystemRandom()))
    assert len(set(found)) == len(found) == 64
    assert all(each.startswith("10.251.") and each.endswith("/26") for each in found)


def test_a_network_is_tried_with_our_own_addresses_when_the_pool_is_empty() -> None:
    """The engine's choice first; what it refuses is not asked for again."""
    client = Networks(POOL, OVERLAP)
    assert create(client) == "n"
    assert client.asked[0] == ""
    assert len(set(client.asked)) == 3


def test_addresses_that_are_all_taken() -> None:
    """An end, and what to do."""
    with pytest.raises(EngineError, match=rf"64 subnets tried in {SPACE}: remove networks"):
        create(Networks(POOL, *[OVERLAP] * 64))


@pytest.mark.parametrize("refusals", [["odd"], [POOL, "odd"], [OVERLAP]])
def test_other_refusals_are_errors(refusals: list[str]) -> None:
    """Nothing else is tried."""
    client = Networks(*refusals)
    with pytest.raises(EngineError, match=r"^cannot create the network 'n': "):
        create(client)
    assert len(client.asked) == len(refusals)


def test_a_network_that_cannot_be_removed() -> None:
    """The engine's reason."""
    with pytest.raises(EngineError, match=r"^cannot remove a network: odd$"):
        remove_network(Networks(), "n", is_podman=False)  # type: ignore[arg-type]


class Remover:
    """Answers removals in turn: a status and text, or success."""

    def __init__(self, *answers: tuple[int, str], gone: bool = False) -> None:
        self.answers = list(answers)
        self.gone = gone

    def inspect_container(self, container: str) -> dict[str, Any]:
        """Tell whether it is there."""
        if self.gone:
            raise docker.errors.NotFound(container)
        return {}

    def remove_container(self, container: str, *, v: bool, force: bool) -> None:
        """Answer."""
        assert v
        assert force
        if self.answers:
            status, text = self.answers.pop(0)
            kind = docker.errors.NotFound if status == 404 else docker.errors.APIError
            raise kind(container, response=SimpleNamespace(status_code=status), explanation=text)  # type: ignore[arg-type]


def test_a_removal_is_repeated_until_the_container_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another one removes it, or it does not die at once; not for ever."""
    monkeypatch.setattr("pytest_clnrm.engine.docker.containers._REMOVAL_POLL_S", 0.001)
    busy = (409, "removal of container c is already in progress")
    deaf = (500, "Could not kill running container c, cannot remove")
    remove_container(Remover(busy, deaf, (404, "No such container")), "c")  # type: ignore[arg-type]
    remove_container(Remover(), "c")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=r"^cannot remove the container: odd$"):
        remove_container(Remover((500, "odd")), "c")  # type: ignore[arg-type]
    # Podman complains of what it could not clean up behind one that it has removed.
    remove_container(Remover((500, "cleaning up container c: ..."), gone=True), "c")  # type: ignore[arg-type]
    monkeypatch.setattr("pytest_clnrm.engine.docker.containers._REMOVAL_S", -1)
    with pytest.raises(EngineError, match=r"^cannot remove the container: removal of"):
        remove_container(Remover(busy), "c")  # type: ignore[arg-type]


class Leaver:
    """A container that cannot be taken off its network; inspected it has one state after the other."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    def disconnect_container_from_network(self, container: str, network: str) -> None:
        """Refuse it."""
        response = SimpleNamespace(status_code=409)
        text = f"{container} is marked for removal, or something else is wrong with {network}"
        raise docker.errors.APIError(container, response=response, explanation=text)  # type: ignore[arg-type]

    def inspect_container(self, container: str) -> dict[str, Any]:
        """Tell what it is at; it is gone after the last."""
        if not self.states:
            raise docker.errors.NotFound(container)
        return {"State": {"Status": self.states.pop(0)}}


def test_a_container_that_is_being_removed_leaves_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes it off waits until it is gone; what is still there is an error, with the engine's reason."""
    monkeypatch.setattr("pytest_clnrm.engine.docker.containers._REMOVAL_POLL_S", 0.001)
    for states in ((), ("removing", "removing", "dead")):
        leaver = Leaver(*states)
        with pytest.raises(LostContainerError, match=r"^the container c is gone$"):
            disconnect_container(leaver, "n", "c")  # type: ignore[arg-type]
        assert leaver.states == []
    stays = r"^cannot take the container off its network: c is marked for removal, or .* wrong with n$"
    with pytest.raises(ContainerError, match=stays):
        disconnect_container(Leaver("running"), "n", "c")  # type: ignore[arg-type]
    monkeypatch.setattr("pytest_clnrm.engine.docker.containers._REMOVAL_S", -1)
    with pytest.raises(ContainerError, match=stays):
        disconnect_container(Leaver("removing", "removing"), "n", "c")  # type: ignore[arg-type]
