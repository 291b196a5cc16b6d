"""The labels by which our containers, networks, volumes and images are known: written here, read here.

Ledger and owner decide who may remove an object: nothing of another ledger is ever touched, and of ours only
what a dead owner left. The limits are labels too, so that a list of containers tells what they hold.

A container also has its image's labels, and a Dockerfile may set any. So labels alone do not make a container
ours: its name, which no image can set, has to be the one that its labels say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_clnrm.model.demand import Demand
from pytest_clnrm.model.service import OURS

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import OwnedObject

LEDGER = f"{OURS}.ledger"
SESSION = f"{OURS}.session"
OWNER = f"{OURS}.owner"
WORKER = f"{OURS}.worker"
SCENARIO = f"{OURS}.scenario"
_BUILT_BY = f"{OURS}.built-by"
_PREPARED_BY = f"{OURS}.prepared-by"
_MEMORY_BYTES = f"{OURS}.memory_bytes"
_CPUS = f"{OURS}.cpus"
_GPUS = f"{OURS}.gpus"
_MAX_DIGITS = 20


def object_labels(
    *, ledger: str, session: str, owner: str, worker: str, scenario: str = ""
) -> dict[str, str]:
    """Return the labels of a container, network or volume.

    :param ledger: id of the ledger that counts it.
    :param owner: the ledger's owner of the lease that it is created under.
    :param scenario: a node id, "" for what serves several.
    """
    labels = {LEDGER: ledger, SESSION: session, OWNER: owner, WORKER: worker}
    return {**labels, SCENARIO: scenario} if scenario else labels


def limit_labels(*, memory_bytes: int, cpus: float, gpus: int) -> dict[str, str]:
    """Return the labels that tell a container's limits."""
    return {_MEMORY_BYTES: str(memory_bytes), _CPUS: f"{cpus:g}", _GPUS: str(gpus)}


def image_labels(ledger: str) -> dict[str, str]:
    """Return the label of a built image. It is the same in each run, as another one would make another image.

    It is not among an object's labels: containers also have their image's.
    """
    return {_BUILT_BY: ledger}


def prepared_labels(ledger: str) -> dict[str, str]:
    """Return the label of an image that holds the first start of a service."""
    return {_PREPARED_BY: ledger}


def name_stem(session: str, worker: str) -> str:
    """Return what the names of the containers and networks of a worker begin with."""
    return f"clnrm-{session}-{worker}-"


def relay_stem(session: str, worker: str) -> str:
    """Return what the names of a worker's relays begin with; other containers have a number there."""
    return f"{name_stem(session, worker)}relay"


def is_relay(subject: OwnedObject) -> bool:
    """Tell whether an object of ours is a relay, which counts as a container of nobody's."""
    labels = subject.labels
    stem = relay_stem(labels.get(SESSION, ""), labels.get(WORKER, ""))
    return subject.kind == "container" and subject.name.startswith(stem)


def is_made_here(subject: OwnedObject) -> bool:
    """Tell whether a run of this package, on whatever ledger, made a container, network or volume."""
    labels = subject.labels
    if not labels.get(LEDGER) or not labels.get(OWNER) or not labels.get(SESSION):
        return False
    # Networks and volumes have no image whose labels they could have.
    stem = name_stem(labels[SESSION], labels.get(WORKER, ""))
    return subject.kind != "container" or subject.name.startswith(stem)


def load_of(labels: Mapping[str, str]) -> Demand:
    """Return what a container holds, by its labels; nothing where they do not say."""
    return Demand(
        containers=1,
        memory_bytes=int(_number(labels, _MEMORY_BYTES)),
        cpus=_number(labels, _CPUS),
        gpus=int(_number(labels, _GPUS)),
    )


def owner_of(lease: str) -> str:
    """Return the id of the owner in the id of one of its leases."""
    return lease.rpartition("-")[0]


def _number(labels: Mapping[str, str], name: str) -> float:
    text = labels.get(name, "")
    # Another version's labels may have any form. The container counts in any case.
    is_plain = text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) <= _MAX_DIGITS
    return float(text) if is_plain else 0.0
