"""What templates may call: functions and filters in the spellings of Tera, beside Jinja's own.

Everything here gives the same answer in every process that reads the same file: what looks random comes
from a :class:`Stream` of the item's seed, and time stands still at the moment that the caller names.
Wrong arguments raise ValueError or TypeError; the renderer says where.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

MAX_TEXT = 1024 * 1024
"""Characters that one text made by a template may have."""

_MAX_ITEMS = 100_000
_UNSET = object()
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_NO_DEFAULT = "the environment variable {} is not set, and there is no default"


class Stream:
    """Bytes that look random and are the same for the same seed.

    :param seed: any text.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = itertools.count()

    def hex(self, digits: int, seed: Any = None) -> str:
        """Return *digits* hexadecimal digits: the next ones, or with a *seed* always those of that seed."""
        if not 0 <= digits <= MAX_TEXT:
            raise ValueError(f"{digits} digits are not between 0 and {MAX_TEXT}")
        source = f"{self._seed}\0{next(self._count)}" if seed is None else f"seed\0{seed}"
        blocks = (
            hashlib.sha256(f"{source}\0{index}".encode("utf-8", "surrogatepass")).hexdigest()
            for index in range(digits // 64 + 1)
        )
        return "".join(blocks)[:digits]

    def below(self, limit: int, seed: Any = None) -> int:
        """Return a number from 0 to *limit* - 1."""
        return int(self.hex(32, seed), 16) % limit


def functions(stream: Stream, now_s: float, get_env: Callable[..., Any]) -> dict[str, Any]:
    """Return what templates may call by name.

    :param now_s: the moment that time functions tell, Unix seconds.
    :param get_env: takes ``name`` and ``default``.
    """
    return {
        "get_env": get_env,
        "range": _range,
        "sha256": _sha256,
        "toml_encode": toml_encode,
        "throw": _throw,
        "slug": slugify,
        "kebab": lambda s: _words(s, "-"),
        "snake": lambda s: _words(s, "_"),
        "baggage": _baggage,
        "uuid_v5": lambda ns, name: str(uuid.uuid5(uuid.UUID(ns), name)),
        **_time_functions(now_s),
        **_seeded_functions(stream, now_s),
    }


def _time_functions(now_s: float) -> dict[str, Any]:
    def now(*, timestamp: bool = False, utc: bool = True) -> Any:
        del utc  # the moment is the same everywhere, and so is its spelling
        return int(now_s) if timestamp else _rfc3339(now_s)

    return {
        "now": now,
        "now_rfc3339": lambda: _rfc3339(now_s),
        "now_unix": lambda: int(now_s),
        "now_ms": lambda: int(now_s * 1000),
        "now_plus": lambda seconds: _rfc3339(now_s + seconds),
    }


def _seeded_functions(stream: Stream, now_s: float) -> dict[str, Any]:
    def uuid4(seed: Any = None) -> str:
        return str(uuid.UUID(hex=stream.hex(32, seed), version=4))

    def uuid7(seed: Any = None) -> str:
        digits = f"{int(now_s * 1000):012x}" + stream.hex(20, seed)
        variant = "89ab"[int(digits[16], 16) % 4]
        return str(uuid.UUID(hex=f"{digits[:12]}7{digits[13:16]}{variant}{digits[17:32]}"))

    def ulid(seed: Any = None) -> str:
        number = int(now_s * 1000) << 80 | int(stream.hex(20, seed), 16)
        return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))

    def integer(seed: Any = None, **tera: Any) -> int:
        low, high = tera.get("min", 0), tera.get("max", 100)
        if low > high:
            raise ValueError(f"min = {low} is more than max = {high}")
        return int(low + stream.below(high - low + 1, seed))

    def traceparent(trace_id: str = "", span_id: str = "", *, sampled: bool = True) -> str:
        return f"00-{trace_id or stream.hex(32)}-{span_id or stream.hex(16)}-{int(sampled):02x}"

    return {
        "uuid": uuid4,
        "uuid_v4": uuid4,
        "uuid_v7": uuid7,
        "fake_uuid": uuid4,
        "fake_int": integer,
        "ulid": ulid,
        "rand_hex": lambda n=16, seed=None: stream.hex(n, seed),
        "trace_id": lambda seed=None: stream.hex(32, seed),
        "span_id": lambda seed=None: stream.hex(16, seed),
        "traceparent": traceparent,
        **_choosing_functions(stream),
    }


def _choosing_functions(stream: Stream) -> dict[str, Any]:
    counters: dict[str, int] = {}

    def seq(name: str, start: int = 0, step: int = 1) -> int:
        value = counters.get(name, start)
        counters[name] = value + step
        return value

    def shuffled(items: Sequence[Any], seed: Any) -> list[Any]:
        keys = [stream.hex(32, None if seed is None else f"{seed}.{index}") for index in range(len(items))]
        return [item for _, item in sorted(zip(keys, items, strict=True), key=lambda pair: pair[0])]

    def sample(seed: Any = None, **tera: Any) -> list[Any]:
        items, count = _items("sample", tera), tera.get("k", tera.get("n"))
        if count is None or not 0 <= count <= len(items):
            raise ValueError(f"sample() takes k = 0 to {len(items)} of {len(items)} items, not {count!r}")
        return shuffled(items, seed)[:count]

    def pick(seed: Any = None, **tera: Any) -> Any:
        items = _items("pick", tera)
        return items[stream.below(len(items), seed)]

    def weighted(pairs: Sequence[Sequence[Any]], seed: Any = None) -> Any:
        sums = list(itertools.accumulate(weight for _, weight in pairs))
        if not sums or sums[-1] <= 0:
            raise ValueError("weighted() takes pairs = [[item, weight], ...] with weights above 0")
        place = stream.below(2**53, seed) / 2**53 * sums[-1]
        return next(item for (item, _), reached in zip(pairs, sums, strict=True) if place < reached)

    return {
        "seq": seq,
        "pick": pick,
        "sample": sample,
        "shuffle": lambda seed=None, **tera: shuffled(_items("shuffle", tera), seed),
        "weighted": weighted,
    }


def filters() -> dict[str, Any]:
    """Return the filters whose Tera spelling differs from Jinja's, and those that Jinja lacks.

    Jinja's ``default`` is completed by the sandbox, which knows what is undefined.
    """
    return {
        "addslashes": lambda text: re.sub(r"(['\"\\])", r"\\\1", str(text)),
        "as_str": str,
        "concat": _concat,
        "date": _date,
        "filter": _filter,
        "get": lambda table, key, default=None: table.get(key, default),
        "join": _join,
        "json_encode": lambda value, pretty=False: json.dumps(value, indent=2 if pretty else None),
        "nth": lambda items, n: items[n],
        "pluralize": lambda n, singular="", plural="s": singular if n == 1 else plural,
        "replace": replace,
        "slice": lambda items, start=0, end=None: items[start:end],
        "slugify": slugify,
        "split": lambda text, pat: text.split(pat),
        "starting_with": lambda text, prefix: text.startswith(prefix),
        "toml_encode": toml_encode,
        "tojson": json.dumps,
        "trim_end": lambda text: text.rstrip(),
        "trim_end_matches": lambda text, pat: _trim(text, pat, end=True),
        "trim_start": lambda text: text.lstrip(),
        "trim_start_matches": lambda text, pat: _trim(text, pat, end=False),
        "truncate": lambda text, length=255, end="…": text if len(text) <= length else text[:length] + end,
        "urlencode_strict": lambda text: "".join(
            chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}"  # noqa: PLR2004 ASCII
            for byte in str(text).encode()
        ),
    }


def tests() -> dict[str, Any]:
    """Return Tera's tests that Jinja lacks."""
    return {
        "containing": lambda value, item: item in value,
        "ending_with": lambda text, suffix: text.endswith(suffix),
        "object": lambda value: isinstance(value, Mapping),
        "starting_with": lambda text, prefix: text.startswith(prefix),
    }


def replace(text: Any, old: Any = None, new: Any = None, **tera: Any) -> str:
    """Return *text* with each *old* (Tera: ``from``) replaced by *new* (``to``)."""
    whole, old, new = str(text), str(tera.get("from", old)), str(tera.get("to", new))
    if len(whole) + whole.count(old) * len(new) > MAX_TEXT:
        raise ValueError(f"the text gets longer than {MAX_TEXT} characters")
    return whole.replace(old, new)


def slugify(s: Any) -> str:
    """Return *s* in ASCII lower case, with one ``-`` for each run of other characters."""
    plain = unicodedata.normalize("NFKD", str(s)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def toml_encode(value: Any) -> str:
    """Return *value* as it is written in TOML."""
    if isinstance(value, str):
        # JSON's escapes are TOML's, but DEL, which TOML does not allow bare.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = (f"{toml_encode(str(key))} = {toml_encode(each)}" for key, each in value.items())
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_encode, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise ValueError("TOML has no null")
    return str(value)


def _range(*bounds: int, start: int = 0, end: int | None = None, step_by: int = 1) -> range:
    numbers = range(*bounds) if bounds else range(start, 0 if end is None else end, step_by)
    if len(numbers) > _MAX_ITEMS:
        raise ValueError(f"range() of {len(numbers)} numbers; at most {_MAX_ITEMS} are allowed")
    return numbers


def _items(function: str, tera: Mapping[str, Any]) -> Sequence[Any]:
    items = tera.get("list", tera.get("array"))
    if not isinstance(items, (list, tuple)) or not items:
        raise ValueError(f"{function}() takes list = [...], which is not empty")
    return items


def _rfc3339(moment_s: float) -> str:
    text = datetime.fromtimestamp(moment_s, timezone.utc).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")


def _date(value: Any, **tera: Any) -> str:
    form = str(tera.get("format", "%Y-%m-%d"))
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, timezone.utc).strftime(form)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00")).strftime(form)


def _sha256(s: Any) -> str:
    return hashlib.sha256(str(s).encode("utf-8", "surrogatepass")).hexdigest()


def _throw(message: str) -> None:
    raise ValueError(message)


def _baggage(**pairs: Any) -> str:
    pairs = {**pairs.pop("map", {}), **pairs}
    return ",".join(f"{key}={value}" for key, value in pairs.items())


def _words(text: str, between: str) -> str:
    spaced = re.sub(r"(?<=[^\W_A-Z])(?=[A-Z])|[\s_-]+", between, str(text))
    return spaced.strip(between).lower()


def _concat(items: Sequence[Any], **tera: Any) -> list[Any]:
    other = tera["with"]
    return [*items, *other] if isinstance(other, (list, tuple)) else [*items, other]


def _join(items: Iterable[Any], between: str = "", attribute: str | None = None, *, sep: Any = None) -> str:
    parts: list[str] = []
    size = 0
    for item in items:
        parts.append(str(item if attribute is None else item[attribute]))
        size += len(parts[-1]) + len(between)
        if size > MAX_TEXT:
            raise ValueError(f"the text gets longer than {MAX_TEXT} characters")
    return (between if sep is None else str(sep)).join(parts)


def _filter(items: Iterable[Mapping[str, Any]], attribute: str, value: Any = _UNSET) -> list[Any]:
    if value is _UNSET:
        return [item for item in items if item.get(attribute) is not None]
    return [item for item in items if item.get(attribute) == value]


def _trim(text: str, pattern: str, *, end: bool) -> str:
    while pattern and (text.endswith(pattern) if end else text.startswith(pattern)):
        text = text.removesuffix(pattern) if end else text.removeprefix(pattern)
    return text
