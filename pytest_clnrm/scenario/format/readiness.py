"""What a service is waited for, from its document to the model: in files and in Python tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pytest_clnrm.model.scenario import HealthCheck, HttpProbe, KeyPath, Ready
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.document import HealthCheckDoc, ReadyDoc
from pytest_clnrm.scenario.format.rules import check_ready
from pytest_clnrm.toml.checking import convert


class _ReadyArgument(msgspec.Struct, frozen=True, kw_only=True):
    """The keyword ``ready`` of Python tests."""

    ready: ReadyDoc | list[ReadyDoc]


def parse_ready(ready: Mapping[str, object] | Sequence[Mapping[str, object]]) -> tuple[Ready, ...]:
    """Return the conditions that a Python test gives, in the words of scenario files.

    :raises ValueError: with all that is wrong.
    """
    given = _plain(ready)
    doc, findings = convert({"ready": given}, _ReadyArgument)
    problems = [_told(each.path, each.message, each.hint) for each in findings]
    if doc is not None and not problems:
        problems = [_told(*each) for each in check_ready(doc.ready, ("ready",))]
    if doc is None or problems:
        raise ValueError(f"ready={given!r}: {'; '.join(problems)}")
    return tuple(build_ready(doc.ready, (), lambda path: path))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _told(path: KeyPath, message: str, hint: str) -> str:
    place = ".".join(map(str, path[1:]))
    text = f"{place}: {message}" if place else message
    return f"{text} ({hint})" if hint else text


def build_ready(
    doc: ReadyDoc | list[ReadyDoc] | None, path: KeyPath, origin: Callable[[KeyPath], KeyPath]
) -> Iterator[Ready]:
    """Yield the conditions of a document in which no mistake was found.

    :param path: of the key ``ready`` in the canonical form.
    :param origin: canonical key path -> the path as its author wrote it.
    """
    several = isinstance(doc, list)
    for index, each in enumerate(doc if isinstance(doc, list) else [] if doc is None else [doc]):
        yield Ready(
            command=argv(each.command),
            log=each.log,
            times=each.times or 1,
            port=each.port,
            http=_http(each),
            exit=exit_codes(each.exit),
            span=each.span,
            healthcheck=_healthcheck(each),
            timeout_s=_seconds(each.timeout, None),
            interval_s=_seconds(each.interval, Ready().interval_s),
            at=origin((*path, index) if several else path),
        )


def _http(doc: ReadyDoc) -> HttpProbe | None:
    target = doc.http or doc.https
    if target is None:
        return None
    given = doc.status if isinstance(doc.status, list) else [] if doc.status is None else [doc.status]
    ranges = [(each, each) if isinstance(each, int) else _class(each) for each in given]
    return HttpProbe(
        target=target,
        tls=doc.https is not None,
        verify=bool(doc.verify),
        status=tuple(ranges) or HttpProbe(target="").status,
        headers=dict(doc.headers),
    )


def _class(name: str) -> tuple[int, int]:
    lowest = int(name[0]) * 100
    return lowest, lowest + 99


def _healthcheck(doc: ReadyDoc) -> bool | HealthCheck:
    check = doc.healthcheck
    if not isinstance(check, HealthCheckDoc):
        return bool(check)
    default = HealthCheck(command=argv(check.command) or ())
    return HealthCheck(
        command=default.command,
        interval_s=_seconds(check.interval, default.interval_s),
        timeout_s=_seconds(check.timeout, default.timeout_s),
        start_period_s=_seconds(check.start_period, default.start_period_s),
        retries=default.retries if check.retries is None else check.retries,
    )


def _seconds(value: float | str | None, default: Any) -> Any:
    return default if value is None else parse_duration_s(value)


def exit_codes(codes: int | list[int] | None) -> tuple[int, ...]:
    """Return one or several exit codes, () for none."""
    if isinstance(codes, int):
        return (codes,)
    return tuple(codes or ())


def argv(command: str | list[str] | None) -> tuple[str, ...] | None:
    """Return a command as an argv: a text runs under ``sh -c``."""
    if isinstance(command, str):
        return ("sh", "-c", command)
    return None if command is None else tuple(command)
