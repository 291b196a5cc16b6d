"""Values of settings as users write them, on the command line, in ini files and in ``.clnrm/config.toml``.

Each function takes text or a native TOML value and returns what it means, or raises a ValueError whose
message names the value and says what is allowed. Every pytest run imports this module, few call it: what it
needs of ours is imported in its functions.
"""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.model.priority import Priority

MIN_MEMORY_BYTES = 6 * 1024**2
"""The least that Docker accepts as a container's limit."""

MIN_CPUS = 0.01
"""The least that Docker accepts as a container's limit."""

MAX_COUNT = 999_999_999

MAX_RETRIES = 100
"""The most that a file may ask for, too."""

_ENGINE_URL = r"(unix|tcp|ssh|http|https|kubernetes)://\S+"
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def container_memory(value: object) -> int:
    """Return the bytes of a container's memory limit.

    :raises ValueError: if it is no size, or less than Docker accepts.
    """
    size = _size_bytes(value)
    if size < MIN_MEMORY_BYTES:
        raise ValueError(f"{value!r} is too little for a container: at least 6m")
    return size


def _size_bytes(value: object) -> int:
    from pytest_clnrm.model.units import parse_size_bytes

    return parse_size_bytes(value)


def size(value: object) -> int:
    """Return bytes, at least 1."""
    number = _size_bytes(value)
    if number < 1:
        raise ValueError(f"{value!r} is too little: more than 0")
    return number


def cpus(value: object) -> float:
    """Return a number of CPUs, at least 0.01."""
    number: float | None = None
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*", value, re.ASCII):
        number = float(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = float(min(value, MAX_COUNT))
    elif isinstance(value, float):
        number = value
    if number is None or not math.isfinite(number) or number < MIN_CPUS:
        raise ValueError(f"{value!r} is not a number of CPUs: at least 0.01, such as 0.5 or 2")
    return number


def count(value: object) -> int:
    """Return a whole number of at least 1."""
    number: int | None = None
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if number is None or not 1 <= number <= MAX_COUNT:
        raise ValueError(f"{value!r} is not a count: a whole number of at least 1")
    return number


def count_or_zero(value: object) -> int:
    """Return a whole number of at least 0."""
    if value == 0 or (isinstance(value, str) and value.strip() == "0"):
        return 0
    try:
        return count(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a count: a whole number of at least 0") from error


def retries(value: object) -> int:
    """Return how often something is tried again, 0 to 100."""
    number = count_or_zero(value)
    if number > MAX_RETRIES:
        raise ValueError(f"{value!r} is too often: from 0 to {MAX_RETRIES}")
    return number


def worker_range(value: object) -> tuple[int, int]:
    """Return the least and the most workers that ``MIN:MAX`` names."""
    found = _ascending(value, ":")
    if found is None:
        raise ValueError(f"{value!r} is not a range of workers: MIN:MAX with 1 <= MIN <= MAX, such as 4:32")
    return found


def shard(value: object) -> tuple[int, int]:
    """Return which of how many shards ``K/N`` names."""
    found = _ascending(value, "/")
    if found is None:
        raise ValueError(f"{value!r} is not a shard: K/N with 1 <= K <= N <= 9999, such as 2/3")
    return found


def _ascending(value: object, separator: str) -> tuple[int, int] | None:
    """Return two numbers from 1 to 9999 of which the second is not less, None if *value* is no such pair."""
    if not isinstance(value, str):
        return None
    match = re.fullmatch(rf"\s*([0-9]{{1,4}}){separator}([0-9]{{1,4}})\s*", value, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        return None
    return int(match[1]), int(match[2])


def duration(value: object) -> float:
    """Return seconds, 0 included."""
    from pytest_clnrm.model.units import parse_duration_s

    return parse_duration_s(value)


def positive_duration(value: object) -> float:
    """Return seconds, more than 0."""
    seconds = duration(value)
    if not seconds:
        from pytest_clnrm.model.units import DURATION_ALLOWED

        raise ValueError(f"{value!r} leaves no time: {DURATION_ALLOWED}, more than 0")
    return seconds


def text(value: object) -> str:
    """Return text that is not empty, without the space around it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a text: at least one character")
    return value.strip()


def capability_name(value: object) -> str:
    """Return the name of a capability, without "CAP_" and in capitals."""
    from pytest_clnrm.model.capabilities import capability

    return capability(text(value))


def path(value: object) -> Path:
    """Return a path with ``~`` expanded; a relative one stays relative."""
    try:
        return Path(text(value)).expanduser()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{value!r} is not a path: a folder or file, ~ for your home") from error


def switch(value: object) -> bool:
    """Return True or False."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE + _FALSE:
        raise ValueError(f"{value!r} is not a switch: true or false")
    return word in _TRUE


def on_off(value: object) -> bool:
    """Return True for on, False for off; the other words of a switch work too."""
    try:
        return switch(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a switch: on or off") from error


class Choice:
    """Accepts just *names*.

    :param what: the noun for the message, with its article.
    """

    def __init__(self, what: str, *names: str) -> None:
        self.names = names
        self._what = what

    def __call__(self, value: object) -> str:
        """Return the name that *value* is."""
        name = value.strip() if isinstance(value, str) else value
        if not isinstance(name, str) or name not in self.names:
            allowed = f"{', '.join(self.names[:-1])} or {self.names[-1]}"
            raise ValueError(f"{value!r} is not {self._what}: {allowed}")
        return name


priority_name = Choice("a priority", "high", "normal", "low")


def priority(value: object) -> Priority:
    """Return the priority of that name."""
    from pytest_clnrm.model.priority import Priority

    return Priority.parse(priority_name(value))


def engine(value: object) -> str:
    """Return "auto", "embedded", "kubernetes" or the URL of an engine."""
    name = value.strip() if isinstance(value, str) else ""
    if name not in ("auto", "embedded", "kubernetes") and not re.fullmatch(_ENGINE_URL, name):
        raise ValueError(
            f"{value!r} is not an engine: auto, embedded, kubernetes or a URL such as "
            "unix:///var/run/docker.sock, tcp://host:2375, ssh://user@host, kubernetes://context/namespace"
        )
    return name


def image_mapping(value: object) -> tuple[str, str]:
    """Return (glob, image) of ``OLD=NEW``; a ``*`` in NEW is what the one ``*`` of OLD stands for."""
    old, _, new = value.partition("=") if isinstance(value, str) else ("", "", "")
    old, new = old.strip(), new.strip()
    if not old or not new or " " in old + new:
        raise ValueError(
            f"{value!r} is not a mapping of images: OLD=NEW, such as postgres:*=mirror/postgres:16"
        )
    if "*" in new and (new.count("*") > 1 or old.count("*") != 1 or "[" in old or "?" in old):
        raise ValueError(
            f"{value!r} does not tell what the * in {new} stands for: write one * in OLD, no ? and [ there, "
            "and one in NEW, such as *=mirror/*"
        )
    return old, new


def group_limit(value: object) -> tuple[str, int]:
    """Return name and limit of ``NAME=N``."""
    from pytest_clnrm.model.demand import GROUP_NAME

    name, _, limit = value.partition("=") if isinstance(value, str) else ("", "", "")
    try:
        if re.fullmatch(GROUP_NAME, name.strip()):
            return name.strip(), count(limit)
    except ValueError:
        pass
    raise ValueError(f"{value!r} is not a limit of a group: NAME=N with N of at least 1, such as database=2")


def items(value: object) -> list[object]:
    """Return the members of a list; text is split at blanks and newlines as a shell splits words."""
    if isinstance(value, list):
        return list(value)
    try:
        if isinstance(value, str):
            return list(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a list: {str(error).lower()}") from error
    raise ValueError(f"{value!r} is not a list: a list of texts, or one text with blanks between them")
