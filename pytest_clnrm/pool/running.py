"""A container of ours that runs: what it was made of and how, and whether another scenario may use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_clnrm.engine.exec.waiting import WAITING
from pytest_clnrm.model.result import ContainerFacts
from pytest_clnrm.pool.sources import Sources

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.model.span import AttributeValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningContainer:
    """A container of ours.

    :param image: what it was made of.
    :param spec: how it was made.
    :param env: what the commands in it get beside what it was made with.
    :param created_s: ``time.monotonic()`` of its creation.
    :param reused: it has served another scenario before.
    :param fingerprint: what it looked like when it was new, if it may be reused.
    :param never_reused: why it is never reused, "" if it may be.
    :param had_secrets: a scenario that it has served had some: the engine's log of it may hold them.
    :param sources: of its volumes, as far as they are held open; whoever removes it closes them.
    """

    id: str
    name: str
    service: Service
    image: ImageFacts
    spec: ContainerSpec
    env: Mapping[str, str]
    created_s: float
    reused: bool = False
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    never_reused: str = ""
    had_secrets: bool = False
    sources: Sources = field(default_factory=Sources)

    @property
    def keeps_alive(self) -> bool:
        """Tell whether it runs no service, and only waits for commands."""
        return self.spec.command in WAITING

    @property
    def memory_limit_mb(self) -> int:
        """Return the limit of its memory as users write it."""
        return self.spec.memory_bytes >> 20

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """Return the attributes of our spans of it."""
        about = span_attributes(self.name, self.service, self.image, reused=self.reused)
        return {"container.id": self.id, **about}

    @property
    def facts(self) -> ContainerFacts:
        """Return what a result says of it, as far as it does not depend on the engine."""
        return ContainerFacts(
            id=self.id,
            name=self.name,
            service=self.service.name,
            image=self.image.reference,
            memory_bytes=self.spec.memory_bytes,
            cpus=self.spec.cpus,
            reused=self.reused,
            shared=self.service.is_shared,
            prepared=self.image.prepared,
        )

    def serves(self, other: ContainerSpec) -> bool:
        """Tell whether it was made as *other* says, apart from its name and labels, and whose it is."""
        own = self.spec
        return replace(other, name=own.name, labels=own.labels, outlives=own.outlives) == own


def span_attributes(
    name: str, service: Service, image: ImageFacts, *, reused: bool
) -> dict[str, AttributeValue]:
    """Return the attributes of our spans of a container, which may not exist yet."""
    return {
        "container.name": name,
        "container.image.name": image.reference,
        "clnrm.service": service.name,
        "clnrm.container.reused": reused,
    }
