"""Lines at the bottom of a terminal stay below what others write, and leave no trace."""

from __future__ import annotations

import io
import os
import random

import pytest
from clnrm_testing.screen import Screen

from pytest_clnrm.monitor.region import Region


class Terminal(io.StringIO):
    """A file whose writes go to a screen, a line feed doing what a terminal's driver makes of it."""

    encoding = "utf-8"

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.screen = Screen(columns, rows)

    def write(self, text: str) -> int:
        self.screen.feed(text.replace("\n", "\r\n"))
        return len(text)


class Clock:
    """A clock that stands still until it is told the time."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


def make(columns: int = 20, rows: int = 8) -> tuple[Region, Terminal]:
    """Return a region and the terminal that it draws on."""
    terminal = Terminal(columns, rows)
    region = Region(terminal, size=lambda: (terminal.screen.columns, rows), width_of=len, now=Clock())
    return region, terminal


def test_lines_stand_below_the_line_that_is_written() -> None:
    """Dots grow above the lines."""
    region, terminal = make()
    region.write("test_a.py ")
    region.show(["worker one", "worker two"])
    region.write(".")
    region.write(".")
    assert terminal.screen.lines == ["test_a.py ..", "worker one", "worker two"]


def test_none_takes_the_lines_away() -> None:
    """Afterwards nothing of the lines is left, and writing goes on where it was."""
    region, terminal = make()
    region.write("test_a.py .")
    region.show(["worker one", "worker two"])
    region.show([])
    region.write(".\ndone\n")
    assert terminal.screen.lines == ["test_a.py ..", "done"]


def test_fewer_lines_replace_more() -> None:
    """What stood there before is gone."""
    region, terminal = make()
    region.show(["one", "two", "three"])
    region.show(["four"])
    assert terminal.screen.lines == ["", "four"]


def test_unchanged_lines_are_not_drawn_again() -> None:
    """The same lines again cost nothing."""
    region, terminal = make()
    region.show(["one"])
    terminal.screen.feed("\x1b[J")
    before = terminal.screen.lines
    region.show(["one"])
    assert terminal.screen.lines == before


@pytest.mark.parametrize("tail", ["", "\x1b[0m"])
def test_a_full_line_goes_on_in_the_next(tail: str) -> None:
    """Text that ends in the last column is followed as a terminal without lines would have it."""
    region, terminal = make(columns=10)
    region.write("0123456789" + tail)
    region.show(["w"])
    assert terminal.screen.lines == ["0123456789", "w"]
    region.write("ab")
    assert terminal.screen.lines == ["0123456789", "ab", "w"]


def test_a_carriage_return_begins_the_line_again() -> None:
    """What rewrites its own line does so above the lines."""
    region, terminal = make()
    region.write("1 worker")
    region.show(["w"])
    region.write("\r2 workers")
    assert terminal.screen.lines == ["2 workers", "w"]


def test_many_quick_writes_do_not_draw_each_time() -> None:
    """Within a moment the lines are left out, until they are shown again."""
    terminal = Terminal(20, 8)
    region = Region(terminal, size=lambda: (20, 8), width_of=len, now=lambda: 1.0)
    region.show(["w"])
    region.write(".")
    region.write(".")
    assert terminal.screen.lines == [".."]
    region.show(["w"])
    assert terminal.screen.lines == ["..", "w"]


def test_a_line_of_its_own() -> None:
    """A line is said on its own, whatever stands on the line that is being written."""
    region, terminal = make()
    region.write("..")
    region.say("slow")
    region.say("slower")
    region.write(".")
    assert terminal.screen.lines == ["..", "slow", "slower", "."]


def test_a_narrower_terminal_is_cleared() -> None:
    """Lines that wrapped when the terminal became narrower are taken away whole."""
    region, terminal = make(columns=20)
    region.write("head\n")
    region.show(["0123456789012345"])
    terminal.screen = Screen(10, 8)
    terminal.screen.feed("head\r\n\r\n0123456789012345")
    region.show([])
    assert terminal.screen.lines == ["head"]


def test_a_forked_child_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child the text alone is written: the lines are the parent's."""
    region, terminal = make()
    region.show(["w"])
    monkeypatch.setattr(os, "getpid", lambda: -1)
    region.write("x")
    assert terminal.screen.lines == ["", "x"]


def test_the_rest_is_the_files() -> None:
    """Whatever else is asked of the file, the file answers."""
    region, _ = make()
    assert region.encoding == "utf-8"
    assert not region.isatty()


def test_what_cannot_be_encoded_leaves_things_as_they_are() -> None:
    """The error reaches the writer, who writes something else."""

    class Ascii(Terminal):
        def write(self, text: str) -> int:
            text.encode("ascii")
            return super().write(text)

    terminal = Ascii(20, 8)
    region = Region(terminal, size=lambda: (20, 8), width_of=len, now=Clock())
    region.write("a")
    region.show(["w"])
    with pytest.raises(UnicodeEncodeError):
        region.write("é")
    region.write("e")
    assert terminal.screen.lines == ["ae", "w"]


@pytest.mark.parametrize("seed", range(20))
def test_any_output_looks_as_without_lines(seed: int) -> None:
    """Whatever is written and drawn in whatever order, in the end the screen is that of the output alone."""
    rng = random.Random(seed)  # noqa: S311 (a test's choices)
    columns, rows = rng.randint(5, 30), rng.randint(8, 20)
    region, terminal = make(columns, rows)
    plain = Terminal(columns, rows)
    for _ in range(200):
        if rng.random() < 0.4:
            count = rng.randint(0, 4)
            region.show(["w" * rng.randint(1, columns - 1) for _ in range(count)])
        else:
            text = rng.choice(
                [".", "test_x.py ", "\n", "\x1b[31mF\x1b[0m", "0" * columns, "=" * rng.randint(1, 40)]
            )
            region.write(text)
            plain.write(text)
    region.show([])
    assert terminal.screen.everything == plain.screen.everything
