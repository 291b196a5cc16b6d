"""``clnrm check``: what it finds, where it looks, what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_clnrm.cli.main import main

GOOD = '[[step]]\nrun = "true"\nexpect = { exit = 0 }\n'
BAD = '[[step]]\nrun = "true"\nexepct = 1\n'
CLAIM = '[test]\nname = "x"\n[[steps]]\ncommand = ["true"]\nshine = "yes"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a project, in which the command is started."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    place = tmp_path / "project"
    place.mkdir()
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    monkeypatch.chdir(place)
    return place


def write(name: str, text: str) -> None:
    """Write a file of the project."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


def test_mistakes_have_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    """With line and remedy; the exit code tells that there are some."""
    write("tests/bad.clnrm.toml", BAD)
    write("tests/good.clnrm.toml", GOOD)
    assert main(["check", "tests/bad.clnrm.toml", "tests/good.clnrm.toml"]) == 1
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith('tests/bad.clnrm.toml:3:1: step[0].exepct: unknown key "exepct"; allowed here: ')
    assert first.endswith('(did you mean "expect"?)')
    assert last == "2 files, 1 scenario, 1 mistake"


def test_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; a file that is named twice, or lies in a named folder, is checked once."""
    write("good.clnrm.toml", GOOD)
    assert main(["check", "good.clnrm.toml", "good.clnrm.toml", "."]) == 0
    assert capsys.readouterr().out == "1 file, 1 scenario, no mistake\n"


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One document: each file with scenarios or mistakes, and their places."""
    write("a.clnrm.toml", BAD)
    write("b.clnrm.toml", f'[meta]\nname = "b"\n[matrix]\nn = [1, 2]\n{GOOD}')
    assert main(["check", "--json", "."]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == 1
    bad, good = found["files"]
    assert (bad["file"], bad["scenarios"], bad["unchecked"]) == ("a.clnrm.toml", [], [])
    (mistake,) = bad["mistakes"]
    assert {key: mistake[key] for key in ("line", "column", "path", "hint", "source")} == {
        "line": 3,
        "column": 1,
        "path": "step[0].exepct",
        "hint": 'did you mean "expect"?',
        "source": "exepct = 1",
    }
    assert (good["file"], good["scenarios"], good["mistakes"]) == ("b.clnrm.toml", ["b[n=1]", "b[n=2]"], [])


def test_folders_are_searched_as_pytest_does(capsys: pytest.CaptureFixture[str]) -> None:
    """For files of the setting's names, not in environments and in folders that the ini file leaves out."""
    write("pytest.ini", "[pytest]\nclnrm_files = *.scenario\nnorecursedirs = .* old-*\n")
    write("deep/er/one.scenario", GOOD)
    write("deep/two.clnrm.toml", BAD)
    write(".hidden/three.scenario", BAD)
    write("env/pyvenv.cfg", "")
    write("env/four.scenario", BAD)
    write("old-things/five.scenario", BAD)
    assert main(["check", "."]) == 0
    assert capsys.readouterr().out == "1 file, 1 scenario, no mistake\n"


def test_nothing_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without scenario files, and a path that is not there, are wrong arguments."""
    write("empty/readme.txt", "")
    assert main(["check", "empty"]) == 2
    assert "Error: there is no *.clnrm.toml below empty\n" in capsys.readouterr().err
    assert main(["check", "nowhere.clnrm.toml"]) == 2
    assert "Path 'nowhere.clnrm.toml' does not exist." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ini", "addopts"),
    [
        ("clnrm_max_memory = 64m", ""),
        ("addopts = --foreign-option 3 -n 2 -o clnrm_max_memory=64m", ""),
        ("required_plugins = pytest-nowhere\nstrict_config = true\nclnrm_max_memory = 64m\nforeign = 1", ""),
        ("", "--foreign -oclnrm_max_memory=64m"),
    ],
)
def test_settings_of_the_project(
    ini: str, addopts: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the ini file and of addopts count, and those of other plugins do not matter."""
    write("pytest.ini", f"[pytest]\n{ini}\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", addopts)
    write("x.clnrm.toml", f'{GOOD}[limits]\nmemory = "128m"\n')
    assert main(["check", "x.clnrm.toml"]) == 1
    assert "at most 64 MB" in capsys.readouterr().out


def test_wrong_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Are told with their place."""
    write("x.clnrm.toml", GOOD)
    write("pytest.ini", "[pytest]\nclnrm_memory = much\n")
    assert main(["check", "x.clnrm.toml"]) == 1
    assert capsys.readouterr().err.startswith("clnrm: pytest.ini:2: clnrm_memory: 'much' is not a size")
    write("pytest.ini", "[pytest]\naddopts = --clnrm-nonsense\n")
    assert main(["check", "x.clnrm.toml"]) == 1
    assert capsys.readouterr().err == "clnrm: unrecognized arguments: --clnrm-nonsense\n"
    write("pytest.ini", "[pytest\n")
    assert main(["check", "x.clnrm.toml"]) == 1
    assert "pytest.ini:1" in capsys.readouterr().err


def test_what_is_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """Is told, and with --strict a mistake."""
    write("x.clnrm.toml", CLAIM)
    assert main(["check", "x.clnrm.toml"]) == 0
    assert "x.clnrm.toml: not checked: steps[0].shine (clnrm_strict = true" in capsys.readouterr().out
    assert main(["check", "--strict", "x.clnrm.toml"]) == 1
    assert "steps[0].shine" in capsys.readouterr().out


def test_secrets_and_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is shown, in text and as JSON."""
    monkeypatch.setenv("TOKEN", "geheimnis-4711")
    write("pytest.ini", "[pytest]\nclnrm_secrets = TOKEN\n")
    write("x.clnrm.toml", '[[step]]\nrun = "geheimnis-4711"\nfoo = "geheimnis-4711 \u202e"\n')
    for words in (["check", "x.clnrm.toml"], ["check", "--json", "x.clnrm.toml"]):
        assert main(words) == 1
        output = capsys.readouterr().out
        assert "geheimnis" not in output
        assert "\u202e" not in output
        assert "foo" in output


def test_the_code_of_the_project_is_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    """No conftest.py is imported."""
    write("conftest.py", "raise SystemExit('was run')\n")
    write("x.clnrm.toml", GOOD)
    assert main(["check", "x.clnrm.toml"]) == 0
    assert "no mistake" in capsys.readouterr().out


def test_a_path_that_cannot_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Is refused, as by pytest."""
    write("a::b/x.clnrm.toml", GOOD)
    assert main(["check", "a::b"]) == 1
    assert "the path of a scenario file must not hold '::'" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Is no folder without mistakes; root may read any, so here it is the walk that says so."""
    write("tests/x.clnrm.toml", GOOD)

    def walk(*_: object, onerror: Callable[[OSError], None]) -> Iterator[object]:
        onerror(PermissionError(13, "Permission denied", "tests/sub"))
        yield "tests", [], []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.walk", walk)
        assert main(["check", "tests"]) == 1
    assert capsys.readouterr().err == "clnrm: tests/sub: Permission denied\n"


def test_json_in_the_log_of_a_ci_service(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays JSON, and holds no command."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    write("x.clnrm.toml", '"##[add-mask]" = 1\n')
    assert main(["check", "--json", "x.clnrm.toml"]) == 1
    output = capsys.readouterr().out
    assert "##[" not in output
    assert json.loads(output)["files"][0]["mistakes"][0]["source"] == '"##[add-mask]" = 1'


@pytest.mark.parametrize("name", ["PYTEST_PLUGINS", "PYTEST_ADDOPTS"])
def test_plugins_of_others_are_not_imported(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names them."""
    monkeypatch.setenv(name, "nowhere_at_all" if name == "PYTEST_PLUGINS" else "-p nowhere_at_all")
    write("x.clnrm.toml", GOOD)
    assert main(["check", "x.clnrm.toml"]) == 0
    assert "no mistake" in capsys.readouterr().out
