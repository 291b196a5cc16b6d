"""Judging answers: each check holds, and fails with its place, what was expected and what was got."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_clnrm.expect.http import judge_answer, source_of
from pytest_clnrm.expect.steps import AbsentError
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.http import CertificateExpect, HeaderExpect, HttpAnswer, HttpExpect, HttpRequest
from pytest_clnrm.model.step import Capture, Step, StepExpect
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.scenario.format.json_document import built_paths

AT = ("step", 0, "expect")
SHA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
ANSWER = HttpAnswer(
    status=201,
    reason="Created",
    head="HTTP/1.1 201 Created\nContent-Type: application/json",
    headers=(("Content-Type", "application/json"), ("X-Twice", "a"), ("x-twice", "b")),
    body='{"id": 17}',
    size_bytes=10,
    sha256=SHA,
    redirects=1,
    duration_s=0.25,
    certificate_names=("api", "*.example.org"),
    certificate_days=12.5,
)


def bound(op: Any, value: float) -> tuple[Condition, ...]:
    """Return the bound of a number."""
    return (Condition(op=op, value=value),)


def header(name: str, **text: Any) -> dict[str, Any]:
    """Return what is expected of a header's text."""
    at = (*AT, "headers", name)
    return {"headers": {name: HeaderExpect(text=TextExpect(at=at, **text), at=at)}}


def body(**text: Any) -> dict[str, Any]:
    """Return what is expected of the body."""
    return {"body": TextExpect(at=(*AT, "body"), **text)}


def certificate(**expect: Any) -> dict[str, Any]:
    """Return what is expected of the certificate."""
    return {"certificate": CertificateExpect(at=(*AT, "certificate"), **expect)}


def wrong(answer: HttpAnswer = ANSWER, **expect: Any) -> list[tuple[str, str]]:
    """Return message and place of what does not hold of an answer."""
    step = Step(
        name="s",
        service="api",
        action=HttpRequest(url="http://api/"),
        expect=StepExpect(http=HttpExpect(at=AT, **expect)),
        at=AT[:2],
    )
    failures = judge_answer(step, answer, where=lambda at: ".".join(map(str, at)))
    assert all("answer:\n    HTTP/1.1 201 Created" in each.details for each in failures[:1])
    return [(each.message, each.where.removeprefix("step.0.expect")) for each in failures]


CANNOT = (
    "the body is packed with br, which cannot be unpacked here; "
    'ask for it with headers = { Accept-Encoding = "gzip" }'
)
CANNOT_A_PART = (
    "the body is a part of what is packed with gzip, and only the whole can be unpacked; "
    "ask without Range, or without Accept-Encoding"
)


@pytest.mark.parametrize(
    ("status", "packed_with", "cannot"), [(200, "br", CANNOT), (206, "gzip", CANNOT_A_PART)]
)
def test_a_packed_body_says_nothing(status: int, packed_with: str, cannot: str) -> None:
    """Nothing that is said of the body holds, and nothing is captured of it; all else is judged."""
    packed = replace(ANSWER, status=status, body="?", packed_with=packed_with, size_bytes=1)
    assert wrong(packed, **body(not_contains=("error",)), size=bound("eq", 1), sha256=SHA) == [
        (cannot, ".body"),
        (cannot, ".size"),
        (cannot, ".sha256"),
    ]
    assert (
        wrong(packed, status=((status, status),), redirects=bound("eq", 1), **certificate(names=("api",)))
        == []
    )
    assert wrong(packed, **header("X-Twice", equals="c")) != []
    what = Capture(name="x", regex="e", default="none")
    with pytest.raises(LookupError) as caught:
        source_of(packed)(what)
    assert str(caught.value) == cannot
    assert not isinstance(caught.value, AbsentError)


@pytest.mark.parametrize(
    ("holds", "fails", "message", "place"),
    [
        (
            {"status": ((201, 201),)},
            {"status": ((200, 200), (300, 399))},
            "status 201 Created, expected 200 or 3xx",
            ".status",
        ),
        (
            header("content-type", starts_with="application/"),
            header("Content-Type", equals="text/html"),
            "header 'Content-Type' does not equal 'text/html', got 'application/json'",
            ".headers.Content-Type.equals",
        ),
        (
            header("x-twice", equals="a, b"),
            header("X-None", equals="a"),
            "there is no header 'X-None'; there are: Content-Type, X-Twice, x-twice",
            ".headers.X-None",
        ),
        (
            {"headers": {"X-None": HeaderExpect(exists=False)}},
            {"headers": {"X-Twice": HeaderExpect(exists=False, at=(*AT, "headers", "X-Twice"))}},
            "there is a header 'X-Twice', which must not be there, got 'a, b'",
            ".headers.X-Twice",
        ),
        (
            body(contains=("17",)),
            body(contains=("18",)),
            "body does not contain '18', got '{\"id\": 17}'",
            ".body.contains.0",
        ),
        (
            body(jsonpath=built_paths({"$.id": 17}, ())),
            body(jsonpath=built_paths({"$.id": 18}, (*AT, "body", "jsonpath"))),
            "body is not the expected JSON: $.id: expected 18, got 17",
            ".body.jsonpath.$.id",
        ),
        (
            {"duration": bound("lt", 1)},
            {"duration": bound("lt", 0.1)},
            "the answer took 250 ms, expected less than 100 ms",
            ".duration",
        ),
        (
            {"size": bound("eq", 10)},
            {"size": bound("ne", 10) + bound("gte", 11)},
            "size of the answer: 10 bytes, expected any but 10 bytes and at least 11 bytes",
            ".size",
        ),
        (
            {"sha256": SHA},
            {"sha256": "0" * 64},
            f"the body has the SHA-256 {SHA}, expected {'0' * 64}",
            ".sha256",
        ),
        (
            {"redirects": bound("lte", 1)},
            {"redirects": bound("eq", 0)},
            "redirects of the answer: 1 redirects, expected exactly 0 redirects",
            ".redirects",
        ),
        (
            certificate(names=("API",)),
            certificate(names=("www",)),
            "the certificate is not valid for 'www', but for 'api', '*.example.org'",
            ".certificate.names",
        ),
        (
            certificate(days_left=bound("gte", 12)),
            certificate(days_left=bound("gte", 30)),
            "the certificate is valid for 12.5 more days, expected at least 30",
            ".certificate.days_left",
        ),
    ],
)
def test_each_check_holds_or_says_why_not(
    holds: dict[str, Any], fails: dict[str, Any], message: str, place: str
) -> None:
    """The message has what was expected and what came; the answer is shown once."""
    assert wrong(**holds) == []
    assert wrong(**fails) == [(message, place)]


def test_without_an_expectation() -> None:
    """What says that a request went wrong is wrong."""
    gone = HttpAnswer(status=404, reason="Not Found", head="HTTP/1.1 201 Created")
    assert wrong() == []
    assert wrong(gone) == [("status 404 Not Found, expected below 400", "")]


def test_no_certificate() -> None:
    """Of what is not verified nothing is known."""
    plain = HttpAnswer(status=200, head="HTTP/1.1 201 Created")
    told = "there is no certificate: the answer did not come over TLS that was verified"
    assert wrong(plain, **certificate(names=("api",))) == [(told, ".certificate")]
