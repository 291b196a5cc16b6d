"""What is written down of an idle container is read back as it was, and believed only where it is ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_clnrm.pool.idle_record import IdleRecord

RECORD = IdleRecord(
    id="c1",
    name="clnrm-a-gw0-1-box",
    owner="shared-a",
    lease="shared-a-12345678",
    network=("n1", "clnrm-a-gw0-n1"),
    service="box",
    specification="s",
    made_of="m",
    fingerprint={"mounts": "x\u00ff"},
    told={"end_mark": "e", "facts": {"pid": 7}},
    created_s=1.5,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with a record."""
    RECORD.write(tmp_path / "x.json")
    return tmp_path / "x.json"


def test_it_is_read_back(file: Path) -> None:
    """All of it, and only its user may look."""
    assert IdleRecord.read(file) == RECORD
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o640, 0o604])
def test_what_others_may_write_or_read_is_not_believed(file: Path, mode: int) -> None:
    """They could have written what the container is compared with."""
    file.chmod(mode)
    assert IdleRecord.read(file) is None


def test_a_link_is_not_followed(file: Path) -> None:
    """It may lead to a file of this user that somebody else has chosen."""
    link = file.with_name("link.json")
    link.symlink_to(file)
    assert IdleRecord.read(link) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "1", json.dumps({"id": "c1"})])
def test_what_is_no_record(file: Path, text: str) -> None:
    """A damaged file, and one of another version, is none."""
    file.write_text(text)
    assert IdleRecord.read(file) is None
    assert IdleRecord.read(file.with_name("missing.json")) is None
