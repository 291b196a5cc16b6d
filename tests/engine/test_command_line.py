"""``clnrm`` on a real engine: what ``new`` writes runs."""

from __future__ import annotations

import io

import pytest
from clnrm_testing.end_to_end import EndToEnd

from pytest_clnrm.cli.main import main

pytestmark = pytest.mark.engine


def build(project: EndToEnd, name: str, lines: str) -> str:
    """Build an image of the project's, and return its name."""
    tag = f"clnrm-{name}:{project.token}"
    dockerfile = io.BytesIO(f"FROM {project.image}\n{lines}\n".encode())
    for line in project.client.build(
        fileobj=dockerfile, tag=tag, rm=True, labels={"clnrm-test": project.token}
    ):
        assert b'"error"' not in line, line
    return tag


def test_first_files_run(project: EndToEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example, and what is proposed for an image of each kind, pass as they were written."""
    images = {
        "shell": build(project, "shell", 'CMD ["sh"]'),
        "tool": build(project, "tool", 'ENTRYPOINT ["echo"]\nCMD ["--help"]'),
        "server": build(
            project,
            "server",
            "RUN echo hi >/index.html\nEXPOSE 8080\n"
            'ENTRYPOINT ["httpd", "-f"]\nCMD ["-p", "8080", "-h", "/"]',
        ),
    }
    monkeypatch.chdir(project.write("first.clnrm.toml", "").parent)
    assert main(["new", "--force"]) == 0
    for name, image in images.items():
        assert main(["new", f"{name}.clnrm.toml", "--from", image]) == 0
    run = project.run("--clnrm-image-map", f"busybox:*={project.image}", mapped=False)
    outcomes = {name: each["outcome"] for name, each in run.scenarios.items()}
    assert outcomes == dict.fromkeys(["first", *images], "passed"), run.text
