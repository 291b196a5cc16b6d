"""The files and folders of the host that a scenario file, or a Python test, names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.scenario import mounts
from pytest_clnrm.scenario.reading import text_of

if TYPE_CHECKING:
    from pytest_clnrm.scenario.options import LoadOptions


class Sources:
    """Which paths of the host a file may reach, each judged once.

    :param folder: absolute, of the file; paths are relative to it.
    """

    def __init__(self, folder: str, options: LoadOptions) -> None:
        self._folder = folder
        self._options = options
        self._known: dict[tuple[str, bool | None, bool], str] = {}

    def __call__(self, source: str, *, read_only: bool | None = None, text: bool = False) -> str:
        """Return the absolute path that a file of the host means.

        :param read_only: of a volume, or what else is shown to a container; None for anything else.
        :param text: True for the file's text instead, which is read once.
        :raises ValueError: if it may not be reached, or not in that way; if it is no text.
        """
        key = source, read_only, text
        if key not in self._known:
            real = self._judged(source, read_only=read_only)
            self._known[key] = text_of(real) if text else real
        return self._known[key]

    def _judged(self, source: str, *, read_only: bool | None) -> str:
        options = self._options
        real = mounts.allowed_source(
            source,
            folder=self._folder,
            rootdir=options.rootdir,
            allowed=tuple(map(str, options.allow_mounts)),
            environ=options.environ,
            sockets=options.sockets,
        )
        if read_only is not None:
            mounts.check_volume(real, read_only=read_only, rules=options.volumes or mounts.VolumeRules())
        return real
