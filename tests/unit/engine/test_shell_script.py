"""Marks in a stream, quoting, and which commands a shell takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.engine.exec.shell_marks import Marks, Scanner
from pytest_clnrm.engine.exec.shell_script import (
    STDIN_BYTES,
    STEP_BYTES,
    Facts,
    common_text,
    quote,
    read_facts,
    step_text,
)

MARKS = Marks("b0" * 16, "e0" * 16)
BEGIN, END = f"\x1d{MARKS.begin}\n".encode(), f"\x1e{MARKS.end}".encode()
FACTS = Facts(
    setsid="/bin/setsid",
    env="/bin/env",
    prefers_own=False,
    kills=0,
    opens=True,
    pid=7,
    workdir="/",
    environment={"PATH": "/bin:/usr/bin", "HOME": "/root"},
)
VARIABLE = ("MARK", "1")
TELLER = b"cat\0/proc/34/environ\0/proc/self/cmdline\0/proc/self/environ\0"


def scan(data: bytes, cuts: list[int]) -> tuple[Scanner, bytes]:
    """Return what a scanner finds in *data*, cut in pieces."""
    scanner, found, at = Scanner(MARKS), b"", 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        found += scanner.feed(data[at:cut])
        at = cut
    return scanner, found


PIECES = st.lists(st.sampled_from([b"x", b"\n", b"e0", b"b0", END[:-1], END[:9], BEGIN, b"\0"]), max_size=6)


@given(PIECES.map(b"".join), st.lists(st.integers(0, 1 << 20), max_size=5))
def test_what_is_between_the_marks_is_found_in_any_pieces(output: bytes, cuts: list[int]) -> None:
    """Also where it looks like a part of one."""
    scanner, found = scan(b"junk" + BEGIN + output + END + b" 3 1 0\nlate", cuts)
    assert found == output
    assert (scanner.begun, scanner.ended, scanner.numbers, scanner.late) == (True, True, (3, 1, 0), b"late")


def test_output_passes_as_it_comes() -> None:
    """Nothing but a possible part of the end is held back, and only until it is none."""
    scanner = Scanner(MARKS)
    assert scanner.feed(BEGIN + b"one") == b"one"
    assert scanner.feed(END[:5]) == b""
    assert scanner.feed(b"two") == END[:5] + b"two"


def test_the_first_part_of_a_mark_may_be_output_that_just_ends_there() -> None:
    """It is not lost with a step that has no end; before a beginning there is no output."""
    scanner = Scanner(MARKS)
    assert scanner.feed(BEGIN[:5]) == scanner.rest() == b""
    assert scanner.feed(BEGIN + b"one" + END[:5]) == b"one"
    assert (scanner.rest(), scanner.rest()) == (END[:5], b"")


@pytest.mark.parametrize("cuts", [[], [4], [10, 34]])
def test_an_end_without_a_beginning(cuts: list[int]) -> None:
    """The step was not started; what came before it is nobody's."""
    scanner, found = scan(b"junk" + END + b" 2 0 0\n", cuts)
    assert (found, scanner.begun, scanner.ended, scanner.numbers) == (b"", False, True, (2, 0, 0))


def test_marks_are_new_each_time() -> None:
    """What a step has seen of one helps nobody."""
    assert len({mark for _ in range(50) for mark in (Marks().begin, Marks().end)}) == 100


@pytest.mark.parametrize(
    ("text", "quoted"), [("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("$x\n`y`\\", "'$x\n`y`\\'")]
)
def test_quoting(text: str, quoted: str) -> None:
    """A single quote is the only sign that needs care."""
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("own", "is_exact"),
    [
        (b"B=\0A=1=2\nx\0", True),
        (b"", False),
        (b"B=\0", False),
        (b"B=\0A=1=2\nx\0_=/bin/cat\0", False),
        (b"B=\0A=other\0", False),
    ],
)
def test_what_a_shell_tells_of_itself(own: bytes, *, is_exact: bool) -> None:
    """Fields end with zeros; the folder comes with the shell's newline."""
    told = b"/a\nb\n\0/bin/setsid\0/bin/env\x001\x0012\x001\x0034\0A=1=2\nx\0B=\0" + TELLER + own
    assert read_facts(told) == Facts(
        setsid="/bin/setsid",
        env="/bin/env",
        prefers_own=True,
        kills=12,
        opens=True,
        pid=34,
        workdir="/a\nb",
        environment={"A": "1=2\nx", "B": ""},
        is_exact=is_exact,
    )


@pytest.mark.parametrize(
    ("told", "has_programs"),
    [
        (b"/\n\0\0/bin/env\x000\x000\x001\x007\0A=1\0", False),
        (b"/\n\0/bin/setsid\0env\x000\x000\x001\x007\0A=1\0", False),
        (b"/\n\0/bin/setsid\0/bin/env\x000\0\x001\x007\0A=1\0", True),
        (b"/\n\0/bin/setsid\0/bin/env\x000\x000\x001\x007\0", True),
        (b"/\n\0/bin/setsid\0/bin/env\x000\x000\x001\x007\0A\0", True),
        (b"/\n\0/bin/setsid\0/bin/env\x000\x000\x001\x007\0-A=1\0", True),
        (b"\n\0/bin/setsid\0/bin/env\x000\x000\x001\x007\0A=1\0", True),
        (b"/\n\0/bin/setsid\0/bin/env\x000\x000\x000\x007\0A=1\0", True),
    ],
)
def test_a_shell_that_cannot_serve(told: bytes, *, has_programs: bool) -> None:
    """It lacks a program, or something about the container cannot be seen."""
    facts = read_facts(told + TELLER + b"A=1\0")
    assert facts is not None
    assert (facts.usable, facts.has_programs) == (False, has_programs)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"sh: what?\n",
        b"/\n\0\0\0\0\0\0no number\0" + TELLER,
        b"/\n\0/bin/setsid\0/bin/env\x000\x000\x001\x007\0A=1\0",
    ],
)
def test_no_answer_at_all(told: bytes) -> None:
    """Something else has printed it."""
    assert read_facts(told) is None


@pytest.mark.parametrize(
    "spec",
    [
        ExecSpec(argv=()),
        ExecSpec(argv=("",)),
        ExecSpec(argv=("a=b",)),
        ExecSpec(argv=("x", "a\0b")),
        ExecSpec(argv=("x", "\udc80")),
        ExecSpec(argv=("x", "y" * STEP_BYTES)),
        ExecSpec(argv=("x",), stdin=b"y" * (STDIN_BYTES + 1)),
        ExecSpec(argv=("x",), workdir="relative"),
        ExecSpec(argv=("x",), env={"": "1"}),
        ExecSpec(argv=("x",), env={"-u": "1"}),
        ExecSpec(argv=("x",), env={"A=B": "1"}),
        ExecSpec(argv=("x",), env={"HOME": ""}),
        ExecSpec(argv=("x",), env={"PATH": ""}),
        ExecSpec(argv=("x",), env={"PATH": "/bin:."}),
    ],
)
def test_what_a_shell_leaves_to_an_exec(spec: ExecSpec) -> None:
    """What is not sure to come out the same."""
    assert step_text(FACTS, spec, MARKS, VARIABLE) is None


def test_a_step() -> None:
    """Everything of it is quoted, and its environment is complete."""
    spec = ExecSpec(argv=("ls", "it's"), env={"HOME": "/x", "a.b": "1"}, workdir="/w d", stdin=b"-%\0a")
    text = step_text(FACTS, spec, MARKS, VARIABLE)
    assert text is not None
    for part in (
        "printf '\\055%%\\000a' | (",
        "cd -P -- '/w d' && ",
        "clnrm_find 'ls' && clnrm_format || ",
        "clnrm_run HOME='/x' 'a.b=1' MARK='1' 'ls' 'it'\\''s'\n",
    ):
        assert part in text.decode()
    known = step_text(FACTS, spec, MARKS, VARIABLE, known={"ls"})
    assert known is not None
    assert b"clnrm_format" not in known
    own = step_text(replace(FACTS, prefers_own=True), spec, MARKS, VARIABLE)
    assert own is not None
    assert b"clnrm_own" in own
    elsewhere = step_text(FACTS, replace(spec, env={"PATH": "/a:/b"}), MARKS, VARIABLE)
    assert elsewhere is not None
    assert b"clnrm_program '/a/ls' '/b/ls'" in elsewhere
    assert b"exec '/bin/setsid' '/bin/env' -i PATH='/bin:/usr/bin' HOME='/root' \"$@\"" in common_text(FACTS)
    assert b"for path in '/bin' '/usr/bin';" in common_text(FACTS)


@pytest.mark.parametrize(
    ("env", "is_exact", "runs"),
    [
        ({}, True, "clnrm_run_as_it_is"),
        ({"OTEL_SERVICE_NAME": "it's"}, True, "clnrm_run_as_it_is"),
        ({"TRACEPARENT": "00-1-2-01"}, True, "clnrm_run_as_it_is"),
        ({"TRACEPARENTS": "x"}, True, "clnrm_run TRACEPARENTS='x' MARK_X='1'"),
        ({}, False, "clnrm_run MARK_X='1'"),
        *(
            ({name: "x"}, True, f"clnrm_run {name}='x' MARK_X='1'")
            for name in (
                "PWD",
                "_",
                "BASH_ENV",
                "LC_ALL",
                "PROMPT_COMMAND",
                "IFS",
                "HOME",
                "lower_case",
                "A1_B",
            )
        ),
    ],
)
def test_only_what_shells_leave_alone_goes_through_their_environment(
    env: dict[str, str], runs: str, *, is_exact: bool
) -> None:
    """The rest is said to ``env``, which starts from nothing."""
    text = step_text(
        replace(FACTS, is_exact=is_exact), ExecSpec(argv=("x",), env=env), MARKS, ("MARK_X", "1")
    )
    assert text is not None
    assert f"\n{runs} 'x'\n" in text.decode()
