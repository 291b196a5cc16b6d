"""What types cannot say of the requests of a scenario file, and of what is expected of their answers."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import UNSET

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.http_document import (
    HeaderDoc,
    HttpDoc,
    PartDoc,
    TimesDoc,
    literal_host,
    request_line,
)
from pytest_clnrm.scenario.format.json_document import AmountDoc
from pytest_clnrm.scenario.format.json_rules import check_amount
from pytest_clnrm.scenario.format.parts import Source
from pytest_clnrm.scenario.format.problems import Problem, duration, exactly_one, header
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.step_document import StepExpectDoc
from pytest_clnrm.scenario.format.text_rules import check_text
from pytest_clnrm.scenario.matrix import as_text
from pytest_clnrm.scenario.templates.render import names_deferred
from pytest_clnrm.toml.checking import some, suggestion

_METHOD = re.compile(r"[A-Za-z]+")
_ANY_HEADER = HeaderDoc()
_BASIC = 2
_LINE = 'write http = "GET http://SERVICE:PORT/path", or a table with url'


def service_at(host: str, services: Mapping[str, ServiceDoc]) -> str:
    """Return the service that has a host as its name or alias, in any case; "" if there is none."""
    wanted = host.casefold()
    return next(
        (name for name, each in services.items() if wanted in map(str.casefold, (name, *each.aliases))),
        "",
    )


def check_request(
    given: str | HttpDoc,
    path: KeyPath,
    *,
    services: Mapping[str, ServiceDoc],
    deferred: frozenset[str],
    source: Source,
) -> Iterator[Problem]:
    """Yield the mistakes of a request.

    :param deferred: names that steps capture.
    :param source: returns the absolute path of a path in the file, or raises ValueError.
    """
    doc = request_line(given) if isinstance(given, str) else given
    if doc is None:
        if not names_deferred(given, deferred):
            yield Problem(path, "expected a method and a URL", _LINE)
        return
    at = path if isinstance(given, str) else (*path, "url")
    if not _METHOD.fullmatch(doc.method) and not names_deferred(doc.method, deferred):
        yield Problem((*path, "method"), "is no method: letters alone, such as GET or POST")
    yield from _url(doc, at, services, deferred)
    for name, value in doc.headers.items():
        if not names_deferred(value, deferred):
            yield from header(name, as_text(value), (*path, "headers", name))
    yield from _body(doc, path, source)
    if doc.auth:
        yield from exactly_one(doc.auth, (*path, "auth"))
        if doc.auth.basic is not None and len(doc.auth.basic) != _BASIC:
            yield Problem(
                (*path, "auth", "basic"), 'expected user and password: basic = ["user", "password"]'
            )
        elif doc.auth.basic is not None and ":" in doc.auth.basic[0]:
            yield Problem((*path, "auth", "basic"), "a user with a colon cannot be told from the password")
        if any(name.casefold() == "authorization" for name in doc.headers):
            yield Problem((*path, "auth"), "the header Authorization is given too: only one can be sent")
    if doc.tls.ca is not None:
        yield from _file(doc.tls.ca, (*path, "tls", "ca"), source)
        if not doc.tls.verify:
            yield Problem((*path, "tls", "ca"), "is not looked at with verify = false")


def _url(
    doc: HttpDoc, path: KeyPath, services: Mapping[str, ServiceDoc], deferred: frozenset[str]
) -> Iterator[Problem]:
    if names_deferred(doc.url, deferred):
        host = literal_host(doc.url)
        yield from _host(host, path, services) if host else ()
        return
    try:
        parts = urlsplit(doc.url)
        port = parts.port
    except ValueError as error:
        yield Problem(path, f"is no URL: {error}", _LINE)
        return
    if port == 0:
        yield Problem(path, "there is no port 0: from 1 to 65535")
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        yield Problem(path, "is no URL that begins with http://SERVICE or https://SERVICE", _LINE)
    elif parts.username is not None:
        yield Problem(
            path, "user and password do not stand in a URL", 'write auth = { basic = ["user", "password"] }'
        )
    else:
        yield from _host(parts.hostname.rstrip("."), path, services)
    if not doc.url.isprintable():
        yield Problem(path, "a URL has no control characters")


def _host(host: str, path: KeyPath, services: Mapping[str, ServiceDoc]) -> Iterator[Problem]:
    name = service_at(host, services)
    if not name:
        hint = suggestion(host, list(services))
        if host == "localhost" or _is_address(host):
            hint = "a service is asked by its name and the port in its container: http://SERVICE:8080/"
        known = some(services) or "none is defined"
        yield Problem(path, f'the host "{host}" is no service of this file; known: {known}', hint)
    elif services[name].network == "none":
        yield Problem(path, f'the service "{name}" has network = "none": nothing reaches it')


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _body(doc: HttpDoc, path: KeyPath, source: Source) -> Iterator[Problem]:
    given = doc.given_bodies
    if len(given) > 1:
        yield Problem(
            (*path, given[1]),
            f"at most one of body, json, form and multipart is sent, found {', '.join(given)}",
        )
    if doc.json is not UNSET:
        yield from json_value(doc.json, (*path, "json"))
    for name, part in (doc.multipart or {}).items():
        if isinstance(part, PartDoc):
            below = (*path, "multipart", name)
            yield from exactly_one(part, below)
            if part.file is not None:
                yield from _file(part.file, (*below, "file"), source)


def json_value(value: object, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake unless JSON can say a value of TOML: it has no times, and no infinite numbers."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        yield Problem(path, "holds what JSON cannot say: a date or time, nan or inf; write it as text")


def _file(given: str, path: KeyPath, source: Source) -> Iterator[Problem]:
    try:
        source(given)
    except ValueError as error:
        yield Problem(path, str(error))


def check_answer(
    doc: StepExpectDoc, path: KeyPath, deferred: frozenset[str], request: HttpDoc | None
) -> Iterator[Problem]:
    """Yield the mistakes of what is expected of an answer.

    :param request: to which it answers, None if that is none.
    """
    if doc.headers is not None and not doc.headers:
        yield Problem((*path, "headers"), "this checks nothing: it names no header")
    for name, each in (doc.headers or {}).items():
        below = (*path, "headers", name)
        yield from header(name, "", below)
        if isinstance(each, HeaderDoc):
            yield from check_text(each, below, deferred)
            if each.exists is False and len(_given(each)) > 1:
                yield Problem(below, "a header that must not be there has no value to check")
    if isinstance(doc.status, list) and not doc.status:
        yield Problem((*path, "status"), "is empty: at least one entry is needed")
    yield from check_text(doc.body, (*path, "body"), deferred)
    for key in ("size", "redirects"):
        yield from _bounds(getattr(doc, key), (*path, key))
    yield from _bounds(doc.duration, (*path, "duration"))
    if doc.certificate is not None:
        below = (*path, "certificate")
        yield from _bounds(doc.certificate.days_left, (*below, "days_left"))
        if not doc.certificate.names and doc.certificate.days_left is None:
            yield Problem(below, "this checks nothing; set at least one of names, days_left")
        if request is not None and not request.tls.verify:
            message = "of a certificate that is not verified nothing is known"
            yield Problem(below, message, 'write tls = { ca = "authority.pem" } in place of verify = false')
        elif request is not None and request.url.lower().startswith("http:"):
            yield Problem(below, "there is a certificate only where the URL begins with https://")


def _given(doc: HeaderDoc) -> list[str]:
    return [name for name in doc.__struct_fields__ if getattr(doc, name) != getattr(_ANY_HEADER, name)]


def _bounds(doc: object, path: KeyPath) -> Iterator[Problem]:
    if isinstance(doc, AmountDoc):
        yield from check_amount(doc, path)
    if not isinstance(doc, TimesDoc):
        return
    given = {name: getattr(doc, name) for name in doc.__struct_fields__}
    if all(each is None for each in given.values()):
        yield Problem(path, f"this checks nothing; set at least one of {', '.join(given)}")
    for name, each in given.items():
        yield from duration(each, (*path, name))
