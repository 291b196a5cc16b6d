"""A thread that looks at the run now and then, and the ways in which it shows that on the terminal."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.monitor.region import Region
from pytest_clnrm.util.terminal_text import one_line

if TYPE_CHECKING:
    from pytest_clnrm.monitor.slow_lines import SlowLines, WaitLines
    from pytest_clnrm.monitor.view import HostView

_MIN_ROWS = 3


class Draw(Protocol):
    """Turns a view into lines."""

    def __call__(self, view: HostView, *, columns: int, rows: int, colour: bool) -> list[str]:
        """Return at most *rows* lines, each shorter than *columns*."""


class Shown(Protocol):
    """A way to show views."""

    def show(self, view: HostView) -> None:
        """Show a view."""

    def close(self) -> None:
        """Take away all that is shown only while the run goes."""


def is_terminal(file: TextIO) -> bool:
    """Tell whether lines can be drawn and taken away there."""
    return file.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


class _Attached:
    """Leads all output for the terminal through a region, until :meth:`close`.

    :param writer: pytest's terminal writer, at a moment when nothing is captured.
    """

    def __init__(self, writer: Any, width_of: Callable[[str], int] = len) -> None:
        self._writer = writer
        self._file = writer._file  # noqa: SLF001 - there is no public way
        self._out = _lasting(self._file)
        self._region = Region(self._out, size=self._size, width_of=width_of)
        writer._file = self._region  # noqa: SLF001

    def _size(self) -> tuple[int, int]:
        try:
            return os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            return shutil.get_terminal_size()

    def close(self) -> None:
        """Let everybody write to the terminal itself again, without lines below."""
        with suppress(OSError, ValueError):
            self._region.show([])
            self._out.flush()
        if self._writer._file is self._region:  # noqa: SLF001
            self._writer._file = self._file  # noqa: SLF001
        if self._out is not self._file:
            with suppress(OSError, ValueError):
                self._out.close()


def _lasting(file: TextIO) -> TextIO:
    """Return what writes where *file* does now: while a test runs, that leads into pytest's capture."""
    try:
        file.flush()
        descriptor = os.dup(file.fileno())
    except (OSError, ValueError):
        return file
    return open(  # noqa: PTH123 - a descriptor, which close() closes
        descriptor, "w", buffering=1, encoding=file.encoding, errors=file.errors, newline=""
    )


class LiveLines(_Attached):
    """Lines at the bottom of the terminal."""

    def __init__(self, writer: Any, draw: Draw, width_of: Callable[[str], int]) -> None:
        super().__init__(writer, width_of)
        self._draw = draw

    def show(self, view: HostView) -> None:
        """Draw *view*."""
        columns, rows = self._size()
        lines = self._draw(
            view, columns=columns, rows=max(_MIN_ROWS, rows // 2), colour=self._writer.hasmarkup
        )
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._region.show([line.encode(encoding, "replace").decode(encoding) for line in lines])


class LogLines(_Attached):
    """A line of its own for each thing that takes long.

    :param slow: decides what does.
    """

    def __init__(self, writer: Any, slow: SlowLines | WaitLines) -> None:
        super().__init__(writer)
        self._slow = slow

    def show(self, view: HostView) -> None:
        """Write the lines that are due."""
        for line in self._slow.look(view):
            self._region.say(one_line(f"clnrm: {line}"))


class Watcher:
    """Looks and shows every *period_s* seconds until it is stopped.

    :param look: returns what is to be shown.
    """

    def __init__(self, look: Callable[[], HostView], shown: Shown, period_s: float) -> None:
        self._look = look
        self._shown = shown
        self._period_s = period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clnrm-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show nothing more."""
        self._stopped.set()
        self._thread.join()
        self._shown.close()

    def _run(self) -> None:
        # If the terminal or the folder has gone, nothing more is shown, and the run goes on.
        with suppress(ClnrmError, OSError, ValueError):
            while not self._stopped.wait(self._period_s):
                self._shown.show(self._look())
