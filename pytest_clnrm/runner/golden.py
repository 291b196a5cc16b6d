"""The files that a scenario compares texts with: read, and rewritten where the run asks for that.

All processes of a run have one folder of claims, a file for each path that is to be rewritten: so two
scenarios that want different contents of it are found, whichever worker has them. What an attempt of a
scenario wants is written once that has passed: what a program prints that fails is not what it should print.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pytest_clnrm.expect.golden import GoldenFileError
from pytest_clnrm.scenario.mounts import may_be_loaded
from pytest_clnrm.util.beneath import open_beneath
from pytest_clnrm.util.files import write_whole

MAX_BYTES = 4 << 20
CLAIMS = "golden"
"""Name of the folder of claims in that of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFolder:
    """The files beside a scenario file, beneath *rootdir*, through no link.

    :param owner: of what is written: the same step may write again.
    :param claims: None if the run only compares.
    :param drafts: what is to be written, by the path from rootdir; it is shared by the steps of an attempt.
    :param without_secrets: hides them.
    :param loaded: globs of the names of what is loaded on this host: it is not written.
    """

    rootdir: str
    scenario_file: str
    owner: str = ""
    claims: Path | None = None
    drafts: dict[str, Draft] = field(default_factory=dict)
    without_secrets: Callable[[str], str] = str
    loaded: tuple[str, ...] = ()

    def _place(self, path: str) -> tuple[str, str]:
        """Return the root and the absolute path of a file."""
        folder = os.path.realpath(os.path.dirname(self.scenario_file))  # noqa: PTH120 (a text, as the next)
        return os.path.realpath(self.rootdir), os.path.normpath(os.path.join(folder, path))  # noqa: PTH118

    def read(self, path: str) -> str:
        """Return the content of a file.

        :raises GoldenFileError: if it cannot be read.
        """
        try:
            with open_beneath(*self._place(path)) as opened:
                return opened.read(MAX_BYTES).decode()
        except FileNotFoundError:
            why = "there is none: run with --clnrm-update-golden to write it"
        except UnicodeDecodeError as error:
            why = f"it is no UTF-8: {error.reason} at byte {error.start}"
        except OSError as error:
            why = _why(error)
        raise GoldenFileError(f"cannot be compared with the file {path!r}: {why}")

    def update(self, path: str, content: str) -> bool:
        """Note that a file is to have *content*, if the run updates files.

        :raises GoldenFileError: if it cannot be written, holds a secret, or another step wants other content.
        """
        if self.claims is None:
            return False
        self._check_harmless(path)
        if self.without_secrets(content) != content:
            raise GoldenFileError(f"holds a secret, which is not written to {path!r}: redact it")
        root, place = self._place(path)
        try:
            with suppress(FileNotFoundError):
                open_beneath(root, os.path.dirname(place)).close()  # noqa: PTH120
        except OSError as error:
            raise GoldenFileError(f"cannot be written to {path!r}: {_why(error)}") from None
        self._claim(path, content, changed=False)
        self.drafts[os.path.relpath(place, root)] = Draft(self, path, content)
        return True

    def write(self, path: str, content: str) -> None:
        """Make *content* that of a file, if it has another.

        :raises GoldenFileError: if it cannot be written, or another scenario has written other content.
        """
        with suppress(GoldenFileError):
            if self.read(path) == content:
                return
        self._claim(path, content, changed=True)
        root, place = self._place(path)
        try:
            parent, name = os.path.split(place)
            # Only below rootdir anything is made, and what is there is entered through no link.
            self._make_folder(root, parent)
            with open_beneath(root, parent) as folder:
                write_whole(Path(folder.reach) / name, content)
        except OSError as error:
            self._claim_of(path).unlink(missing_ok=True)
            raise GoldenFileError(f"cannot be written to {path!r}: {_why(error)}") from None

    def give_up(self, path: str) -> None:
        """Let others have another content of a file: that of this owner is not written."""
        claim = self._claim_of(path)
        with suppress(FileNotFoundError):
            if json.loads(claim.read_text())["owner"] == self.owner:
                claim.unlink()

    def _check_harmless(self, path: str) -> None:
        """Refuse a file that something on this host acts by: what programs print must not get there.

        :raises GoldenFileError: with the name.
        """
        root, place = self._place(path)
        folder = os.path.dirname(self._place("x")[1])  # noqa: PTH120
        own = len(Path(os.path.relpath(os.path.commonpath([place, folder]), root)).parts)
        for depth, name in enumerate(Path(os.path.relpath(place, root)).parts):
            why = ""
            if may_be_loaded(name, self.loaded):
                why = "may be loaded on this host"
            elif depth >= own and name.startswith(".") and name != "..":
                why = "is hidden"
            if why:
                raise GoldenFileError(f"is not written to {path!r}: {name} {why}; choose another name")

    @staticmethod
    def _make_folder(root: str, folder: str) -> None:
        """Make a folder beneath *root* where it is missing.

        :raises OSError: if it lies outside, or behind a link.
        """
        missing: list[str] = []
        while True:
            try:
                open_beneath(root, folder).close()
                break
            except FileNotFoundError:
                folder, name = os.path.split(folder)
                missing.append(name)
        for name in reversed(missing):
            with open_beneath(root, folder) as above, suppress(FileExistsError):
                (Path(above.reach) / name).mkdir()
            folder = f"{folder}/{name}"

    def _claim_of(self, path: str) -> Path:
        assert self.claims is not None  # noqa: S101 (asked for where files are updated)
        return self.claims / hashlib.sha256(self._place(path)[1].encode()).hexdigest()

    def _claim(self, path: str, content: str, *, changed: bool) -> None:
        """Note that a file has this content in this run.

        :raises GoldenFileError: if another step wants other content.
        """
        root, place = self._place(path)
        digest = hashlib.sha256(content.encode()).hexdigest()
        shown = os.path.relpath(place, root)
        claim = {"path": shown, "digest": digest, "owner": self.owner, "changed": changed}
        file = self._claim_of(path)
        file.parent.mkdir(exist_ok=True)
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.write_text(json.dumps(claim))
        try:
            os.link(draft, file)  # whole, and once
        except FileExistsError:
            other = json.loads(file.read_text())
            if other["owner"] == self.owner or (changed and other["digest"] == digest):
                draft.replace(file)
            elif other["digest"] != digest:
                raise GoldenFileError(
                    f"is another content of the file {path!r} than {other['owner']} has in this run: "
                    "give each a file of its own, or redact what differs"
                ) from None
        finally:
            draft.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a step of an attempt wants a file to be."""

    folder: GoldenFolder
    path: str
    content: str


def settle(drafts: dict[str, Draft], *, passed: bool) -> Iterator[str]:
    """Write what the steps of an attempt wanted if that has passed, else forget it.

    :return: why files could not be written.
    """
    for draft in drafts.values():
        if not passed:
            draft.folder.give_up(draft.path)
            continue
        try:
            draft.folder.write(draft.path, draft.content)
        except GoldenFileError as error:
            yield f"what is compared with a file {error}"
    drafts.clear()


def updated(claims: Path) -> list[str]:
    """Return the paths, from rootdir, of the files that a run has rewritten."""
    read = [json.loads(each.read_text()) for each in claims.glob("*")] if claims.is_dir() else []
    return sorted(each["path"] for each in read if each["changed"])


def _why(error: OSError) -> str:
    return {
        errno.ELOOP: "it is a link, or lies behind one: name the file itself",
        errno.EXDEV: "it lies outside of rootdir: move it below",
    }.get(error.errno or 0, error.strerror or str(error))
