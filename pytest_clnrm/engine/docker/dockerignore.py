"""What a ``.dockerignore`` leaves out of a build's context.

docker-py has a matcher too, but it makes one regular expression of a pattern, whose ``**`` and ``*`` may try
for hours; here names are matched one by one, each in a time linear in its length.
Source of the rules: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Sequence

State = tuple[bool, ...]
"""For each pattern, whether it matches a folder, or one around it."""

_ANY = "**"
_CLASS_OR_ESCAPE = re.compile(r"\[\^|\\(.)")


class Ignored:
    """The patterns of a ``.dockerignore``, in their order; the last one that matches counts.

    :param text: of the file, "" where there is none.
    :param kept: paths that are sent whatever the patterns say.
    """

    def __init__(self, text: str, kept: Sequence[str] = ()) -> None:
        self._kept = frozenset(kept)
        self._patterns = [
            (line.startswith("!"), components)
            for line in map(str.strip, text.removeprefix("\ufeff").split("\n"))
            if line and not line.startswith("#") and (components := _components(line.removeprefix("!")))
        ]
        self.outside: State = (False,) * len(self._patterns)
        """The state of the context itself."""
        self.readmits = any(again for again, _ in self._patterns) or bool(self._kept)
        """Whether something below a folder that is left out may be sent all the same."""

    def state(self, path: str, above: State) -> State:
        """Return which patterns match *path*.

        :param path: relative to the context.
        :param above: the state of the folder that it lies in.
        """
        names = path.split("/")
        return tuple(
            hit or _matches(components, names)
            for hit, (_, components) in zip(above, self._patterns, strict=True)
        )

    def leaves_out(self, path: str, state: State) -> bool:
        """Tell whether *path* is not sent."""
        if path in self._kept:
            return False
        last = next((index for index in reversed(range(len(state))) if state[index]), None)
        return last is not None and not self._patterns[last][0]


def _components(pattern: str) -> list[re.Pattern[str] | None]:
    """Return what each name of a path has to match; None stands for any number of them."""
    found: list[re.Pattern[str] | None] = []
    for name in posixpath.normpath("/" + pattern.strip()).strip("/").split("/"):
        rest = name
        if rest.startswith(_ANY):
            # As Docker has it, "**.py" is "**/*.py".
            if not found or found[-1] is not None:
                found.append(None)
            rest = rest.removeprefix(_ANY)
            rest = f"*{rest}" if rest else ""
        if rest:
            # Python's own translation never tries a name twice.
            glob = _CLASS_OR_ESCAPE.sub(lambda each: f"[{each[1]}]" if each[1] else "[!", rest)
            try:
                found.append(re.compile(fnmatch.translate(glob)))
            except re.error:
                found.append(re.compile(re.escape(rest)))
    return found


def _matches(pattern: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    """Tell whether all of *names* match: for a None the fewest names that let the rest match are enough."""
    at, name = 0, 0
    last_any, resume = -1, 0
    while name < len(names):
        if at < len(pattern) and (each := pattern[at]) is None:
            last_any, resume = at, name
            at += 1
        elif at < len(pattern) and each is not None and each.match(names[name]):
            at, name = at + 1, name + 1
        elif last_any >= 0:
            resume += 1
            at, name = last_any + 1, resume
        else:
            return False
    return all(each is None for each in pattern[at:])
