"""Globs of absolute paths: ``*`` stays within a folder, ``**`` is any number of folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate

_WILD = re.compile(r"[*?\[]")
_ANY = "**"


def components(path: str) -> list[str]:
    """Return the parts of an absolute path."""
    return [each for each in path.split("/") if each not in {"", "."}]


def is_glob(part: str) -> bool:
    """Tell whether a part of a path stands for more than itself."""
    return _WILD.search(part) is not None


@dataclass(frozen=True, slots=True)
class PathGlob:
    """A glob, as what is found below its folder is compared with it.

    :ivar folder: the longest path without a wildcard at its start; the whole path if it has none.
    :ivar parts: of what follows: a pattern for each, None for any number of folders.
    """

    folder: str
    parts: tuple[re.Pattern[str] | None, ...]

    @classmethod
    def of(cls, path: str) -> PathGlob:
        """Return the glob that *path* is."""
        named = components(path)
        first = next((index for index, each in enumerate(named) if is_glob(each)), len(named))
        parts = (None if each == _ANY else re.compile(translate(each)) for each in named[first:])
        return cls("/" + "/".join(named[:first]), tuple(parts))

    def matches(self, below: Sequence[str]) -> bool:
        """Tell whether what lies at a path below the folder is meant: by itself, or as a folder that is.

        :param below: the parts of that path.
        """
        # Which numbers of patterns may be used up: looked at one name after the other, it never goes back.
        at = self._skipping({0})
        for name in below:
            if len(self.parts) in at:
                return True
            at = self._skipping(
                {
                    index + (part is not None)
                    for index in at
                    if index < len(self.parts)
                    and ((part := self.parts[index]) is None or part.match(name) is not None)
                }
            )
        return len(self.parts) in at

    def _skipping(self, at: set[int]) -> set[int]:
        """Return *at* with what follows where folders are any number: none is one, too."""
        for index, part in enumerate(self.parts):
            if index in at and part is None:
                at.add(index + 1)
        return at
