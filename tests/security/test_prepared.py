"""Images of prepared services: what may be read in them, and that none stands for another service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.end_to_end import EndToEnd, Run, environment_of_a_run

pytestmark = pytest.mark.engine

SERVE = "[ -e /made ] || {{ {work}touch /made; }}; trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
# What is in an image is not about how fast one starts from it: one start tells, and it may take any time.
CONFTEST = """
from pytest_clnrm.runner import prepared

prepared._FASTER, prepared._CLOSE_STARTS = float("inf"), 1
"""
SERVICE = """
[service.db]
image = "x"
prepare = {prepare}
command = ["sh", "-c", "{serve}"]
ready = {{ log = "^up$" }}
{more}
[[step]]
run = "{run}"
"""


def _service(*, work: str = "", prepare: str = "true", more: str = "", run: str = "test -e /made") -> str:
    return SERVICE.format(serve=SERVE.format(work=work), prepare=prepare, more=more, run=run)


@pytest.fixture
def prepared(project: EndToEnd, needs: Needs) -> Iterator[EndToEnd]:
    """Return a project whose prepared images are removed at the end."""
    needs("images of prepared services")
    (project.path / "conftest.py").write_text(CONFTEST)
    yield project
    command = [sys.executable, "-m", "pytest_clnrm", "sweep", "--prepared"]
    command += ["--ledger-dir", str(project.path / "ledger")]
    subprocess.run(command, check=False, capture_output=True, env=environment_of_a_run())


def _kept(run: Run) -> set[str]:
    return {name for name, each in run.scenarios.items() if each["containers"][0]["prepared"]}


def test_a_secret_does_not_get_into_an_image(prepared: EndToEnd) -> None:
    """Whether it is in a variable or a command: the service starts from its own image, and that is said."""
    prepared.environment["KEY"] = "hush-hush"
    prepared.write("variable.clnrm.toml", _service(more='env = { KEY = "hush-hush" }'))
    prepared.write("command.clnrm.toml", _service(prepare='"echo hush-hush > /key"'))
    run = prepared.run("-o", "clnrm_secrets=KEY")
    assert not _kept(run), f"IT IS IN AN IMAGE: {_kept(run)}"
    told = {name: each["notes"][0].partition("image: ")[2] for name, each in run.scenarios.items()}
    rest = "which would stay in the image; prepare = { secrets = true } says that it may"
    assert told == {
        "variable": f"there is a secret in its environment, {rest}",
        "command": f"there is a secret in its command, {rest}",
    }, run.text


def test_a_secret_in_files_does_not_get_into_an_image(prepared: EndToEnd) -> None:
    """Whether they are copied in or mounted; said otherwise they are prepared."""
    prepared.environment["KEY"] = "hush-hush"
    prepared.write("seed/key", "the key is hush-hush\n")
    mount = 'volumes = [{ source = "seed", target = "/seed" }]'
    prepared.write("files.clnrm.toml", _service(more='files = [{ content = "hush-hush", target = "/key" }]'))
    prepared.write("mounted.clnrm.toml", _service(more=mount, work="cp /seed/key /key; "))
    prepared.write("said.clnrm.toml", _service(more=mount, prepare="{ secrets = true }"))
    run = prepared.run("-o", "clnrm_secrets=KEY")
    assert _kept(run) == {"said"}, f"IT IS IN AN IMAGE: {_kept(run)}"
    notes = [run.scenarios[name]["notes"][0] for name in ("files", "mounted")]
    assert "there is a secret in its files, which" in notes[0]
    assert "there is a secret in " in notes[1]
    assert "/seed, which would stay in the image" in notes[1]


def test_an_image_does_not_stand_for_another_service(prepared: EndToEnd) -> None:
    """What is mounted may change what the first start leaves."""
    mount = 'volumes = [{ source = "seed", target = "/seed" }]'
    text = _service(more=mount, work="cp /seed/rows /rows; ", run="cat /rows")
    prepared.write("a.clnrm.toml", text)
    seen = []
    for rows in ("first", "second"):
        prepared.write("seed/rows", f"{rows}\n")
        run = prepared.run()
        assert _kept(run) == {"a"}, run.text
        seen.append(run.steps("a")["step 1"]["stdout"].strip())
    assert seen == ["first", "second"], f"IT IS OF ANOTHER: {seen}"
