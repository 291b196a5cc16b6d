"""What a command in a container of a Python test did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.util.output import BoundedOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command did.

    :param exit_code: None if its time was over first.
    :param stdout: decoded with replacements; of more than 4 MB the end.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesResult:
    """What a command did that was run with ``text=False``.

    :param exit_code: None if its time was over first.
    :param stdout: as it was; of more than 4 MB the end.
    :param omitted_bytes: how many bytes of stdout and stderr are missing at their beginnings.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    omitted_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that was run; of its output the end."""

    exit_code: int | None
    stdout: BoundedOutput
    stderr: BoundedOutput
    timed_out: bool

    def as_text(self) -> CommandResult:
        """Return it with its output decoded."""
        return CommandResult(
            exit_code=self.exit_code,
            stdout=self.stdout.text(),
            stderr=self.stderr.text(),
            timed_out=self.timed_out,
        )

    def as_bytes(self) -> BytesResult:
        """Return it with its output as it was."""
        return BytesResult(
            exit_code=self.exit_code,
            stdout=self.stdout.data(),
            stderr=self.stderr.data(),
            timed_out=self.timed_out,
            omitted_bytes=self.stdout.omitted_bytes + self.stderr.omitted_bytes,
        )
