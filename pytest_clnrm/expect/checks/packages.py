"""Judging a package, by the lists that dpkg and apk keep; see dpkg(1) and apk-package(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from pytest_clnrm.expect.text_checks import TextFault, judge_text
from pytest_clnrm.expect.texts import Output
from pytest_clnrm.model.check import PackageCheck

_DPKG = re.compile(rb"^(Package|Status|Version): *(.*?) *$", re.MULTILINE)
_APK = re.compile(rb"^(P|V):(.*)$", re.MULTILINE)
_INSTALLED = b"installed"
_MAX_PARAGRAPH = 1 << 20


class Packages:
    """Reads lists of packages piece by piece: paragraphs, of which a few lines matter.

    :ivar versions: name -> versions, as those of several architectures may differ; each once, as a list may
        be read by two of its paths.
    """

    def __init__(self) -> None:
        self.versions: dict[str, list[str]] = {}
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece of a list."""
        *whole, rest = (self._rest + data).split(b"\n\n")
        for paragraph in whole:
            self._take(paragraph)
        # What is longer is no paragraph of these lists.
        self._rest = rest[:_MAX_PARAGRAPH]

    def end(self) -> None:
        """Take what is left at the end of a list."""
        self._take(self._rest)
        self._rest = b""

    def _take(self, paragraph: bytes) -> None:
        lines = dict(_DPKG.findall(paragraph)) or dict(_APK.findall(paragraph))
        name = lines.get(b"Package") or lines.get(b"P", b"")
        version = lines.get(b"Version") or lines.get(b"V", b"")
        # One that was removed but for its configuration is listed too; images without dpkg have no status.
        if name and lines.get(b"Status", _INSTALLED).split()[-1:] == [_INSTALLED]:
            versions = self.versions.setdefault(name.decode("utf-8", "replace"), [])
            if (text := version.decode("utf-8", "replace")) not in versions:
                versions.append(text)


def judge_package(check: PackageCheck, packages: Packages, title: str) -> Iterator[TextFault]:
    """Yield why a package is something else than expected."""
    versions = packages.versions.get(check.package, [])
    shown = ", ".join(versions)
    if not check.installed:
        if versions:
            yield TextFault(
                f"{title} is installed ({shown}), which it must not", "", (*check.at, "installed")
            )
        return
    if not versions:
        near = get_close_matches(check.package, packages.versions, n=3)
        hint = f"; similar: {', '.join(near)}" if near else ""
        yield TextFault(f"{title} is not installed", f"{len(packages.versions)} others are{hint}", check.at)
        return
    if check.version is None:
        return
    found = [list(judge_text(check.version, Output(f"the version of {title}", each, 0))) for each in versions]
    if all(found):
        yield from found[0]
