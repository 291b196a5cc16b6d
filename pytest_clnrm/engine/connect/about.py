"""What an engine tells of itself beyond its facts, for who looks after it (``clnrm doctor``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.engine.connect.endpoints import named_endpoint
from pytest_clnrm.engine.plain_errors import CREDENTIAL_PROBLEMS, plain_errors
from pytest_clnrm.errors import PullError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts

_REGISTRY_S = 20


@dataclass(frozen=True, kw_only=True)
class AboutEngine:
    """An engine.

    :param origin: where the user named it (``DOCKER_HOST``); "" for one at a usual socket.
    :param api: the version that we speak to it, of those from ``oldest_api`` to ``newest_api``.
    :param cgroup: "1", "2" or "" if it does not tell.
    :param root: the folder of its data, on its machine; "" if it does not tell.
    :param index: name of the host at which it looks for images that name no registry, "" if it tells none.
    """

    facts: EngineFacts
    origin: str
    api: str
    oldest_api: str
    newest_api: str
    cgroup: str
    cgroup_driver: str
    storage: str
    root: str
    index: str


class Asked:
    """An engine that is asked for more.

    :ivar about: what it has told.
    """

    def __init__(self, client: APIClient, about: AboutEngine) -> None:
        self._client = client
        self.about = about

    def ask_registry(self, image: str) -> None:
        """Have the engine ask a registry for an image, without pulling it.

        :raises PullError: if it cannot reach the registry, or is refused.
        :raises ImageError: if there is no such image there.
        """
        self._client.timeout = _REGISTRY_S
        with plain_errors(f"ask the registry for the image {image!r}", PullError):
            try:
                self._client.inspect_distribution(image)  # type: ignore[no-untyped-call]
            except CREDENTIAL_PROBLEMS:
                # As for a pull: a helper that is broken keeps nobody from what is public.
                self._client.inspect_distribution(image, auth_config={})  # type: ignore[no-untyped-call]


@contextmanager
def asked(choice: str, *, environ: Mapping[str, str], runtime_dir: Path) -> Iterator[Asked]:
    """Connect to the engine that *choice* means, as a run does.

    :raises EngineUnavailableError: if there is none.
    """
    named = named_endpoint(choice, environ)
    client, facts = reach(choice, environ=environ, runtime_dir=runtime_dir)
    try:
        with plain_errors("ask the engine what it is"):
            info, version = client.info(), client.version()
        yield Asked(client, _about(facts, named.origin if named else "", client.api_version, info, version))
    finally:
        client.close()


def _about(
    facts: EngineFacts, origin: str, api: str, info: Mapping[str, Any], version: Mapping[str, Any]
) -> AboutEngine:
    return AboutEngine(
        facts=facts,
        origin=origin,
        api=api,
        oldest_api=str(version.get("MinAPIVersion") or ""),
        newest_api=str(version.get("ApiVersion") or ""),
        cgroup=str(info.get("CgroupVersion") or ""),
        cgroup_driver=str(info.get("CgroupDriver") or ""),
        storage=str(info.get("Driver") or ""),
        root=str(info.get("DockerRootDir") or ""),
        index=urlsplit(str(info.get("IndexServerAddress") or "")).hostname or "",
    )


def credential_helpers(environ: Mapping[str, str]) -> tuple[Path, frozenset[str]]:
    """Return Docker's own configuration file, and the names of the credential helpers in it.

    :raises ValueError: if the file is no JSON.
    :raises OSError: if it is there and cannot be read.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or Path.home()) / ".docker")
    file = folder / "config.json"
    if not file.exists():
        return file, frozenset()
    data = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        return file, frozenset()
    each = data.get("credHelpers")
    names = {data.get("credsStore"), *(each.values() if isinstance(each, dict) else ())}
    return file, frozenset(name for name in names if isinstance(name, str) and name)
