"""What is asked of a cluster for a container, and what it says of it.

What a pod cannot be is refused here, by one sentence that says what to do: nothing is left out silently.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.api import ContainerState
from pytest_clnrm.engine.exec.waiting import WAITING
from pytest_clnrm.engine.plain_errors import container_reason
from pytest_clnrm.errors import ContainerError, LostContainerError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, PullPolicy
    from pytest_clnrm.engine.kubernetes.copies import Copies

MAIN = "main"
TOOLS = "/.clnrm-tools"
JOURNAL = "/.clnrm-journal"
NETWORK = "clnrm.dev/network"
WAY_OUT = "clnrm.dev/way-out"
MADE_FOR = "clnrm.dev/made-for"
LABELS = "clnrm.dev/labels"
NAME = "clnrm.dev/name"
PULLS: dict[PullPolicy, str] = {"always": "Always", "missing": "IfNotPresent", "never": "Never"}
DEADLINE_S = 24 * 3600
"""A backstop: no pod of ours lives longer, whatever becomes of everything else."""
LOST_S = 5
"""How long a node that the cluster has lost is waited for; by itself a cluster waits five minutes."""

_NO_NETWORK = "none"
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NOT_DNS = re.compile(r"[^a-z0-9-]+")
_NAME_CHARS = 63
_DIGEST_CHARS = 8
_USER = re.compile(r"(\d+)(?::(\d+))?")
_OWN_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_NOT_CREATED = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")
_CANNOT_RUN = frozenset({"ContainerCannotRun", "StartError", "RunContainerError"})
# What takes a pod away that neither we nor its program wanted.
_TAKEN = frozenset(
    {
        "Evicted",
        "NodeLost",
        "Preempting",
        "Preempted",
        "NodeShutdown",
        "Terminated",
        "Shutdown",
        "UnexpectedAdmissionError",
        "NodeAffinity",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "DeadlineExceeded",
    }
)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names and addresses of the pods that a pod reaches by name: name -> address."""

    known: Mapping[str, str]

    def aliases(self) -> list[dict[str, Any]]:
        """Return them as a pod has them."""
        by_address: dict[str, list[str]] = {}
        for name, address in self.known.items():
            by_address.setdefault(address, []).append(name)
        return [{"ip": address, "hostnames": names} for address, names in by_address.items()]


def object_name(name: str) -> str:
    """Return *name* as an object of a cluster can have it; another one for each name."""
    plain = _NOT_DNS.sub("-", name.lower()).strip("-") or "x"
    if plain == name and len(name) <= _NAME_CHARS:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{plain[: _NAME_CHARS - _DIGEST_CHARS - 1].rstrip('-')}-{digest}"


def selector_of(labels: Mapping[str, str]) -> str:
    """Return what selects the objects with these labels; an empty value means any value."""
    return ",".join(f"{key}={value}" if value else key for key, value in labels.items())


def metadata(
    name: str, labels: Mapping[str, str], owner: Mapping[str, Any] | None, **more: str
) -> dict[str, Any]:
    """Return the metadata of an object of ours.

    :param labels: of this package: all are written down, and those that a cluster can search for are labels.
    :param owner: of the run, with which it goes.
    :param more: labels besides.
    """
    searched = {key: value for key, value in labels.items() if _LABEL_VALUE.fullmatch(value)}
    made: dict[str, Any] = {
        "name": object_name(name),
        "labels": {**searched, **more},
        "annotations": {LABELS: json.dumps(dict(labels)), NAME: name},
    }
    if owner is not None:
        made["ownerReferences"] = [
            {
                "apiVersion": owner.get("apiVersion") or "batch/v1",
                "kind": owner.get("kind") or "Job",
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
        ]
    return made


def refusals(spec: ContainerSpec) -> Iterator[str]:
    """Yield what a pod cannot be of what is asked for, each with what to do."""
    if writable := [each.target for each in spec.mounts if not each.read_only]:
        yield (
            f"the volume {writable[0]} is writable, and pods get copies of this host's files: leave "
            "read_only = false out, or keep what it writes as an artifact"
        )
    if spec.volumes:
        yield f"the volume {spec.volumes[0].target} is shared between services: pods have none in common"
    if spec.udp_ports:
        yield f"the UDP port {spec.udp_ports[0]} cannot be published: steps reach it inside, by name"
    if spec.ulimits:
        yield f"the limit {next(iter(spec.ulimits))} (ulimits) is the node's: set it in the service's command"
    if spec.stop_signal is not None:
        yield f"the signal to stop with is the image's: write STOPSIGNAL {spec.stop_signal} in its Dockerfile"
    if spec.user is not None and not _USER.fullmatch(spec.user):
        yield f"the user {spec.user!r} is a name, which only the image knows: write its number"


def hostname_of(spec: ContainerSpec) -> str:
    """Return the name under which a pod knows itself."""
    return object_name(spec.hostname or (spec.aliases[0] if spec.aliases else spec.name))


def has_one_name(spec: ContainerSpec) -> bool:
    """Tell whether a container has no name but the one under which its pod knows itself anyway."""
    return set(spec.aliases) <= {hostname_of(spec)}


def pod(
    name: str,
    spec: ContainerSpec,
    *,
    pull: PullPolicy,
    owner: Mapping[str, Any],
    tools: str,
    copies: Copies,
    hosts: Hosts,
    namespace: str,
    pull_secrets: tuple[str, ...] = (),
    grace_s: int = 1,
) -> dict[str, Any]:
    """Return the pod of a container.

    :param name: its own, which may be another one than the container's.
    :param tools: name of the ConfigMap with our programs.
    :param copies: what it gets of this host.
    :param grace_s: how long it has to end when it is removed.
    """
    network = spec.networks[0] if spec.networks else ""
    hostname = hostname_of(spec)
    volumes: list[dict[str, Any]] = [
        {"name": "clnrm-tools", "configMap": {"name": tools, "defaultMode": 0o755}},
        {"name": "clnrm-journal", "emptyDir": {}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "clnrm-tools", "mountPath": TOOLS, "readOnly": True},
        {"name": "clnrm-journal", "mountPath": JOURNAL},
    ]
    for count, (path, memory) in enumerate(
        [*((each, True) for each in spec.tmpfs), *((each, False) for each in spec.own_volumes)]
    ):
        volumes.append({"name": f"own-{count}", "emptyDir": {"medium": "Memory"} if memory else {}})
        mounts.append({"name": f"own-{count}", "mountPath": path})
    if spec.shm_bytes:
        size = str(spec.shm_bytes)
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 (its own)
    copies.add_to(volumes, mounts)
    main: dict[str, Any] = {
        "name": MAIN,
        "image": spec.image,
        "imagePullPolicy": PULLS[pull],
        "resources": _resources(spec),
        "volumeMounts": mounts,
        # As no container can have a literal $(...) otherwise.
        "env": [{"name": key, "value": value.replace("$(", "$$(")} for key, value in spec.env.items()],
        "securityContext": _security(spec),
    }
    if spec.command is not None and spec.command in WAITING:
        main["command"] = [f"{TOOLS}/clnrm", "pause"]
    elif spec.command is not None:
        main["command" if spec.replace_entrypoint else "args"] = [
            each.replace("$(", "$$(") for each in spec.command
        ]
    elif spec.replace_entrypoint:
        main["command"] = []
    if spec.workdir is not None:
        main["workingDir"] = spec.workdir
    made: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_S,
        "terminationGracePeriodSeconds": grace_s,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "hostname": hostname,
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{each}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": LOST_S,
            }
            for each in ("not-ready", "unreachable")
        ],
        "hostAliases": [
            *hosts.aliases(),
            *({"ip": address, "hostnames": [name]} for name, address in spec.extra_hosts.items()),
        ],
        "containers": [main],
        "volumes": volumes,
    }
    if pull_secrets:
        made["imagePullSecrets"] = [{"name": each} for each in pull_secrets]
    if network:
        made["subdomain"] = network
        # The names of its network come first where the cluster has a DNS.
        made["dnsConfig"] = {"searches": [f"{network}.{namespace}.svc.cluster.local"]}
    labels = {NETWORK: network or _NO_NETWORK, WAY_OUT: "yes" if len(spec.networks) > 1 else "no"}
    if name != (given := object_name(spec.name)):
        labels[MADE_FOR] = given
    about = {**metadata(spec.name, spec.labels, owner, **labels), "name": name}
    about["annotations"].update(
        {
            f"clnrm.dev/label-{count}": f"{key}={value}"
            for count, (key, value) in enumerate(spec.more_labels.items())
        }
    )
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": made}


def files_name(pod: str) -> str:
    """Return the name of the Secret of what is copied into a pod."""
    return object_name(f"{pod}-files")


def files_secret(name: str, spec: ContainerSpec, copies: Copies, owner: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Secret of what is copied into a container.

    :param name: of its pod.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(files_name(name), spec.labels, owner),
        "data": copies.data(),
    }


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    amounts: dict[str, str] = {"memory": str(spec.memory_bytes), "cpu": f"{round(spec.cpus * 1000)}m"}
    if spec.gpus:
        amounts["nvidia.com/gpu"] = str(spec.gpus)
    # The same: what is asked for is there, and nobody gets more at the cost of others.
    return {"requests": amounts, "limits": amounts}


def _security(spec: ContainerSpec) -> dict[str, Any]:
    made: dict[str, Any] = {
        "allowPrivilegeEscalation": spec.new_privileges,
        "readOnlyRootFilesystem": spec.read_only,
    }
    if spec.cap_add or spec.cap_drop:
        made["capabilities"] = {
            key: [each.upper().removeprefix("CAP_") for each in given]
            for key, given in (("add", spec.cap_add), ("drop", spec.cap_drop))
            if given
        }
    if spec.user is not None and (match := _USER.fullmatch(spec.user)):
        made["runAsUser"] = int(match[1])
        made["runAsGroup"] = int(match[2] or 0)
    return made


def main_status(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pod says of its container, {} if nothing so far."""
    for each in found.get("status", {}).get("containerStatuses") or ():
        if each.get("name") == MAIN:
            return dict(each.get("state") or {})
    return {}


def check_taken(found: Mapping[str, Any]) -> None:
    """Raise LostContainerError if the cluster has taken a pod away."""
    status = found.get("status", {})
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    for each in status.get("conditions") or ():
        if each.get("type") == "DisruptionTarget" and each.get("status") == "True":
            reason, message = str(each.get("reason")), str(each.get("message") or "")
            break
    else:
        if found["metadata"].get("deletionTimestamp"):
            raise LostContainerError(
                f"the pod {found['metadata']['name']} is being removed: its node is lost, or somebody did it"
            )
        if reason not in _TAKEN:
            return
    raise LostContainerError(
        f"the cluster has taken the pod {found['metadata']['name']} away: {reason}"
        + (f" ({' '.join(message.split())})" if message else "")
    )


class LateAddress(Mapping[str, str]):
    """The address of a pod on its network, which is asked for when somebody wants to know it.

    :param ask: returns the address, "" if it has none; may take a second.
    """

    def __init__(self, network: str, ask: Callable[[], str]) -> None:
        self._network = network
        self._ask = ask

    def __getitem__(self, network: str) -> str:
        if network != self._network or not network:
            raise KeyError(network)
        return self._ask()

    def __iter__(self) -> Iterator[str]:
        return iter([self._network] if self._network else [])

    def __len__(self) -> int:
        return int(bool(self._network))


def is_told(found: Mapping[str, Any]) -> bool:
    """Tell whether its node has told that a pod's container runs, or has run."""
    return bool({"running", "terminated"} & main_status(found).keys())


def name_of(found: Mapping[str, Any]) -> str:
    """Return a pod's name."""
    return str(found["metadata"]["name"])


def network_of(found: Mapping[str, Any]) -> str:
    """Return the network that a pod was made on, "" for none."""
    network = str((found["metadata"].get("labels") or {}).get(NETWORK) or "")
    return "" if network == _NO_NETWORK else network


def address_of(found: Mapping[str, Any]) -> str:
    """Return a pod's address, "" if it is not known so far."""
    return str(found.get("status", {}).get("podIP") or "")


def state_of(found: Mapping[str, Any]) -> ContainerState:
    """Return the state of a container.

    :raises LostContainerError: if the cluster has taken it away.
    """
    check_taken(found)
    name, status = name_of(found), main_status(found)
    address, network = address_of(found), network_of(found)
    addresses = {network: address} if network and address else {}
    if "running" in status:
        return ContainerState(id=name, running=True, exit_code=None, oom_killed=False, addresses=addresses)
    ended = status.get("terminated")
    if ended is None:
        waiting = status.get("waiting") or {}
        error = str(waiting.get("message") or waiting.get("reason") or "")
        return ContainerState(id=name, running=False, exit_code=None, oom_killed=False, error=error)
    began, over = moment_s(ended.get("startedAt")), moment_s(ended.get("finishedAt"))
    reason = str(ended.get("reason") or "")
    return ContainerState(
        id=name,
        running=False,
        exit_code=int(ended.get("exitCode", 0)),
        oom_killed=reason == "OOMKilled",
        error=container_reason(str(ended.get("message") or "")) if reason in _CANNOT_RUN else "",
        lived_s=max(0.0, over - began) if began and over else None,
    )


def problem_of(found: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why a pod cannot start: what is wrong ("image" or "container") and how; None if it still may."""
    status = main_status(found)
    waiting = status.get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    message = str(waiting.get("message") or reason)
    if reason in _OWN_PULL:
        return "image", message
    if reason in _NOT_CREATED:
        return "container", container_reason(message)
    ended = status.get("terminated") or {}
    if ended.get("reason") in _CANNOT_RUN:
        return "container", container_reason(str(ended.get("message") or ended["reason"]))
    return None


def unscheduled(found: Mapping[str, Any]) -> str:
    """Return why no node has room for a pod, "" if one has."""
    for each in found.get("status", {}).get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return str(each.get("message") or each.get("reason") or "")
    return ""


def refuse(spec: ContainerSpec) -> None:
    """Raise ContainerError if a pod cannot be what is asked for."""
    found = list(refusals(spec))
    if found:
        raise ContainerError(f"a cluster cannot run this: {'; '.join(found)}")


def moment_s(text: object) -> float:
    """Return a moment that the cluster tells, in seconds since 1970; 0 if it is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
