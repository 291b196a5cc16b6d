"""The files that are copied into a container are read when it is made, and are what was judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.engine.api import CopiedFile
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.service import Copy, Service
from pytest_clnrm.runner.copied_files import copied_files


def test_what_is_copied(tmp_path: Path) -> None:
    """Sources as they are now, texts as UTF-8; a program stays one, and a mode that is given holds."""
    program, plain = tmp_path.resolve() / "run", tmp_path.resolve() / "plain"
    program.write_bytes(b"\0bytes")
    program.chmod(0o700)
    plain.write_text("x")
    plain.chmod(0o600)
    files = (
        Copy(source=str(program), target="/a"),
        Copy(source=str(plain), target="/b"),
        Copy(source=str(program), target="/c", mode=0o600),
        Copy(content="\u00e9", target="/d"),
        Copy(content="", target="/e", mode=0o750),
    )
    assert copied_files(Service(name="box", files=files)) == (
        CopiedFile(target="/a", content=b"\0bytes", mode=0o755),
        CopiedFile(target="/b", content=b"x", mode=0o644),
        CopiedFile(target="/c", content=b"\0bytes", mode=0o600),
        CopiedFile(target="/d", content=b"\xc3\xa9", mode=0o644),
        CopiedFile(target="/e", content=b"", mode=0o750),
    )


def test_a_source_that_was_exchanged(tmp_path: Path) -> None:
    """A link that came later is not followed, and what is gone or a folder now is told."""
    folder = tmp_path.resolve()
    (folder / "secret").write_text("x")
    (folder / "link").symlink_to("secret")
    for source in ("link", "gone", "."):
        service = Service(name="box", files=(Copy(source=str(folder / source), target="/a"),))
        with pytest.raises(
            ContainerError, match=r"^file /a: .*; it was exchanged since the scenario's file was"
        ):
            copied_files(service)
