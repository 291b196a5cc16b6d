"""Requests and their answers in ``[[step]]``, see :mod:`pytest_clnrm.scenario.format.document`."""

import mimetypes
import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.http import CertificateExpect, HeaderExpect, HttpRequest, Part
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.comparisons import bounds_of
from pytest_clnrm.scenario.format.json_document import AmountDoc, amount_conditions
from pytest_clnrm.scenario.format.parts import At, Duration, Source, Table, Text, several
from pytest_clnrm.scenario.format.text_document import TextDoc
from pytest_clnrm.scenario.matrix import as_text

MAX_REDIRECTS = 20
_USUAL_REDIRECTS = 10
_HOST = re.compile(r"https?://([^/?#:@\[\]{}\s]+)(?=[:/?#]|$)", re.IGNORECASE)
_LINE = re.compile(r"\s*([A-Za-z]+)\s+(\S.*?)\s*", re.DOTALL)

Scalar = str | int | float | bool
Pairs = dict[Text, Scalar | list[Scalar]]


class AuthDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks."""

    ONE_OF = ("basic", "bearer")

    basic: (
        Annotated[
            list[str], Meta(min_length=1, description="User and password.", examples=[["ada", "s3cret"]])
        ]
        | None
    ) = None
    bearer: Annotated[Text, Meta(description="A token.", examples=["{{ token }}"])] | None = None


class TlsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the certificate of an https URL is judged."""

    verify: Annotated[
        bool,
        Meta(description="Whether it must be trusted, and valid for the host of the URL.", examples=[False]),
    ] = True
    ca: (
        Annotated[
            Text,
            Meta(
                description="A PEM file below rootdir: authorities that are trusted, not the host's.",
                examples=["ca.pem"],
            ),
        ]
        | None
    ) = None


class PartDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a multipart body."""

    ONE_OF = ("value", "file")

    value: Annotated[str, Meta(description="Its text.", examples=["tea"])] | None = None
    file: (
        Annotated[Text, Meta(description="A file below rootdir of up to 64 MB.", examples=["photo.png"])]
        | None
    ) = None
    filename: (
        Annotated[str, Meta(description="Default: the name of `file`.", examples=["photo.png"])] | None
    ) = None
    type: (
        Annotated[
            Text,
            Meta(description="The media type; default: that of the file's name.", examples=["image/png"]),
        ]
        | None
    ) = None


class HttpDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to a service of the scenario."""

    method: Annotated[Text, Meta(description="GET, POST and so on.", examples=["POST"])] = "GET"
    url: Annotated[
        Text,
        Meta(
            description="http://SERVICE:PORT/path, or https; SERVICE is a name or alias.",
            examples=["http://api:8080/orders"],
        ),
    ]
    headers: Annotated[
        dict[Text, Scalar],
        Meta(
            description="In place of our own: User-Agent, Accept, and traceparent of the step's span.",
            examples=[{"Accept-Language": "fi"}],
        ),
    ] = {}
    query: Annotated[
        Pairs,
        Meta(
            description="Added to the URL, encoded; a list gives a name several times.",
            examples=[{"page": 2, "tag": ["a", "b"]}],
        ),
    ] = {}
    body: Annotated[str, Meta(description="Text that is sent.", examples=["<order/>"])] | None = None
    json: (
        Annotated[Any, Meta(description="A value that is sent as JSON.", examples=[{"name": "tea"}])]
        | UnsetType
    ) = UNSET
    form: (
        Annotated[Pairs, Meta(description="Sent as a browser sends a form.", examples=[{"user": "ada"}])]
        | None
    ) = None
    multipart: (
        Annotated[
            dict[Text, str | PartDoc],
            Meta(
                description="Parts by their names; a text is a part's value.",
                examples=[{"title": "x", "photo": {"file": "photo.png"}}],
            ),
        ]
        | None
    ) = None
    auth: (
        Annotated[
            AuthDoc,
            Meta(description="Who asks.", examples=[{"bearer": "{{ token }}"}, {"basic": ["ada", "s3cret"]}]),
        ]
        | None
    ) = None
    redirects: Annotated[
        Annotated[bool, Meta(description=f"Whether they are followed, up to {_USUAL_REDIRECTS}.")]
        | Annotated[int, Meta(ge=0, le=MAX_REDIRECTS, description="How many are followed at most.")],
        Meta(
            description=f"true: followed, up to {_USUAL_REDIRECTS}; a number: up to so many. Each must "
            "lead to a service of the scenario.",
            examples=[True, 3],
        ),
    ] = False
    tls: Annotated[
        TlsDoc,
        Meta(description="How the certificate of an https URL is judged.", examples=[{"ca": "ca.pem"}]),
    ] = TlsDoc()

    @property
    def given_bodies(self) -> list[str]:
        """Return the keys of those that say what is sent."""
        given = {"body": self.body, "json": self.json, "form": self.form, "multipart": self.multipart}
        return [key for key, value in given.items() if value is not None and value is not UNSET]

    def built(self, source: Source, at: At) -> HttpRequest:
        """Return the request."""
        auth = self.auth or AuthDoc()
        most = _USUAL_REDIRECTS if self.redirects is True else int(self.redirects)
        return HttpRequest(
            # What names a captured value is a method only once that is put in.
            method=self.method if "{{" in self.method else self.method.upper(),
            url=self.url,
            headers={name: as_text(value) for name, value in self.headers.items()},
            query=_pairs(self.query),
            body=self.body,
            json=None if self.json is UNSET else self.json,
            has_json=self.json is not UNSET,
            form=_pairs(self.form or {}),
            parts=tuple(
                _part(name, part, source, at("multipart", name))
                for name, part in (self.multipart or {}).items()
            ),
            basic=None if auth.basic is None else (auth.basic[0], auth.basic[1]),
            bearer=auth.bearer,
            redirects=most,
            verify=self.tls.verify,
            ca=None if self.tls.ca is None else source(self.tls.ca),
            at=at(),
        )


def request_line(text: str) -> HttpDoc | None:
    """Return ``METHOD URL`` as a table, None if it is none."""
    line = _LINE.fullmatch(text)
    return None if line is None else HttpDoc(method=line[1], url=line[2])


def table_of(given: str | HttpDoc) -> HttpDoc:
    """Return a request in whichever form it is written; of a text that is no request one without a host."""
    return given if isinstance(given, HttpDoc) else request_line(given) or HttpDoc(url=given)


def literal_host(url: str) -> str:
    """Return the host of a URL, "" if that is known only when captured values are, or there is none."""
    match = _HOST.match(url)
    return match[1].rstrip(".") if match else ""


def _pairs(given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, as_text(each)) for name, value in given.items() for each in several(value))


def _part(name: str, part: str | PartDoc, source: Source, at: Any) -> Part:
    if isinstance(part, str):
        return Part(name=name, text=part, at=at)
    own = "" if part.file is None else PurePosixPath(part.file).name
    return Part(
        name=name,
        text=part.value or "",
        file=None if part.file is None else source(part.file),
        filename=own if part.filename is None else part.filename,
        type=part.type or mimetypes.guess_type(own, strict=True)[0] or "",
        at=at,
    )


class TimesDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between which times one must be; all that is set must hold."""

    lt: Annotated[Duration, Meta(description="A shorter time.", examples=["2s"])] | None = None
    lte: Annotated[Duration, Meta(description="At most this time.", examples=["2s"])] | None = None
    gt: Annotated[Duration, Meta(description="A longer time.", examples=["100ms"])] | None = None
    gte: Annotated[Duration, Meta(description="At least this time.", examples=["100ms"])] | None = None

    def built(self) -> tuple[Condition, ...]:
        """Return the bounds in seconds."""
        return bounds_of(self, parse_duration_s)


class HeaderDoc(TextDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a header must be: checks of its value, or whether it is there."""

    exists: Annotated[bool, Meta(description="false: it must not be there.", examples=[False])] | None = None


class CertificateDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the certificate of the server must be."""

    names: Annotated[
        Text | list[Text],
        Meta(description="It is valid for each of them.", examples=["api", ["api", "api.local"]]),
    ] = []
    days_left: (
        Annotated[AmountDoc, Meta(description="How many more days it is valid.", examples=[{"gte": 30}])]
        | None
    ) = None

    def built(self, at: At) -> CertificateExpect:
        """Return the expectation."""
        days = amount_conditions(self.days_left)
        return CertificateExpect(names=tuple(several(self.names)), days_left=days, at=at())


def built_header(doc: str | HeaderDoc, at: Any) -> HeaderExpect:
    """Return what is expected of a header; a text is its whole value."""
    if isinstance(doc, str):
        return HeaderExpect(text=TextExpect(equals=doc, at=at), at=at)
    text = doc.built(at)
    return HeaderExpect(
        exists=doc.exists is not False, text=None if text == TextExpect(at=at) else text, at=at
    )
