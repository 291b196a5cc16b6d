"""Judging the answer to a request: status, headers, body, and what else is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import NamedTuple

from pytest_clnrm.expect.conditions import missed
from pytest_clnrm.expect.steps import AbsentError, Where
from pytest_clnrm.expect.text_checks import judge_text
from pytest_clnrm.expect.texts import Output, duration_text, quote
from pytest_clnrm.model.http import CertificateExpect, HeaderExpect, HttpAnswer, HttpExpect
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.step import Capture, Step

_FIRST_BAD = 400
_NAMES_SHOWN = 20


class _Fault(NamedTuple):
    message: str
    at: KeyPath
    details: str = ""


def judge_answer(step: Step, answer: HttpAnswer, *, where: Where) -> tuple[Failure, ...]:
    """Return why an answer is another one than expected; empty if it is the expected one.

    The first failure shows the answer.

    :param where: gives ``file:line`` of a key path.
    """
    failures = []
    shown = [Output("answer", answer.head, 0).excerpt(), _body(answer).excerpt()]
    for fault in _faults(step.expect.http or HttpExpect(), answer):
        details = "\n".join(filter(None, [fault.details, *shown]))
        shown = []
        failures.append(
            Failure(message=fault.message, where=where(fault.at or step.at), step=step.name, details=details)
        )
    return tuple(failures)


def source_of(answer: HttpAnswer) -> Callable[[Capture], Output]:
    """Return what tells of which text a value is captured: a header, a cookie or the body."""

    def source(what: Capture) -> Output:
        if what.header is not None:
            value = answer.header(what.header)
            if value is None:
                raise AbsentError(f"there is no header {what.header!r}; there are: {_names(answer)}")
            return Output(f"header {what.header!r}", value, 0)
        if what.cookie is not None:
            if what.cookie not in answer.cookies:
                names = ", ".join(answer.cookies) or "none"
                raise AbsentError(f"the answer sets no cookie {what.cookie!r}; it sets: {names}")
            return Output(f"cookie {what.cookie!r}", answer.cookies[what.cookie], 0)
        if packed := _packed(answer):
            raise LookupError(packed)
        return _body(answer)

    return source


def _packed(answer: HttpAnswer) -> str:
    """Return why nothing can be said of the body, "" if something can."""
    if not answer.packed_with:
        return ""
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        return (
            f"the body is a part of what is packed with {answer.packed_with}, and only the whole can be "
            "unpacked; ask without Range, or without Accept-Encoding"
        )
    remedy = 'ask for it with headers = { Accept-Encoding = "gzip" }'
    return f"the body is packed with {answer.packed_with}, which cannot be unpacked here; {remedy}"


def _body(answer: HttpAnswer) -> Output:
    return Output("body", answer.body, answer.body_omitted_bytes)


def _names(answer: HttpAnswer) -> str:
    names = list(dict.fromkeys(name for name, _ in answer.headers))
    return ", ".join(names[:_NAMES_SHOWN] + ["..."] * (len(names) > _NAMES_SHOWN)) or "none"


def _faults(expect: HttpExpect, answer: HttpAnswer) -> Iterator[_Fault]:
    at = expect.at
    wrong = _status(expect, answer)
    if wrong:
        yield _Fault(wrong, (*at, "status") if expect.status else at)
    for name, header in expect.headers.items():
        yield from _header(name, header, answer)
    wanted = missed(expect.duration, answer.duration_s, duration_text)
    if wanted:
        took = duration_text(answer.duration_s)
        yield _Fault(f"the answer took {took}, expected {wanted}", (*at, "duration"))
    yield from _faults_of_body(expect, answer)
    wanted = missed(expect.redirects, answer.redirects, "{:g} redirects".format)
    if wanted:
        message = f"redirects of the answer: {answer.redirects} redirects, expected {wanted}"
        yield _Fault(message, (*at, "redirects"))
    if expect.certificate is not None:
        yield from _certificate(expect.certificate, answer)


def _faults_of_body(expect: HttpExpect, answer: HttpAnswer) -> Iterator[_Fault]:
    size_at, sha256_at = (*expect.at, "size"), (*expect.at, "sha256")
    if packed := _packed(answer):
        if expect.body is not None:
            yield _Fault(packed, expect.body.at)
        if expect.size:
            yield _Fault(packed, size_at)
        if expect.sha256:
            yield _Fault(packed, sha256_at)
        return
    if expect.body is not None:
        for fault in judge_text(expect.body, _body(answer)):
            yield _Fault(fault.message, fault.at, fault.details)
    wanted = missed(expect.size, answer.size_bytes, "{:.0f} bytes".format)
    if wanted:
        yield _Fault(f"size of the answer: {answer.size_bytes} bytes, expected {wanted}", size_at)
    if expect.sha256 and expect.sha256 != answer.sha256:
        yield _Fault(f"the body has the SHA-256 {answer.sha256}, expected {expect.sha256}", sha256_at)


def _status(expect: HttpExpect, answer: HttpAnswer) -> str:
    """Return what is wrong with the status, "" if nothing is."""
    ranges = expect.status or ((100, _FIRST_BAD - 1),)
    if any(low <= answer.status <= high for low, high in ranges):
        return ""
    wanted = [str(low) if low == high else f"{low // 100}xx" for low, high in expect.status]
    expected = " or ".join(wanted) or f"below {_FIRST_BAD}"
    got = f"{answer.status} {answer.reason}".strip()
    return f"status {got}, expected {expected}"


def _header(name: str, expect: HeaderExpect, answer: HttpAnswer) -> Iterator[_Fault]:
    value = answer.header(name)
    if value is None:
        if expect.exists:
            yield _Fault(f"there is no header {name!r}; there are: {_names(answer)}", expect.at)
    elif not expect.exists:
        yield _Fault(f"there is a header {name!r}, which must not be there, got {quote(value)}", expect.at)
    elif expect.text is not None:
        for fault in judge_text(expect.text, Output(f"header {name!r}", value, 0)):
            yield _Fault(fault.message, fault.at, fault.details)


def _certificate(expect: CertificateExpect, answer: HttpAnswer) -> Iterator[_Fault]:
    names = answer.certificate_names
    if names is None:
        yield _Fault("there is no certificate: the answer did not come over TLS that was verified", expect.at)
        return
    known = {each.casefold() for each in names}
    for name in expect.names:
        if name.casefold() not in known:
            valid = ", ".join(map(repr, names[:_NAMES_SHOWN])) or "no name"
            yield _Fault(f"the certificate is not valid for {name!r}, but for {valid}", (*expect.at, "names"))
    wanted = missed(expect.days_left, answer.certificate_days, "{:g}".format)
    if wanted:
        message = f"the certificate is valid for {answer.certificate_days:.1f} more days, expected {wanted}"
        yield _Fault(message, (*expect.at, "days_left"))
