"""``clnrm``: arguments, messages, exit codes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import tomli
from clnrm_testing import command_line

from pytest_clnrm.cleanup import cleaner
from pytest_clnrm.cli import command as cli
from pytest_clnrm.cli.command import Command
from pytest_clnrm.cli.main import COMMANDS, main
from pytest_clnrm.errors import EngineUnavailableError
from pytest_clnrm.ledger.folder import open_folder

NOTHING = "no run of pytest-clnrm on this host, and nothing reserved\n"


@pytest.fixture(autouse=True)
def ledger_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the usual folder of the ledger would be."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "pytest-clnrm"


class FakeEngine:
    """An engine that only counts how often it was given up."""

    closed = 0
    facts = SimpleNamespace(identity="i")

    def close(self) -> None:
        self.closed += 1


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """All commands, and what they do, called as it was called."""
    assert main(["--help"], program="python -m pytest_clnrm") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("Usage: python -m pytest_clnrm [OPTIONS] COMMAND [ARGS]...")
    assert "status Show all runs on this host." in shown
    assert "sweep Remove what dead runs left on the engine." in shown


@pytest.mark.parametrize("each", COMMANDS, ids=lambda each: each.name)
def test_help_has_examples_and_exit_codes(
    each: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each command; all examples are accepted as arguments, where the files that they name are there."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "login.clnrm.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert each.name
    assert main([each.name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert len(each.examples) > 1
    assert {0, 1, 2} <= set(each.exits)
    for code, meaning in each.exits.items():
        assert re.search(rf"^  {code} +{re.escape(meaning[:40])}", shown, re.MULTILINE)
    for words, _ in each.examples:
        assert f"\n  clnrm {words}\n" in shown
        arguments = shlex.split(words.partition(" > ")[0])
        assert arguments.pop(0) == each.name
        each.make_context(each.name, arguments)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Is the package's."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pytest-clnrm {version('pytest-clnrm')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command."),
        (["stat"], "No such command 'stat'."),
        (["stat\x1b[2J"], "No such command "),
        (["status", "--foo"], "No such option:? '?--foo"),
        (["status", "--js"], "No such option:? '?--js'?.* Did you mean '?--json"),
        (["sweep", "--engine", "x"], "'x' is not an engine: auto, embedded, kubernetes or a URL"),
        (["check"], "Missing argument 'FILE...'"),
        (["import"], "Missing argument 'FILE'"),
        (["schema", "--path", "--write", "x"], "--path and --write do not go together"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One error that says what is wrong, and exit code 2."""
    assert main(arguments) == cli.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("Error: ") == 1
    assert "\x1b" not in output.err
    assert re.search(message, output.err, re.IGNORECASE), output.err


LIGHT = """
import sys
from pytest_clnrm.cli.main import main
assert main(["--help"]) == 0
assert main(["check", "--help"]) == 0
heavy = {"docker", "pytest", "_pytest", "msgspec", "jinja2", "rich", "opentelemetry", "requests", "filelock"}
assert not heavy & {name.partition(".")[0] for name in sys.modules}, sorted(sys.modules)
"""


def test_help_is_light() -> None:
    """It imports the library of the command line, and nothing that only a command needs."""
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_status_of_an_idle_host(ledger_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that there is nothing, and makes nothing."""
    assert main(["status"]) == 0
    assert capsys.readouterr().out == NOTHING
    assert not ledger_dir.exists()
    ledger_dir.mkdir()
    assert main(["status", "--ledger-dir", str(ledger_dir)]) == 0
    assert capsys.readouterr().out == NOTHING
    assert not list(ledger_dir.iterdir())
    open_folder(ledger_dir, {})
    assert main(["status", "--ledger-dir", str(ledger_dir)]) == 0
    assert capsys.readouterr().out == NOTHING


def test_status_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One document, with its format."""
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"format": 1, "runs": [], "budgets": [], "prepared": []}


@pytest.mark.parametrize("command", ["status", "sweep"])
def test_a_folder_that_is_not_there(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was named has to be there: an error of one line, and exit code 1."""
    assert main([command, "--ledger-dir", str(tmp_path / "typo")]) == 1
    assert capsys.readouterr().err == (f"clnrm: --ledger-dir {tmp_path / 'typo'}: there is no such folder\n")


def test_watching_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status again and again, until Ctrl-C, which is no error of ours."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    assert main(["status", "--watch"]) == 130
    assert capsys.readouterr().out == NOTHING * 2


def test_who_reads_may_stop() -> None:
    """A closed pipe ends it without a traceback."""
    command = [sys.executable, "-m", "pytest_clnrm", "status", "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["format"] == 1
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_sweep_says_what_it_removed(
    ledger_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It connects as asked, sweeps, with what was kept if asked, and gives up the engine."""
    engine = FakeEngine()
    asked: list[object] = []

    def connect(choice: str, **_: object) -> FakeEngine:
        asked.append(choice)
        return engine

    def sweep(folder: object, used: object, *, kept: bool) -> Counter[str]:
        asked.append((folder, used, kept))
        return Counter(container=2, network=1)

    folder = open_folder(ledger_dir, {})
    monkeypatch.setattr("pytest_clnrm.engine.connect.connect.connect", connect)
    monkeypatch.setattr(cleaner, "sweep_dead", sweep)
    assert main(["sweep", "--kept", "--engine", "tcp://host:2375"]) == 0
    assert capsys.readouterr().out == "removed: 2 containers, 1 network\n"
    assert main(["sweep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"container": 2, "network": 1, "volume": 0, "image": 0}
    assert asked == ["tcp://host:2375", (folder, engine, True), "auto", (folder, engine, False)]
    assert engine.closed == 2


def test_sweep_without_a_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no ledger, nothing is known to be ours, and no engine is asked."""
    assert main(["sweep"]) == 0
    assert capsys.readouterr().out == "removed: nothing\n"


def test_sweep_without_an_engine(
    ledger_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason and the remedies, and exit code 1."""

    def connect(choice: str, **_: object) -> None:
        raise EngineUnavailableError("no container engine answers", ("tried: x", "start one"))

    open_folder(ledger_dir, {})
    monkeypatch.setattr("pytest_clnrm.engine.connect.connect.connect", connect)
    assert main(["sweep"]) == cli.FAILED
    assert capsys.readouterr().err == "clnrm: no container engine answers\ntried: x\nstart one\n"


def test_the_docs_have_the_help() -> None:
    """Of each command, as it is now; versions of click break lines at other places."""
    text = command_line.DOCS.read_text(encoding="utf-8")
    assert text.split() == command_line.with_help(text).split()


def test_output_that_cannot_be_written() -> None:
    """One line, and exit code 1."""
    command = [sys.executable, "-m", "pytest_clnrm", "schema"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "clnrm: [Errno 28] No space left on device\n")


def test_windows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Is refused in one line: modules are missing there."""
    monkeypatch.setattr("pytest_clnrm.cli.main._SYSTEM", "nt")
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith("clnrm: not on Windows itself: run it in WSL 2")


def test_the_script() -> None:
    """``clnrm`` is what pyproject.toml calls so."""
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert tomli.loads(text)["project"]["scripts"] == {"clnrm": "pytest_clnrm.cli.main:main"}
