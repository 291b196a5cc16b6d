"""JUnit's files of shards as one."""

from __future__ import annotations

import pytest

from pytest_clnrm.report.junit import NoJUnitError, merged_junit

GONE = '<testcase classname="" name="test_gone"><skipped message="collection skipped">x</skipped></testcase>'
FAILED = '<testcase classname="a" name="t" time="1"><failure message="é">no</failure></testcase>'
BROKEN = '<testcase classname="" name="test_broken"><error message="collection failure">x</error></testcase>'


def suite(cases: str, *, tests: int, time: str, host: str, **counts: int) -> bytes:
    """Return a file of one suite."""
    told = " ".join(f'{name}="{count}"' for name, count in counts.items())
    return (
        f'<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="mine" {told} '
        f'tests="{tests}" time="{time}" timestamp="2026-01-0{time[0]}T00:00:00" hostname="{host}">{cases}'
        "</testsuite></testsuites>"
    ).encode()


def test_cases_of_files_are_there_once() -> None:
    """Each shard has what could not be collected; another case of the same name stays."""
    one = suite(
        f'{GONE}{BROKEN}<testcase classname="a" name="t" time="1" />',
        tests=3,
        time="1.5",
        host="x",
        errors=1,
        failures=0,
        skipped=1,
    )
    two = suite(
        f"{FAILED}{GONE}{BROKEN}",
        tests=3,
        time="3.25",
        host="y",
        errors=1,
        failures=1,
        skipped=1,
    )
    assert merged_junit([two, one]).decode() == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<testsuites name="pytest tests"><testsuite name="mine" errors="1" failures="1" skipped="1" '
        'tests="4" time="3.250" timestamp="2026-01-01T00:00:00" hostname="y, x">'
        f'{FAILED}{GONE}{BROKEN}<testcase classname="a" name="t" time="1" /></testsuite></testsuites>'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{}", "no XML: *line 1, column 0"),
        (b"<html/>", "no suite of tests"),
        (b"<testsuites/>", "no suite of tests"),
        (b'<testsuite tests="many"/>', "no suite of tests: *'many'"),
    ],
)
def test_what_is_no_file_of_junit(text: bytes, message: str) -> None:
    """It is said why."""
    with pytest.raises(NoJUnitError) as caught:
        merged_junit([text])
    assert str(caught.value).startswith(message.partition("*")[0])
    assert str(caught.value).endswith(message.partition("*")[2])
