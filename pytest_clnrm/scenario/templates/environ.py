"""What templates see of the world: the environment and the time, the same in each process that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

FROZEN_S = 1735689600.0  # 2025-01-01T00:00:00Z, the moment that most wild files freeze
_UNSET = object()


def moment(frozen: object, environ: Mapping[str, str], modified_s: float | None = None) -> float:
    """Return the moment that time functions of templates tell, Unix seconds.

    It must be the same in each process that collects the file, and these share no start time: so it is the
    file's own ``[determinism] freeze_clock``, else ``SOURCE_DATE_EPOCH``, else when the file was modified.

    :param frozen: RFC 3339 text or a datetime; anything else is ignored.
    :param modified_s: the file's time of modification, Unix seconds.
    """
    if isinstance(frozen, str):
        try:
            frozen = datetime.fromisoformat(frozen.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        except ValueError:
            frozen = None
    if isinstance(frozen, datetime):
        return (frozen if frozen.tzinfo else frozen.replace(tzinfo=timezone.utc)).timestamp()
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isascii() and epoch.isdigit():
        return float(epoch)
    return FROZEN_S if modified_s is None else modified_s


class Environ:
    """``env`` in templates: ``env.NAME``, ``env["NAME"]``, ``env(name="NAME")``.

    :param allowed: names that may be read; no others, as the environment holds a CI's secrets.
    """

    def __init__(self, environ: Mapping[str, str], allowed: tuple[str, ...]) -> None:
        self._environ = environ
        self._allowed = frozenset(allowed)

    def __getitem__(self, name: str) -> str:
        if name.startswith("PYTEST_XDIST"):
            raise ValueError(f"environment variable {name} differs between workers and cannot be used")
        if name not in self._allowed and name in self._environ:
            raise ValueError(self.why_missing(name))
        return self._environ[name]

    def __call__(self, name: str, default: Any = _UNSET) -> Any:
        """Return what ``env(name="NAME", default="...")`` gives."""
        try:
            return self[name]
        except KeyError:
            if default is _UNSET:
                raise ValueError(self.why_missing(name)) from None
            return default

    def why_missing(self, name: str) -> str:
        """Return why *name* cannot be read."""
        if name in self._allowed:
            return f"environment variable {name} is not set"
        return f"environment variable {name} is not listed in clnrm_env"


class EnvironText(str):
    """A variable of the file that is called ``env``, which still is the environment where it is asked."""

    __slots__ = ("_environ",)
    _environ: Environ

    def __getitem__(self, name: Any) -> str:
        return self._environ[name] if isinstance(name, str) else super().__getitem__(name)

    def __call__(self, name: str, default: Any = _UNSET) -> Any:
        """Return what ``env(name="NAME", default="...")`` gives."""
        return self._environ(name, default)

    def why_missing(self, name: str) -> str:
        """Return why *name* cannot be read."""
        return self._environ.why_missing(name)
