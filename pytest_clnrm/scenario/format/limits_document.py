"""What a container may use: tables of ``[limits]`` and ``[service.NAME]``."""

from typing import Annotated

from msgspec import Meta

from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.parts import Size, Table


class LimitsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one container."""

    memory: (
        Annotated[
            Size,
            Meta(
                description="Memory, /dev/shm and scratch folders among it; default: --clnrm-memory.",
                examples=["256m"],
            ),
        ]
        | None
    ) = None
    cpu: (
        Annotated[
            float,
            Meta(
                ge=0.01,
                le=4096,
                description="CPUs, 0.5 is half of one; default: --clnrm-cpu.",
                examples=[0.5],
            ),
        ]
        | None
    ) = None
    pids: (
        Annotated[
            int, Meta(ge=1, le=4194304, description="Processes and threads; default: 512.", examples=[100])
        ]
        | None
    ) = None
    gpus: Annotated[int, Meta(ge=0, le=1024, description="How many; default: none.", examples=[1])] | None = (
        None
    )

    def built(self) -> Limits:
        """Return the limits."""
        memory_bytes = None if self.memory is None else parse_size_bytes(self.memory)
        return Limits(memory_bytes=memory_bytes, cpus=self.cpu, pids=self.pids, gpus=self.gpus)


class UlimitDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of the kernel on each process."""

    soft: Annotated[int, Meta(ge=-1, description="What holds; -1 is no limit.", examples=[1024])]
    hard: Annotated[
        int, Meta(ge=-1, description="To which a program may raise it; -1 is no limit.", examples=[4096])
    ]


Ulimit = Annotated[int, Meta(ge=-1, description="Both limits.")] | UlimitDoc


class UlimitsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the kernel on each process; those that raise a priority over the host's are none of them."""

    core: Annotated[Ulimit, Meta(description="Bytes of a core dump.", examples=[0])] | None = None
    cpu: Annotated[Ulimit, Meta(description="Seconds of CPU time.", examples=[60])] | None = None
    data: Annotated[Ulimit, Meta(description="Bytes of the data segment.", examples=[1073741824])] | None = (
        None
    )
    fsize: Annotated[Ulimit, Meta(description="Bytes of a file.", examples=[1073741824])] | None = None
    locks: Annotated[Ulimit, Meta(description="Locks of files.", examples=[100])] | None = None
    memlock: Annotated[Ulimit, Meta(description="Bytes that are kept in memory.", examples=[-1])] | None = (
        None
    )
    msgqueue: Annotated[Ulimit, Meta(description="Bytes of message queues.", examples=[819200])] | None = None
    nofile: (
        Annotated[Ulimit, Meta(description="Open files.", examples=[{"soft": 1024, "hard": 4096}])] | None
    ) = None
    nproc: Annotated[Ulimit, Meta(description="Processes of its user.", examples=[512])] | None = None
    rss: Annotated[Ulimit, Meta(description="Bytes in memory; Linux ignores it.", examples=[-1])] | None = (
        None
    )
    sigpending: Annotated[Ulimit, Meta(description="Signals that wait.", examples=[100])] | None = None
    stack: Annotated[Ulimit, Meta(description="Bytes of the stack.", examples=[8388608])] | None = None

    def built(self) -> dict[str, tuple[int, int]]:
        """Return soft and hard limit of each that is given."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            name: (limit.soft, limit.hard) if isinstance(limit, UlimitDoc) else (limit, limit)
            for name, limit in given.items()
            if limit is not None
        }
