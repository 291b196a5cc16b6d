"""``python -m pytest_clnrm``: arguments, messages, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pytest_clnrm import cli
from pytest_clnrm.cleanup import cleaner
from pytest_clnrm.cli import main
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

    def close(self) -> None:
        self.closed += 1


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands, what they do, and the exit codes."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "status show runs, workers, waiters and budgets" in shown
    assert "sweep remove what dead runs left on the engine" in shown
    assert "exit codes: 0 done, 1 it could not be done (the reason is on stderr), 2 wrong arguments" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["stat"], "invalid choice: 'stat'"),
        (["status", "--foo"], "unrecognized arguments: --foo"),
        (["status", "--js"], "unrecognized arguments: --js"),
        (["sweep", "--engine", "x"], "'x' is not an engine: auto, embedded or a URL"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One error that says what is wrong, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("error: ") == 1
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


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
    assert capsys.readouterr().err == (
        f"pytest_clnrm: --ledger-dir {tmp_path / 'typo'}: there is no such folder\n"
    )


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
    assert asked == ["tcp://host:2375", (folder, engine, True)]
    assert engine.closed == 1


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
    assert capsys.readouterr().err == "pytest_clnrm: no container engine answers\ntried: x\nstart one\n"
