"""A scenario file names files of the host outside of its project."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("source", ["/etc", "../..", "link"])
def test_source_outside(project: EndToEnd, source: str) -> None:
    """Folders elsewhere are refused when the file is read, themselves or through a link; so are blocks."""
    project.folder.mkdir()
    (project.folder / "link").symlink_to("/etc")
    project.write(
        "a.clnrm.toml",
        '[service.box]\nimage = "busybox"\n'
        f'volumes = [{{ source = "{source}", target = "/w", read_only = true }}]\n'
        '[[step]]\nrun = "ls /w"\n',
    )
    (project.path.parent / "blocks.toml").write_text('[steps.a]\n[[steps.a.step]]\nrun = "x"\n')
    project.write("b.clnrm.toml", '[[step]]\nuse = "../../blocks.toml#a"\n')
    run = project.run("--collect-only")
    assert run.text.count("outside of the project") == 2, f"DID NOT FAIL\n{run.text}"
    assert not Path(project.path, "ledger").exists()
