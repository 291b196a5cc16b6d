"""Scenario files from files of Docker Compose: compared whole, loaded, and nothing is lost."""

from __future__ import annotations

import builtins
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.cli.main import main
from pytest_clnrm.compose.reading import ComposeFile, Value
from pytest_clnrm.compose.scenario_file import scenario_of
from pytest_clnrm.errors import ClnrmError, ScenarioFileError
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions

pytest.importorskip("yaml")

DATA = Path(__file__).parents[2] / "data" / "compose"
FILES = sorted(path.name for path in DATA.iterdir() if path.suffix in {".yml", ".yaml"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the data, in which files may be written."""
    return Path(shutil.copytree(DATA, tmp_path / "project")).resolve()


@pytest.mark.parametrize("name", FILES)
def test_whole_file(name: str, folder: Path) -> None:
    """What is written is what it is known to be, and is read without a mistake."""
    text = scenario_of(folder / name)
    assert text == (DATA / f"{name}.expected.toml").read_text(encoding="utf-8")
    path = folder / "made.clnrm.toml"
    path.write_text(text, encoding="utf-8")
    variables = {"LOG_LEVEL": "info", "NGINX_VERSION": "1.27"}
    (scenario,) = load(
        str(path), LoadOptions(rootdir=str(folder), environ=variables, env_allowed=tuple(variables))
    )
    assert scenario.steps


WRITTEN = {
    "0.50": "0.5",
    "1m30s": "90s",
    "CMD": "command",
    "CMD-SHELL": "command",
    "service_completed_successfully": "ready = { exit = 0 }",
    "service_healthy": "depends_on",
    "service_started": "depends_on",
    "tcp": "ports",
    "tmpfs": "scratch",
    "volume": "volumes",
}
"""What stands for a value that is written in another way."""


def leaves(value: Value) -> Iterator[Value]:
    """Yield each single value."""
    if isinstance(value.data, dict):
        for key, each in value.data.items():
            if not key.startswith("x-"):
                yield from leaves(each)
    elif isinstance(value.data, list):
        for each in value.data:
            yield from leaves(each)
    elif value.data is not None:
        yield value


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_lost(name: str, folder: Path) -> None:
    """Each value stands in the scenario file, or a comment names it, or a key around it."""
    text = scenario_of(folder / name)
    named = re.findall(rf"^# {re.escape(name)}:\d+: (\S+): ", text, re.MULTILINE)
    kept = "\n".join(
        line for line in text.splitlines() if not line.startswith("#") or line.startswith("# Without these")
    )
    for value in leaves(ComposeFile(folder / name).root):
        told = any(value.path == each or value.path.startswith((f"{each}.", f"{each}[")) for each in named)
        written = WRITTEN.get(str(value.data), str(value.data))
        assert told or all(word in kept for word in re.findall(r"\w+", written)), value


def test_a_profile_is_asked_for(folder: Path) -> None:
    """A service with a profile is taken only then."""
    assert "[service.mail]" not in scenario_of(folder / "fastapi.yaml")
    assert "[service.mail]" in scenario_of(folder / "fastapi.yaml", ["debug"])


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("env_file: app", "web.env_file: ./app is no file"),
        (f"env_file: {'a' * 300}", "web.env_file: there is no aaa"),
        ("build: ~nobody-of-that-name/x", "web.build: there is no ~nobody-of-that-name/x"),
        ("hostname: '{{ x }}'", "web.hostname: '{{ x }}' would be taken for a template"),
        ("mem_limit: ${MEMORY:-1g}", "web.mem_limit: '${MEMORY:-1g}' depends on a variable"),
        ("user: ${}", "web.user: '${}' uses a variable in a way that has no counterpart"),
        ("network_mode: service:db", "web.network_mode: service:db: has no counterpart"),
    ],
)
def test_what_is_left_out(keys: str, told: str, folder: Path) -> None:
    """Each has a comment with the reason."""
    (folder / "c.yml").write_text(f"services:\n  web:\n    image: x:1\n    {keys}\n", encoding="utf-8")
    assert f"# c.yml:4: services.{told}" in scenario_of(folder / "c.yml")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services:\n  web: [image", "FILE:2:14: is no valid YAML: expected ',' or ']', but got"),
        ("a: 1\na: 2\n", 'FILE:2:1: the key "a" is there twice'),
        ("x: 1\n", "FILE:1:1: has no `services`"),
        ("- 1\n", "FILE:1:1: is no file of Docker Compose: expected a mapping with `services`"),
        ("", "FILE:1:1: is no file of Docker Compose"),
        ("services: [web]\n", "FILE:1:1: services: `services` has to be a mapping"),
        ("services:\n  web: nginx\n", "FILE:2:3: services.web: a service has to be a mapping"),
        ("services: !reset null\n", "the tag !reset is not understood"),
        ("services: &a {web: *a}\n", "is nested more than 50 levels deep"),
        (f"services: {'[' * 5000}", "FILE"),
        ("services: {a: {profiles: ['$A']}}\n", "'$A' depends on a variable, and has to be known here"),
        (BOMB, "holds more than 100000 values, its aliases filled in"),
        ("services: {web: {<<: 3}}\n", "`<<` takes a mapping, or a list of them"),
        ("? [a]\n: 1\n", "FILE:1:3: a key has to be a text"),
        ("services: \x00\n", "is no valid YAML"),
    ],
)
def test_bad_files(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One error with its place, and no traceback."""
    path = tmp_path / "compose.yml"
    path.write_text(text, encoding="utf-8")
    assert main(["import", str(path)]) == 1
    told = capsys.readouterr()
    assert message.replace("FILE", str(path)) in told.err
    assert not told.out
    assert "Traceback" not in told.err


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """One that is not there, is no text, or is too large."""
    path = tmp_path / "compose.yml"
    with pytest.raises(ScenarioFileError, match="cannot be read: No such file"):
        scenario_of(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioFileError, match="is not UTF-8"):
        scenario_of(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ScenarioFileError, match="is larger than 1 MiB"):
        scenario_of(path)


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what to install."""
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(
        ClnrmError, match=re.escape("import needs PyYAML: pip install 'pytest-clnrm[compose]'")
    ):
        scenario_of(folder / "wordpress.yml")


def test_where_it_is_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To stdout, or to a file beside the other one, which is overwritten only if that is asked for."""
    source, output = str(folder / "elastic.yml"), folder / "elastic.clnrm.toml"
    assert main(["import", source]) == 0
    text = capsys.readouterr().out
    assert main(["import", source, "-o", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == text
    output.write_text("mine", encoding="utf-8")
    assert main(["import", source, "-o", str(output)]) == 1
    assert f"{output} is there already: --force overwrites it" in capsys.readouterr().err
    assert output.read_text(encoding="utf-8") == "mine"
    assert main(["import", source, "-o", str(output), "--force"]) == 0
    assert output.read_text(encoding="utf-8") == text
    assert main(["import", source, "-o", str(tmp_path / "x.toml")]) == 1
    assert "write it into the same folder" in capsys.readouterr().err
    assert main(["import", source, "-o", str(folder / "app"), "--force"]) == 1
    assert "write it into the same folder" not in capsys.readouterr().err
