"""Judging one step: exit code, output, captures, and what each failure says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.steps import capture, judge_step
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.step import Capture, Command, Step, StepExpect
from pytest_clnrm.model.text import LineExpect, LinesExpect, TextExpect
from pytest_clnrm.scenario.format.json_document import AmountDoc, amount_conditions, built_paths
from pytest_clnrm.scenario.format.text_document import TextDoc

STDOUT: KeyPath = ("step", 0, "expect", "stdout")


def lines(given: dict[str, Any]) -> tuple[LineExpect, ...]:
    """Return what a file expects of single lines."""
    return msgspec.convert({"line": given}, TextDoc).built(STDOUT).line


def matches(*given: dict[str, Any]) -> tuple[LinesExpect, ...]:
    """Return how many lines a file expects to match."""
    return msgspec.convert({"count": list(given)}, TextDoc).built(STDOUT).count


def where(at: KeyPath) -> str:
    """Return a place that shows the key path it was asked for."""
    return "f.toml:" + ".".join(map(str, at))


def judge(
    expect: StepExpect, exit_code: int | None = 0, stdout: str = "", stderr: str = "", omitted: int = 0
) -> tuple[Failure, ...]:
    """Judge a step that did what the arguments say."""
    step = Step(name="s", service="db", action=Command(run="true"), expect=expect, at=("step", 0))
    return judge_step(
        step,
        exit_code=exit_code,
        stdout=stdout,
        stderr=stderr,
        where=where,
        stdout_omitted_bytes=omitted,
    )


def judge_stdout(stdout: str, omitted: int = 0, **expect: Any) -> tuple[Failure, ...]:
    """Judge the text of stdout alone."""
    text = TextExpect(at=("step", 0, "expect", "stdout"), **expect)
    return judge(StepExpect(stdout=text), stdout=stdout, omitted=omitted)


@pytest.mark.parametrize(
    ("expect", "exit_code"),
    [
        (StepExpect(), 0),
        (StepExpect(exit_in=(0, 3)), 3),
        (StepExpect(exit_in=(), exit_not_in=(0,)), 7),
        (StepExpect(service_ends=True), 0),
        (StepExpect(service_ends=True), None),
    ],
)
def test_exit_codes_that_are_expected(expect: StepExpect, exit_code: int | None) -> None:
    """A code in exit_in and not in exit_not_in passes; no exit_in means every code.

    A step that ends its service may have none.
    """
    assert judge(expect, exit_code) == ()


@pytest.mark.parametrize(
    ("expect", "exit_code", "message"),
    [
        (StepExpect(), 3, "exit code 3, expected 0"),
        (StepExpect(service_ends=True), 3, "exit code 3, expected 0"),
        (StepExpect(exit_in=(0, 2)), 1, "exit code 1, expected 0 or 2"),
        (StepExpect(exit_in=(), exit_not_in=(0,)), 0, "exit code 0, expected any but not 0"),
        (StepExpect(), None, "no exit code (the command did not end by itself), expected 0"),
        (StepExpect(exit_in=()), None, "no exit code (the command did not end by itself), expected any"),
    ],
)
def test_exit_code_messages(expect: StepExpect, exit_code: int | None, message: str) -> None:
    """Another exit code is one failure that names both, at the step if there is no table of its own."""
    (failure,) = judge(expect, exit_code)
    assert (failure.message, failure.where, failure.step) == (message, "f.toml:step.0", "s")


@pytest.mark.parametrize(
    ("exit_code", "message"),
    [
        (127, "exit code 127: the command was not found"),
        (126, "exit code 126: it was found, but could not be run"),
    ],
)
def test_a_program_that_has_not_run_is_no_failure_of_it(exit_code: int, message: str) -> None:
    """Any code but 0 is expected of a program that runs; who means these two names them."""
    (failure,) = judge(StepExpect(exit_in=(), exit_not_in=(0,)), exit_code, stderr="sh: servr: not found\n")
    assert failure.message == message
    assert failure.details.startswith(f"where that is right: exit = {exit_code} in expect\nstderr:\n")
    assert judge(StepExpect(exit_in=(1, exit_code)), exit_code) == ()


def test_output_that_is_expected_does_not_excuse_an_exit_code() -> None:
    """Where output is expected and no exit code is named, the failure says how one is."""
    text = TextExpect(contains=("no",), at=STDOUT)
    (failure,) = judge(StepExpect(stderr=text), 2, stderr="no such file\n")
    assert failure.details.startswith("where that is right: exit = 2 in expect\nstderr:\n")
    (failure,) = judge(StepExpect(stderr=text, exit_in=(1,)), 2, stderr="no such file\n")
    assert failure.details.startswith("stderr:\n")


def test_exit_code_failure_shows_both_outputs() -> None:
    """The details of a wrong exit code hold what the command said."""
    (failure,) = judge(StepExpect(at=("step", 0, "expect")), 1, "out\n", "no such file\n")
    assert failure.details == "stderr:\n    no such file\nstdout:\n    out"
    assert failure.where == "f.toml:step.0.expect"


@pytest.mark.parametrize(
    ("exit_code", "meaning"),
    [
        (127, "exit code 127 of a shell: the command was not found"),
        (126, "exit code 126 of a shell: it was found, but could not be run"),
        (137, "exit code 137 usually means: ended by SIGKILL"),
        (42, "stderr is empty"),
    ],
)
def test_exit_code_meanings(exit_code: int, meaning: str) -> None:
    """Codes with a meaning of their own are explained first; others are not."""
    assert judge(StepExpect(), exit_code)[0].details.splitlines()[0] == meaning


@pytest.mark.parametrize(
    ("stdout", "expect"),
    [
        ("1 row\n", {"contains": ("1", "row")}),
        ("1 row\n", {"not_contains": ("rows",)}),
        ("a1\nb\n", {"regex": (r"\d$|b$", "^a")}),
        ("a\nb\n", {"not_regex": ("a.b", "^b")}),
        ("a\n", {"equals": "a"}),
        ("a\n", {"equals": "a\n"}),
        ("a", {"equals": "a"}),
        ("", {"equals": ""}),
        ("ab\n", {"starts_with": "a", "ends_with": "b"}),
        ("ab\n", {"ends_with": "b\n"}),
        ("a\nb", {"lines": amount_conditions(2), "length": amount_conditions(3)}),
        ("a\n\n", {"lines": amount_conditions(2), "length": amount_conditions(2)}),
        ("", {"lines": amount_conditions(0), "length": amount_conditions(0)}),
        ("a\nbc\n\n", {"line": lines({"1": "a", "-2": {"starts_with": "b"}, "3": "", "-3": "a"})}),
        ("ab\r\nb\na\n", {"count": matches({"regex": "b$", "eq": 2}, {"regex": "^x", "lt": 1})}),
        ('{"a": 1}\n{"a": 2}\n', {"line": lines({"2": {"json": {"a": 2}}})}),
        ('{"a": [1, 2]}', {"jsonpath": built_paths({"$.a[*]": [1, 2], "$.a[0]": 1}, ())}),
        ('{"a": 1, "b": [1, {"c": null, "d": 2}]}', {"json": {"b": [1.0, {"c": None}]}, "has_json": True}),
        (" null\n", {"json": None, "has_json": True}),
    ],
)
def test_texts_that_are_expected(stdout: str, expect: dict[str, Any]) -> None:
    """Each kind of expectation passes on what it asks for."""
    assert judge_stdout(stdout, **expect) == ()


@pytest.mark.parametrize(
    ("stdout", "expect", "message", "detail"),
    [
        ("b\n", {"contains": ("a",)}, r"stdout does not contain 'a', got 'b\n'", "stdout:\n    b"),
        (
            "x\nError\n",
            {"contains": ("error",)},
            "stdout does not contain 'error'",
            "hint: it is there in another case, line 2: 'Error'",
        ),
        ("x\nabc", {"not_contains": ("b",)}, "stdout contains 'b', which it must not", "line 2: 'abc'"),
        ("ab", {"regex": ("a.b",)}, "stdout does not match 'a.b'", "stdout:\n    ab"),
        (
            "Step 1\nStep 2\n",
            {"regex": ("Step 1.*Step 2",)},
            "stdout does not match 'Step 1.*Step 2'",
            "hint: `.` does not match a newline; use (?s)",
        ),
        (
            "a\nb\n",
            {"regex": ("^b",)},
            "stdout does not match '^b'",
            "hint: `^` and `$` mean the whole output, not each line; use (?m)",
        ),
        (
            "x\na\nb\n",
            {"regex": ("^a.b$",)},
            "stdout does not match '^a.b$'",
            "hint: `.` does not match a newline, `^` and `$` mean the whole output; use (?ms)",
        ),
        (
            "OK",
            {"regex": ("ok",)},
            "stdout does not match 'ok'",
            "hint: it matches in another case; use (?i)",
        ),
        ("ab1", {"not_regex": (r"\d",)}, r"stdout matches '\\d', which it must not", "it matched '1'"),
        ("a", {"regex": ("(",)}, "'(' is no regular expression: missing ), unterminated subpattern", ""),
        ("b\n", {"equals": "a"}, r"stdout does not equal 'a', got 'b\n'", "-a\n+b"),
        ("\n", {"equals": ""}, r"stdout does not equal '', got '\n'", "expected none, got one"),
        ("a\n\n\n", {"equals": "a"}, r"stdout does not equal 'a', got 'a\n\n\n'", "expected none, got 3"),
        ("a \t\n", {"equals": "a"}, r"stdout does not equal 'a', got 'a \t\n'", "-a\n+a \\t"),
        ("", {"json": {}, "has_json": True}, "stdout is no JSON: it is empty", "stdout is empty"),
        ("ab\n", {"starts_with": "b"}, r"stdout does not start with 'b', got 'ab\n'", ""),
        ("ab\n", {"ends_with": "a"}, "stdout does not end with 'a', its end is 'ab'", ""),
        ("ab", {"ends_with": "b\n"}, r"stdout does not end with 'b\n', its end is 'ab'", ""),
        ("a\nb", {"lines": amount_conditions(3)}, "stdout has 2 lines, expected exactly 3", ""),
        (
            "abc\n",
            {"length": amount_conditions(AmountDoc(lt=3))},
            "stdout has 3 characters, expected less than 3",
            "",
        ),
        ("a\nb\n", {"line": lines({"2": "a"})}, "line 2 of stdout does not equal 'a', got 'b'", "-a\n+b"),
        (
            "a\nb\n",
            {"line": lines({"-1": {"regex": "^a"}})},
            "line -1 of stdout does not match '^a', got 'b'",
            "",
        ),
        ("a\nb\n", {"line": lines({"3": "a"})}, "there is no line 3 of stdout, which has 2", ""),
        ("", {"line": lines({"-1": "a"})}, "there is no line -1 of stdout, which has 0", ""),
        (
            "a\n",
            {"count": matches({"regex": "b", "eq": 1})},
            "stdout has no line that matches 'b', expected exactly 1",
            "",
        ),
        (
            "",
            {"count": matches({"regex": "^", "gt": 0})},
            "stdout has no line that matches '^', expected more",
            "",
        ),
        ("a", {"count": matches({"regex": "(", "eq": 1})}, "stdout could not be searched: missing )", ""),
        ("", {"jsonpath": built_paths({"$": 1}, STDOUT)}, "stdout is no JSON: it is empty", ""),
        (
            '{"a": 1,\n oops}',
            {"json": {}, "has_json": True},
            (
                "stdout is no JSON: Expecting property name enclosed in double quotes at line 2 column 2, "
                "near 'oops}'"
            ),
            "",
        ),
        (
            '{"a": ',
            {"json": {}, "has_json": True},
            "stdout is no JSON: Expecting value at line 1 column 7, at the end",
            "",
        ),
        ("NaN", {"json": 1, "has_json": True}, "stdout is no JSON: NaN is no JSON value", ""),
        ("[" * 200000, {"json": 1, "has_json": True}, "stdout is no JSON: it is nested too deeply", ""),
        ("1" * 5000, {"json": 1, "has_json": True}, "stdout is no JSON: Exceeds the limit", ""),
        (
            '{"a": {"b c": 2}, "l": [1]}',
            {"json": {"a": {"b c": 1}, "l": [1, 2], "m": "x"}, "has_json": True},
            'stdout is not the expected JSON: $.a["b c"]: expected 1, got 2',
            (
                "$.l: expected 2 elements, got 1 (arrays are compared whole; jsonpath checks parts)\n"
                '$.m: missing, expected "x"'
            ),
        ),
        (
            "[true]",
            {"json": [1], "has_json": True},
            "stdout is not the expected JSON: $[0]: expected the number 1, got true",
            "",
        ),
        (
            '"1"',
            {"json": 1, "has_json": True},
            'stdout is not the expected JSON: $: expected the number 1, got the string "1"',
            "",
        ),
    ],
)
def test_texts_that_are_not_expected(stdout: str, expect: dict[str, Any], message: str, detail: str) -> None:
    """Each kind of expectation fails with a message of its own, at its key, and the details that help."""
    (failure,) = judge_stdout(stdout, **expect)
    assert failure.message.startswith(message)
    assert detail in failure.details
    assert failure.where.startswith(f"f.toml:step.0.expect.stdout.{next(iter(expect))}")


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"contains": ("begin",)}, "stdout does not contain 'begin'"),
        ({"not_contains": ("x",)}, "stdout must not contain 'x'"),
        ({"regex": ("^end",)}, "stdout does not match '^end'"),
        ({"not_regex": ("x",)}, "stdout must not match 'x'"),
        ({"equals": "end"}, "stdout must equal 'end'"),
        ({"json": 1, "has_json": True}, "stdout must be JSON"),
        ({"jsonpath": built_paths({"$": 1}, ())}, "stdout must be JSON"),
        ({"starts_with": "end"}, "stdout must start with 'end'"),
        ({"lines": amount_conditions(1)}, "stdout must have exactly 1 lines"),
        (
            {"count": matches({"regex": "x", "eq": 0})},
            "the lines of stdout that match 'x' are to be counted",
        ),
        ({"line": lines({"1": "end"})}, "line 1 of stdout must be as expected"),
        ({"line": lines({"-1": "end"})}, "line -1 of stdout must be as expected"),
        ({"length": amount_conditions(3)}, "stdout must have exactly 3 characters"),
    ],
)
def test_cut_output_is_never_a_silent_pass(expect: dict[str, Any], message: str) -> None:
    """What can only be told from the whole output fails, and says how much is missing."""
    (failure,) = judge_stdout("end", omitted=7, **expect)
    assert failure.message == f"{message} (cannot be judged: its first 7 bytes were left out)"
    assert failure.details.endswith("stdout without its first 7 bytes:\n    end")


def test_cut_output_still_shows_what_is_there() -> None:
    """What is found in the rest of a cut output counts, for and against."""
    assert judge_stdout("the end", omitted=7, contains=("end",), regex=("end$",)) == ()
    assert judge_stdout("the\nend", omitted=7, line=lines({"-1": "end"})) == ()
    (failure,) = judge_stdout("the end", omitted=7, not_contains=("end",))
    assert failure.message == "stdout contains 'end', which it must not"


def test_every_wrong_part_is_told() -> None:
    """One step may fail for several reasons, and stderr is judged too."""
    expect = StepExpect(stdout=TextExpect(contains=("a", "b")), stderr=TextExpect(equals=""))
    messages = [each.message for each in judge(expect, 1, "a", "oops")]
    assert messages == [
        "exit code 1, expected 0",
        "stdout does not contain 'b', got 'a'",
        "stderr does not equal '', got 'oops'",
    ]


def test_details_are_bounded() -> None:
    """Huge outputs and huge expectations do not make huge failures."""
    lines = "\n".join(f"line {number}" for number in range(50000))
    (failure,) = judge_stdout(lines, equals=lines.replace("9", "8"))
    assert "first difference in line 10:" in failure.details
    assert "more lines" in failure.details
    assert len(failure.details) < 8000
    (failure,) = judge_stdout("x" * 100000, equals="y" * 100000)
    assert len(failure.details) < 4000
    (failure,) = judge_stdout("x", contains=("y" * 100000,))
    assert len(failure.message) < 200
    (failure,) = judge_stdout("[1]", json=list(range(1000)), has_json=True)
    assert len(failure.message) < 200


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        ("bob", '"alice"', '$: expected "bob", got "alice"'),
        (True, "false", "$: expected true, got false"),
        (True, '"true"', '$: expected true, got the string "true"'),
        ("x", "null", '$: expected the string "x", got null'),
        (
            {"a": 1},
            "[1]",
            '$: expected the object {"a": 1}, got the array [1]; jsonpath checks single elements of an array',
        ),
        ({"a": {"b": True}}, "{}", '$.a: missing, expected {"b": true}'),
        ("y" * 1000, "1", f'$: expected the string "{"y" * 119}...", got the number 1'),
    ],
)
def test_differences_in_the_words_of_json(expected: Any, got: str, told: str) -> None:
    """Values are written as JSON writes them; kinds are named where they differ."""
    (failure,) = judge_stdout(got, json=expected, has_json=True)
    assert failure.message == f"stdout is not the expected JSON: {told}"


def test_an_output_is_shown_once() -> None:
    """However many expectations fail on an output, it stands with the first of them."""
    first, *others = judge_stdout("some text", contains=("a", "b"), regex=("c",))
    assert first.details == "stdout:\n    some text"
    assert [each.details for each in others] == ["", ""]


def test_each_path_is_a_failure_of_its_own() -> None:
    """It stands at its key, with the further differences as details. The end of what was cut is known."""
    paths = built_paths({"$.a": 1, "$.b[*]": [0, 0]}, (*STDOUT, "jsonpath"))
    one, other = judge_stdout('{"a": 2, "b": [3, 4]}', jsonpath=paths)
    assert one.message == "stdout is not the expected JSON: $.a: expected 1, got 2"
    assert one.where == "f.toml:step.0.expect.stdout.jsonpath.$.a"
    assert other.message == "stdout is not the expected JSON: $.b[0]: expected 0, got 3"
    assert other.details == "$.b[1]: expected 0, got 4"
    assert judge_stdout("the end\n", omitted=7, ends_with="end") == ()


def test_bounded_json_differences() -> None:
    """Only the first differences of JSON are told."""
    (failure,) = judge_stdout("{}", json={f"k{number}": 1 for number in range(20)}, has_json=True)
    assert failure.details.count("missing") == 4
    assert "and 15 more\n" in failure.details
    (failure,) = judge_stdout("[[0, 0, 0], [0, 0, 0]]", json=[[1, 1, 1], [1, 1, 1]], has_json=True)
    assert failure.details.count("expected 1, got 0") == 4


@pytest.mark.parametrize(
    ("what", "value"),
    [
        (Capture(name="v", regex=r"(\d+) row"), "12"),
        (Capture(name="v", regex=r"\d+"), "12"),
        (Capture(name="v", regex="(err)", stream="stderr"), "err"),
    ],
)
def test_capture_by_regex(what: Capture, value: str) -> None:
    """The first group is taken, or the whole match, from the stream that is named."""
    step = Step(name="s", service="db", action=Command(run="true"), captures=(what,))
    assert capture(step, "12 rows", "an err", where=where) == ({"v": value}, ())


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", '{"a":[1,{"b/c":"x","~":true}],"":null,"é":1.5}'),
        ("/a/0", "1"),
        ("/a/1/b~1c", "x"),
        ("/a/1/~0", "true"),
        ("/", "null"),
        ("/é", "1.5"),
        ("/a/1", '{"b/c":"x","~":true}'),
    ],
)
def test_capture_by_pointer(pointer: str, value: str) -> None:
    """A JSON pointer follows RFC 6901; text is taken as it is, anything else as JSON."""
    step = Step(
        name="s", service="db", action=Command(run="true"), captures=(Capture(name="v", json=pointer),)
    )
    stdout = '{"a": [1, {"b/c": "x", "~": true}], "": null, "é": 1.5}'
    assert capture(step, stdout, "", where=where) == ({"v": value}, ())


@pytest.mark.parametrize(
    ("what", "stdout", "message"),
    [
        ({"regex": "x"}, "a", "stdout does not match 'x'"),
        ({"regex": "a|(x)"}, "a", "the first group of 'a|(x)' took no part in the match"),
        ({"regex": "("}, "a", "missing ), unterminated subpattern at position 0"),
        ({"json": "/a"}, "a", "stdout is no JSON: Expecting value at line 1 column 1, near 'a'"),
        ({"json": "/b"}, '{"a": 1}', 'no key "b" at the top; keys: "a"'),
        ({"json": "/b"}, "{}", 'no key "b" at the top; keys: none'),
        ({"json": "/a/1"}, '{"a": [1]}', 'no index "1" at "/a": an array of 1 elements'),
        ({"json": "/a/01"}, '{"a": [1, 2]}', 'no index "01" at "/a": an array of 2 elements'),
        ({"json": "/a/b"}, '{"a": 1}', 'no "b" at "/a": 1 is neither object nor array'),
        ({"json": "a"}, "{}", "\"a\" is no JSON pointer: it must be empty or start with '/'"),
    ],
)
def test_capture_that_is_not_there(what: dict[str, str], stdout: str, message: str) -> None:
    """A value that cannot be captured is a failure that says why, at the capture's place."""
    each = Capture(name="v", at=("step", 0, "capture", "v"), **what)  # type: ignore[arg-type]
    step = Step(name="s", service="db", action=Command(run="true"), captures=(each,))
    values, (failure,) = capture(step, stdout, "", where=where)
    assert values == {}
    assert failure.message == f"cannot capture 'v': {message}"
    assert (failure.where, failure.step) == ("f.toml:step.0.capture.v", "s")


@pytest.mark.parametrize(
    ("cut", "why"),
    [
        ({"stdout_omitted_bytes": 9}, "its first 9 bytes were left out"),
        ({"lacks": "it may have begun earlier"}, "it may have begun earlier"),
    ],
)
@pytest.mark.parametrize("what", [{"regex": "^b"}, {"json": ""}])
def test_capture_from_cut_output(what: dict[str, str], cut: dict[str, Any], why: str) -> None:
    """Nothing is captured from what may not be there."""
    step = Step(name="s", service="db", action=Command(run="true"), captures=(Capture(name="v", **what),))  # type: ignore[arg-type]
    values, (failure,) = capture(step, "b", "", where=where, **cut)
    assert values == {}
    assert f"(cannot be judged: {why})" in failure.message


def test_the_place_of_a_line() -> None:
    """What is wrong with a line stands at its number, or at the check that does not hold."""
    built = msgspec.convert({"line": {"1": "x", "2": {"json": {"a": 2}}, "9": "x"}}, TextDoc).built(STDOUT)
    failures = judge(StepExpect(stdout=built), stdout='a\n{"a": 1}\n')
    at = "f.toml:step.0.expect.stdout.line"
    assert [(each.message, each.where) for each in failures] == [
        ("line 1 of stdout does not equal 'x', got 'a'", f"{at}.1.equals"),
        ("line 2 of stdout is not the expected JSON: $.a: expected 2, got 1", f"{at}.2.json"),
        ("there is no line 9 of stdout, which has 2", f"{at}.9"),
    ]
