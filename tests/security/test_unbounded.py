"""A file or a program asks for work without an end, or for all memory."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.huge_files import HUGE, TEMPLATES

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.scenario.templates import confined
from pytest_clnrm.telemetry.receive.body import JSON, PROTOBUF, RefusedError
from pytest_clnrm.telemetry.receive.printed_spans import printed_spans
from pytest_clnrm.telemetry.receive.receiver import Receiver
from pytest_clnrm.util.jsonpaths import select
from pytest_clnrm.util.patterns import LEAST_S, within

SLOW = "(a+)+$"
"""On 28 a's and another letter: several seconds, on a fast machine too; on 40: a day."""
PRINTS = f'"echo {"a" * 28}b"'


@pytest.mark.engine
@pytest.mark.parametrize(
    "what",
    [
        f'[[step]]\nrun = {PRINTS}\ntimeout = "1s"\nexpect = {{ stdout = {{ not_regex = "{SLOW}" }} }}\n',
        f'[[step]]\nrun = {PRINTS}\ntimeout = "1s"\ncapture = {{ x = {{ regex = "{SLOW}" }} }}\n',
        (
            f'command = ["sh", "-c", {PRINTS[:-1]}; exec sleep 60"]\n'
            f'ready = {{ log = "{SLOW}", timeout = "3s" }}\n[[step]]\nrun = "true"\n'
        ),
    ],
    ids=["expect", "capture", "ready.log"],
)
def test_regular_expression(project: EndToEnd, what: str) -> None:
    """It ends in the time of its step or service, with a failure that says which one took too long."""
    project.write("a.clnrm.toml", f'[service.box]\nimage = "busybox"\n{what}')
    run = project.run()
    assert f"the regular expression '{SLOW}' took longer than" in run.text, f"IT RAN TO ITS END\n{run.text}"
    assert run.outcomes() in ({"a": "failed"}, {"a": "error"})


def test_json_path() -> None:
    """What its filters take, for each value of a deep document, ends with the time that there is."""
    deep = '{"b": 1, "a": ' * 80 + "1" + "}" * 80
    with within(time.monotonic() + LEAST_S):
        (found,) = select(deep, ["$..[?@..[?@..[?@..c]]]"])
    said = found.problem or "IT RAN TO ITS END"
    assert re.fullmatch(
        r"looking it up takes longer than [0-9.]+ s, or too much memory; select less", said
    ), said
    (found,) = select("[" * 100_000, ["$[0]"])
    assert found.problem.startswith("it cannot be looked up: "), found


def _load(path: Path, text: str) -> tuple[Scenario, ...]:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return load(str(path), LoadOptions(rootdir=str(path.parent)))


def _check_memory() -> None:
    """Fail if this process, or one that it started and that has ended, had more memory than is allowed."""
    confined.close()
    allowed_kb = (confined.MEMORY_BYTES + (64 << 20)) // 1024
    used_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert used_kb < allowed_kb, f"IT TOOK {used_kb} KB"


@pytest.mark.parametrize("name", TEMPLATES)
def test_template(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a mistake with its line, or turns out to be little work; in little memory."""
    monkeypatch.setattr(confined, "CPU_S", 0.5)
    try:
        _load(tmp_path / "a.clnrm.toml", TEMPLATES[name])
    except ScenarioFileError as error:
        shown = error.render("a.clnrm.toml")
        assert re.match(r"a\.clnrm\.toml:\d+:", shown), shown
        assert len(shown) < 20_000
        said = {word for word in LIMITS if word in shown}
        assert said, shown
    else:
        assert name in SMALL
    _check_memory()


SMALL = {
    "power": "(9 ** 9) ** 9",
    "int of a text": "0, as it is too long",
    "float of a text": "infinite",
    "striptags": "linear",
    "html comments": "linear",
    "list of lists times": "one list, many times",
    "kept slices": "bounded by what a loop may do",
    "shared nesting in a condition": "told by its first element",
}
LIMITS = (
    "takes more than", "takes too much memory", "too much work", "gets longer than", "more than 4096 bits",
    "at most", "nested too deeply", "make more than", "is not valid", "is unsafe", "not defined",
    "not formatted", "Exceeds the limit", "out of range", "not valid TOML", "takes more memory",
    "longer than",
)  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_large_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a mistake that says so, or is read; in little memory, and within the time of a file."""
    monkeypatch.setattr(confined, "CPU_S", 1.5)
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        assert _load(tmp_path / "a.clnrm.toml", HUGE[name])
    except ScenarioFileError as error:
        shown = error.render("a.clnrm.toml")
        assert shown.startswith("a.clnrm.toml"), shown
        assert len(shown) < 60_000
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The rest is done where the limits hold.
    assert used_s < confined.CPU_S
    _check_memory()


def test_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up within one call into C, which no exception ends."""
    monkeypatch.setattr(confined, "CPU_S", 0.1)
    text = "[[step]]\nrun = '''{{ ([[1]] * 60000)|sum(start=[])|length }}'''\n"
    said = "IT RAN TO ITS END"
    try:
        _load(tmp_path / "a.clnrm.toml", text)
    except ScenarioFileError as error:
        said = str(error)
    assert re.search(r":2: step\[0\]\.run: this template takes more than 0.1 s", said), said


def test_many_mistakes(tmp_path: Path) -> None:
    """The first are told in full, and how many more there are; of very many not even that is found out."""
    path = tmp_path / "a.clnrm.toml"
    keys = "".join(f"key{i} = {i}\n" for i in range(50))
    with pytest.raises(ScenarioFileError) as raised:
        _load(path, f'{keys}[[step]]\nrun = "true"\n')
    shown = str(raised.value)
    assert shown.count("unknown key") == 20
    assert shown.endswith("a.clnrm.toml: 30 more mistakes are not shown")
    with pytest.raises(ScenarioFileError, match="at least 80 more mistakes are not shown"):
        _load(
            path,
            f'{keys * 1}{keys.replace("key", "kez")}{keys.replace("key", "kex")}[[step]]\nrun = "true"\n',
        )


_EMPTY_SPAN = b"\x12\x00"
_RECEIVE = """
import pathlib, resource, sys
from pytest_clnrm.telemetry.receive.body import JSON, PROTOBUF, RefusedError
from pytest_clnrm.telemetry.receive.receiver import Receiver

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
body = pathlib.Path(sys.argv[1]).read_bytes()
receiver = Receiver(pathlib.Path(sys.argv[1]).parent, "gw0")
try:
    print(receiver._inboxes.take(receiver.open("s"), sys.argv[2], body))
except RefusedError as refused:
    print(refused.status.value, refused.message)
# What getrusage tells counts what was there before this program began, too.
status = pathlib.Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
receiver.close()
"""


def _message(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "spans": (PROTOBUF, lambda: _message(1, _message(2, _EMPTY_SPAN * 9_900_000))),
    "attributes": (PROTOBUF, lambda: _message(1, _message(2, _message(2, b"\x4a\x00" * 9_900_000)))),
    "links": (PROTOBUF, lambda: _message(1, _message(2, _message(2, b"\x6a\x00" * 9_900_000)))),
    "names": (PROTOBUF, lambda: _message(1, _message(2, _message(2, b"\x2a\x00" * 9_900_000)))),
    "resources": (PROTOBUF, lambda: b"\x0a\x00" * 9_900_000),
    "JSON spans": (
        JSON,
        lambda: b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 6_600_000 + b"{}]}]}]}",
    ),
    "JSON numbers": (JSON, lambda: b'{"resource_spans":[],"a":[' + b"1e5," * 4_900_000 + b"1]}"),
    "JSON lists": (JSON, lambda: b'{"resource_spans":[],"a":[' + b"[]," * 6_600_000 + b"1]}"),
    "JSON in lists": (JSON, lambda: b'{"resourceSpans":' + b"[" * 20_000_000),
    "JSON text": (JSON, lambda: b'{"a":"' + b'\\"{' * 6_600_000),
}


@pytest.mark.parametrize("name", BODIES)
def test_body_of_tiny_parts(name: str, tmp_path: Path) -> None:
    """A body of 20 MB is refused in 300 MB and without making its parts."""
    kind, make = BODIES[name]
    (tmp_path / "body").write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", _RECEIVE, str(tmp_path / "body"), kind],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
        capture_output=True,
        text=True,
        check=False,
    )
    answer, measured = done.stdout.splitlines()
    assert re.match(r"413 the body has more than|400 cannot decode", answer), answer
    assert int(measured) < 300_000, f"IT TOOK {measured} KB"


def test_spans_are_counted_before_they_are_made(tmp_path: Path) -> None:
    """A body with more of them than a scenario may have is refused as it is."""
    body = _message(1, _message(2, _EMPTY_SPAN * 400_000))
    receiver = Receiver(tmp_path, "gw0")
    said = "IT WAS TAKEN"
    try:
        receiver._inboxes.take(receiver.open("s"), PROTOBUF, body)
    except RefusedError as refused:
        said = f"{refused.status.value} {refused.message}"
    finally:
        receiver.close()
    assert said.startswith("413 the body has more than 300000 spans, events, links, attributes and values")
    assert said.endswith("export smaller batches")


@pytest.mark.parametrize(
    "text", ['{"a":\n' * 600_000, '{"trace_id": 1\n' * 250_000, '{"a":[' + "{}," * 1_300_000], ids=range(3)
)
def test_printed_objects(text: str) -> None:
    """What looks like spans and is none is told some times, and read in time."""
    before_s = time.process_time()
    found = printed_spans(text)
    assert not found.request.resource_spans
    assert len(found.problems) <= 22
    assert time.process_time() - before_s < 10
