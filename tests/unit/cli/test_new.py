"""``clnrm new``: the example, what is proposed for an image, and where it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.cli.first_file import head, kind_of, proposal
from pytest_clnrm.cli.main import main
from pytest_clnrm.engine.api import ImageFacts
from pytest_clnrm.errors import ImageError
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.seen import ImageSeen
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a project, in which the command is started."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path.resolve() / "project"
    (place / "tests").mkdir(parents=True)
    monkeypatch.chdir(place)
    return place


def loaded(path: str) -> Scenario:
    """Return the one scenario of a file."""
    (scenario,) = load(str(Path(path).resolve()), LoadOptions(rootdir=str(Path.cwd())))
    return scenario


def test_the_example(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that loads, with its name, and a first line that leads to the schema."""
    assert main(["new", "tests/orders.clnrm.toml"]) == 0
    assert (
        capsys.readouterr().out == "wrote tests/orders.clnrm.toml; run it: pytest tests/orders.clnrm.toml\n"
    )
    first, *_ = Path("tests/orders.clnrm.toml").read_text(encoding="utf-8").splitlines()
    assert first == "#:schema ../.clnrm/scenario.schema.json"
    assert (folder / "tests" / first.removeprefix("#:schema ")).resolve().is_file()
    scenario = loaded("tests/orders.clnrm.toml")
    assert scenario.name == "orders"
    assert [step.name for step in scenario.steps] == ["the service runs as root", "the page is there"]


def test_where_it_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into the current folder, or a named one; never over another file, nor under another suffix."""
    assert main(["new", "--no-schema"]) == 0
    assert loaded("first.clnrm.toml").name == "first"
    assert "#:schema" not in Path("first.clnrm.toml").read_text(encoding="utf-8")
    assert not (folder / ".clnrm").exists()
    assert main(["new", "tests"]) == 0
    assert loaded("tests/first.clnrm.toml").name == "first"
    Path("tests/first.clnrm.toml").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert main(["new", "tests"]) == 1
    assert capsys.readouterr().err == (
        "clnrm: tests/first.clnrm.toml is there already: --force overwrites it\n"
    )
    assert Path("tests/first.clnrm.toml").read_text(encoding="utf-8") == "mine"
    assert main(["new", "tests", "--force"]) == 0
    assert loaded("tests/first.clnrm.toml").name == "first"
    for name in ("x.toml", ".clnrm.toml"):
        capsys.readouterr()
        assert main(["new", name]) == 2
        assert f"Error: {name}: the name of a scenario file ends in .clnrm.toml" in capsys.readouterr().err


def test_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written."""
    assert main(["new", "--stdout"]) == 0
    assert capsys.readouterr().out.startswith("#:schema .clnrm/scenario.schema.json\n# Run it: pytest first.")
    assert [each.name for each in folder.iterdir()] == ["tests"]


IMAGES: dict[str, tuple[str, dict[str, Any], str, list[str]]] = {
    "preset": (
        "registry.example/mirror/postgres:16-alpine",
        {"entrypoint": ("docker-entrypoint.sh",), "cmd": ("postgres",), "exposed": ("5432/tcp",)},
        "preset",
        ['preset = "postgres"', 'image = "registry.example/mirror/postgres:16-alpine"'],
    ),
    "a tool": (
        "alpine/git@sha256:" + 64 * "0",
        {"entrypoint": ("git",), "cmd": ("--help",)},
        "tool",
        ['run = ["--help"]'],
    ),
    "a tool with braces": (
        "tool:1",
        {"entrypoint": ("fmt",), "cmd": ("--template={{.Name}}",)},
        "tool",
        ['run = ["{% raw %}--template={{.Name}}{% endraw %}"]'],
    ),
    "a shell": ("alpine:3", {"cmd": ("/bin/sh",)}, "shell", ["[service.box]", 'run = "echo hello"']),
    "nothing": (
        "scratch-like:1",
        {},
        "shell",
        ["# The image runs nothing by itself, as root", "a list needs no"],
    ),
    "a server": (
        "nginx:1",
        {
            "entrypoint": ("/docker-entrypoint.sh",),
            "cmd": ("nginx", "-g", "daemon off;"),
            "exposed": ("80/tcp",),
        },
        "server",
        [
            '# command = ["nginx", "-g", "daemon off;"]',
            "ready = { port = 80 }",
            'http = ":80/health"',
            'http = "GET http://app:80/"',
        ],
    ),
    "a server of several ports": (
        "app:1",
        {
            "cmd": ("serve",),
            "exposed": ("22/tcp", "53/udp", "8080/tcp"),
            "user": "app",
            "volumes": ("/data",),
        },
        "server",
        ["ready = { port = 8080 }", "#   ports: 22/tcp, 53/udp, 8080/tcp", "#   volume: /data", ", as app"],
    ),
    "no HTTP": ("app:1", {"cmd": ("serve",), "exposed": ("22/tcp",)}, "server", ["port = 22   # something"]),
    "UDP alone": ("dns:1", {"cmd": ("serve",), "exposed": ("53/udp",)}, "server", ["# ready = { log ="]),
    "its own health check": (
        "app:1",
        {"cmd": ("serve",), "exposed": ("8080/tcp",), "healthcheck_s": 3.0},
        "server",
        ["ready = { healthcheck = true }"],
    ),
    "odd words": ("app:1", {"cmd": ("serve\n[x]\x7f\x1b", '"'), "user": "a\nb"}, "server", ["as a\\nb"]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_proposed(name: str) -> None:
    """For each kind of image: it loads, and has what fits."""
    reference, says, kind, lines = IMAGES[name]
    entrypoint, cmd = says.get("entrypoint", ()), says.get("cmd", ())
    facts = ImageFacts(
        id="sha256:0",
        reference=reference,
        entrypoint=entrypoint,
        command=(*entrypoint, *cmd),
        exposes=bool(says.get("exposed")),
        healthcheck_s=says.pop("healthcheck_s", 0.0),
    )
    assert kind_of(reference, facts) == kind
    text = head("x.clnrm.toml", "x", "") + proposal(reference, facts, ImageSeen(**says))
    for line in lines:
        assert line in text
    Path("x.clnrm.toml").write_text(text, encoding="utf-8")
    assert loaded("x.clnrm.toml").name == "x"


class FakeEngine:
    """An engine that has one image."""

    def ensure_image(self, reference: str, _pull: str, progress: Any) -> ImageFacts:
        if reference == "nowhere:1":
            raise ImageError("cannot pull the image 'nowhere:1': there is none")
        progress(f"pulling {reference}")
        progress(f"pulling {reference}: 1 of 1 layers")
        return ImageFacts(id="sha256:1", reference=reference, command=("serve",))

    def look_at_image(self, image: str) -> ImageSeen:
        assert image == "sha256:1"
        return ImageSeen(cmd=("serve",), exposed=("8080/tcp",))

    def close(self) -> None:
        """Nothing is open."""


def test_from_an_image(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is looked at through the engine; a pull is said once, and an image that is nowhere is one error."""
    monkeypatch.setattr("pytest_clnrm.engine.connect.connect.connect", lambda *_, **__: FakeEngine())
    assert main(["new", "app.clnrm.toml", "--from", "app:1"]) == 0
    assert capsys.readouterr().err == "clnrm: pulling app:1\n"
    assert loaded("app.clnrm.toml").services[0].image == "app:1"
    assert main(["new", "b.clnrm.toml", "--from", "nowhere:1"]) == 1
    assert capsys.readouterr().err == "clnrm: cannot pull the image 'nowhere:1': there is none\n"
    assert not Path("b.clnrm.toml").exists()
    # A file that is there already is told before an image is pulled.
    assert main(["new", "app.clnrm.toml", "--from", "nowhere:1"]) == 1
    assert "is there already" in capsys.readouterr().err
