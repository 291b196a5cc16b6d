"""Every error that pytest-clnrm raises on purpose.

    ClnrmError
    ├── ScenarioFileError        a scenario file is wrong: all its mistakes, each with its place
    ├── EngineError              the container engine refused or failed
    │   ├── EngineUnavailableError   nothing answers, or it is not usable
    │   ├── ImageError               an image cannot be had: unknown, or its build failed
    │   │   └── PullError                the registry is not reached, or refuses
    │   ├── ContainerError           a container cannot be created, started or used
    │   │   ├── LostContainerError       it is gone, and none of us has removed it
    │   │   ├── EngineFullError          the engine's disk is full, or a cluster has no room
    │   │   │   └── NoRoomError              it had room for a part of a scenario only
    │   │   ├── NoShellError             it has no shell to wait for commands in
    │   │   ├── UnsharedError            the engine does not have a file or folder of this host
    │   │   └── UnobservableError        it cannot be looked at from outside
    │   └── ServiceError             a service is not as it should be
    │       ├── NotReadyError            it exited, or was not ready in time
    │       └── ServiceEndedError        it has ended that should run
    ├── ScenarioTimeoutError     the scenario's own time is over
    └── ReservationError         a reservation cannot be granted
        ├── DemandTooLargeError      more than the budget can ever hold
        ├── SlotTimeoutError         waited longer than --clnrm-slot-timeout
        └── LedgerError              the ledger's folder or file is unusable

Each message is one that a user can act on; no traceback of ours is shown for them. Those with
``is_infrastructure`` say nothing about the scenario: the machine, the engine or a registry is to blame.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

__all__ = [
    "ClnrmError",
    "ContainerError",
    "DemandTooLargeError",
    "EngineError",
    "EngineFullError",
    "EngineUnavailableError",
    "ImageError",
    "LedgerError",
    "LostContainerError",
    "Mistake",
    "NoRoomError",
    "NoShellError",
    "NotReadyError",
    "PullError",
    "ReservationError",
    "ScenarioFileError",
    "ScenarioTimeoutError",
    "ServiceEndedError",
    "ServiceError",
    "SlotTimeoutError",
    "SpansError",
    "UnobservableError",
    "UnsharedError",
]


class ClnrmError(Exception):
    """Base of all errors of this package.

    :cvar is_infrastructure: True where it is no fault of the file or of the program under test.
    """

    is_infrastructure: ClassVar[bool] = False


_SOURCE_CHARS = 300
_TEXT_CHARS = 2000


class Mistake(NamedTuple):
    """One mistake in a scenario file.

    :param line: 1-based line; 0 if the place is not known.
    :param column: 1-based column in characters; 0 if not known.
    :param path: the key's path as a user would write it (``service.db.ports[0]``), "" for the whole file.
    :param message: what is wrong, what is allowed.
    :param source: the text of the line, "" if not known.
    :param hint: a "did you mean ...?" or a note, "" if there is none.
    """

    line: int
    column: int
    path: str
    message: str
    source: str = ""
    hint: str = ""

    def render(self, file: str) -> str:
        """Return ``file:line:column: path: message (hint)``, then the line and a caret below it."""
        place = file
        if self.line:
            place += f":{self.line}:{self.column}" if self.column else f":{self.line}"
        text = ": ".join(_cut(part) for part in (place, self.path, self.message) if part)
        if self.hint:
            text += f" ({self.hint})"
        if self.source and self.line:
            # Of a long line, what is around the place.
            first = max(0, self.column - _SOURCE_CHARS // 2) if len(self.source) > _SOURCE_CHARS else 0
            source = self.source[first : first + _SOURCE_CHARS]
            # Tabs stay tabs below tabs, so that the caret stands right whatever their width.
            pad = "".join("\t" if char == "\t" else " " for char in source[: max(self.column - 1 - first, 0)])
            text += f"\n    {source}"
            if self.column:
                text += f"\n    {pad}^"
        return text


MAX_MISTAKES = 100
"""More of one file are not looked for: nobody reads them, and each takes time to be put in words."""
_SHOWN_MISTAKES = 20


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}..."


class ScenarioFileError(ClnrmError):
    """A scenario file is wrong.

    :param file: the file's path as it is to be shown.
    :param mistakes: at least one, in the order of their places.
    :param secrets: values that the mistakes may name, and that must not be shown.
    """

    def __init__(
        self, file: str, mistakes: tuple[Mistake, ...], secrets: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(file, mistakes, secrets)
        self.file = file
        self.mistakes = mistakes
        self.secrets = secrets

    def render(self, file: str) -> str:
        """Return the first mistakes, each with its place and line, and how many more there are.

        :param file: the file's path as it is to be shown.
        """
        shown = [mistake.render(file) for mistake in self.mistakes[:_SHOWN_MISTAKES]]
        more = len(self.mistakes) - len(shown)
        if more > 0:
            least = "at least " if len(self.mistakes) >= MAX_MISTAKES else ""
            shown.append(f"{file}: {least}{more} more mistakes are not shown")
        return "\n".join(shown)

    def __str__(self) -> str:
        return self.render(self.file)


class EngineError(ClnrmError):
    """The container engine refused or failed."""

    is_infrastructure = True


class EngineUnavailableError(EngineError):
    """No engine answers, or the one that does cannot be used.

    :param summary: one line, shown with each scenario.
    :param details: what was tried and what to do, shown once in the terminal summary.
    """

    def __init__(self, summary: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(summary, details)
        self.summary = summary
        self.details = details

    def __str__(self) -> str:
        return self.summary


class ImageError(EngineError):
    """An image cannot be had: unknown, refused, offline, or its build failed."""

    is_infrastructure = False


class PullError(ImageError):
    """An image cannot be pulled, for a reason that is not its name: no way to the registry, or it refuses."""

    is_infrastructure = True


class ContainerError(EngineError):
    """A container cannot be created, started or used."""

    is_infrastructure = False


class LostContainerError(ContainerError):
    """A container that is in use is gone, and none of us has removed it."""

    is_infrastructure = True


class EngineFullError(ContainerError):
    """A container cannot be created, started or used, as the engine's disk is full."""

    is_infrastructure = True


class NoRoomError(EngineFullError):
    """A scenario's containers do not all have room, and what it has is given up until they may."""


class NoShellError(ContainerError):
    """A container was to run our shell, and has ended instead: its image has none."""


class UnsharedError(ContainerError):
    """The engine does not have a file or folder of this host that a container is to mount.

    :param source: its path on this host.
    :param why: what the engine has there instead.
    """

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, why)
        self.source = source
        self.why = why

    def __str__(self) -> str:
        return (
            f"the engine does not have this host's {self.source} ({self.why}): it runs on another machine, "
            f"or this process in a container; copy what is needed into an image (build), or share that path "
            f"with the engine's machine"
        )


class UnobservableError(ContainerError):
    """This process may not look at a container from outside, or its engine is elsewhere."""


class ServiceError(EngineError):
    """A service of a scenario, or a container of a fixture, is not as it should be.

    :param message: which one, and what is wrong with it.
    :param service: its name.
    :param logs: the end of its logs, decoded.
    :param at: key path of what in its table is wrong, () for all of it.
    """

    is_infrastructure = False

    def __init__(self, message: str, service: str, logs: str = "", at: tuple[str | int, ...] = ()) -> None:
        super().__init__(message, service, logs, at)
        self.message = message
        self.service = service
        self.logs = logs
        self.at = at

    def __str__(self) -> str:
        return self.message


class NotReadyError(ServiceError):
    """A service exited before it was ready, or was not ready in time."""


class ServiceEndedError(ServiceError):
    """A service has ended that should run."""


class ScenarioTimeoutError(ClnrmError):
    """The scenario's own time is over."""


class SpansError(ClnrmError):
    """Spans cannot be stored."""


class ReservationError(ClnrmError):
    """A reservation cannot be granted."""


class DemandTooLargeError(ReservationError):
    """A demand is more than the budget can ever hold."""


class SlotTimeoutError(ReservationError):
    """A reservation was waited for longer than --clnrm-slot-timeout."""

    is_infrastructure = True


class LedgerError(ReservationError):
    """The ledger's folder or file is unusable."""

    is_infrastructure = True
