"""Connecting to the cluster that a run uses, and what it is and has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.api import EngineFacts
from pytest_clnrm.engine.kubernetes.choice import SCHEME
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.engine import KubernetesEngine
    from pytest_clnrm.engine.kubernetes.rest import Rest

_EXTRA = {"yaml": "PyYAML", "websocket": "websocket-client"}
_ENDS_AT_ONCE = (1, 22)
"""From this version on nodes list no pod that has ended."""
_UNKNOWN_CPUS = 100_000
_UNKNOWN_BYTES = 1 << 50
"""Where we may not ask what there is: the cluster's own quota and nodes decide."""
PULL_SECRETS = "CLNRM_PULL_SECRETS"
LIMITS = "the number of processes of a container is limited by its node alone, not by limits.pids"


def connect_cluster(choice: str, environ: Mapping[str, str]) -> KubernetesEngine:
    """Return the cluster that *choice* names as an engine.

    :param choice: ``kubernetes[://context[/namespace]]``.
    :raises EngineUnavailableError: if it cannot be used, with what to do.
    """
    missing = [package for module, package in _EXTRA.items() if find_spec(module) is None]
    if missing:
        raise EngineUnavailableError(
            f"--clnrm-engine {choice} needs {' and '.join(missing)}: pip install 'pytest-clnrm[kubernetes]'",
            (),
        )
    from pytest_clnrm.engine.kubernetes.access import find_access
    from pytest_clnrm.engine.kubernetes.engine import KubernetesEngine
    from pytest_clnrm.engine.kubernetes.queueing import Queueing
    from pytest_clnrm.engine.kubernetes.rest import Rest

    rest = Rest(find_access(choice, environ))
    secrets = tuple(filter(None, environ.get(PULL_SECRETS, "").replace(",", " ").split()))
    try:
        version = rest.call("ask the cluster for its version", "GET", "/version")
        # Also tells whether we may do anything here at all.
        rest.call("list the pods of the namespace", "GET", rest.path("pods"), query={"limit": "1"})
        nodes = _ask(rest, "/api/v1/nodes")
        queueing = Queueing.of(environ)
        facts = _facts(rest, version, nodes, queueing.slot)
    except EngineUnavailableError:
        rest.close()
        raise
    except Exception as error:
        rest.close()
        raise EngineUnavailableError(
            f"the cluster at {rest.access.server} cannot be used: {error}", ()
        ) from error
    return KubernetesEngine(
        rest,
        facts,
        architecture=_architecture(version, nodes),
        pull_secrets=secrets,
        queueing=queueing,
        grace_s=_grace_s(version),
    )


def _facts(rest: Rest, version: Mapping[str, Any], nodes: list[Mapping[str, Any]], slot: str) -> EngineFacts:
    from pytest_clnrm.engine.kubernetes.caps import amount, cap_of, limits_of

    access = rest.access
    ready = [each["status"]["allocatable"] for each in nodes if not each.get("spec", {}).get("unschedulable")]
    quotas = _ask(rest, f"/api/v1/namespaces/{access.namespace}/resourcequotas")

    def most(resource: str, otherwise: float) -> float:
        have = sum(amount(each.get(resource, "0")) for each in ready) if ready else otherwise
        names = (resource, f"requests.{resource}", f"limits.{resource}")
        return min([have, *(may for _, may in limits_of(quotas, *names))])

    return EngineFacts(
        identity=f"{SCHEME}-{_identity(rest)}",
        kind=SCHEME,
        version=str(version.get("gitVersion") or "").removeprefix("v"),
        url=access.url,
        host=access.server.split("//", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0],
        remote=True,
        rootless=False,
        elsewhere=True,
        cpus=max(1, int(most("cpu", _UNKNOWN_CPUS))),
        memory_bytes=int(most("memory", _UNKNOWN_BYTES)),
        gpus=int(most("nvidia.com/gpu", 0)),
        warnings=(LIMITS,),
        own_waiting=True,
        copies_volumes=True,
        ends_with_run=True,
        merges_streams=True,
        loses_containers=True,
        room_is_shared=True,
        cap=cap_of(quotas, ready, slot),
    )


def _identity(rest: Rest) -> str:
    """Return what is the same for all who use this namespace, by whatever address they reach its cluster."""
    namespace = rest.access.namespace
    found = _ask(rest, f"/api/v1/namespaces/{namespace}", whole=True)
    uid = str(found[0]["metadata"]["uid"]) if found else f"{rest.access.server}/{namespace}"
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


def _ask(rest: Rest, path: str, *, whole: bool = False) -> list[Mapping[str, Any]]:
    """Return what lies at a path, nothing where we may not know."""
    from pytest_clnrm.engine.kubernetes.rest import FORBIDDEN, NOT_FOUND, RefusedError

    try:
        answer = rest.call("look around on the cluster", "GET", path)
    except RefusedError as error:
        if error.status not in {FORBIDDEN, NOT_FOUND}:
            raise
        return []
    return [answer] if whole else list(answer.get("items") or ())


def _grace_s(version: Mapping[str, Any]) -> int:
    """Return how long a pod has to end when it is removed: none where it would stay listed for long.

    Nodes of old clusters list one that has ended until they look for what is left over, once a minute.
    Without a time to end it is listed no more at once, and its node ends it.
    """
    found = re.match(r"v?(\d+)\.(\d+)", str(version.get("gitVersion") or ""))
    return 0 if found and (int(found[1]), int(found[2])) < _ENDS_AT_ONCE else 1


def _architecture(version: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> str:
    """Return the nodes' architecture as images call it; the API server's where we may not see nodes."""
    found = {str(each["status"]["nodeInfo"]["architecture"]) for each in nodes}
    if len(found) > 1:
        raise EngineUnavailableError(
            f"the cluster's nodes are of several architectures ({', '.join(sorted(found))}): "
            "scenarios need nodes of one; use a namespace whose pods go to one kind of node",
            (),
        )
    return next(iter(found), str(version.get("platform") or "linux/amd64").rpartition("/")[2])
