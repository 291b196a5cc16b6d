"""``[expect.hermeticity]``: whom the spans say they talked to, and what they must and must not say."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pytest_clnrm.expect.conditions import Fault, attribute_faults, matches_any, number_of_spans
from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.texts import bounded_lines
from pytest_clnrm.model.expectations import HermeticityExpect
from pytest_clnrm.model.span import AttributeValue, Span

SHOWN = 10
_SEVERAL_URLS = re.compile(r",(?=[A-Za-z][A-Za-z0-9+.-]*://)")
# In the order in which they are believed: a host beats a service's logical name, and that an address, which
# may be any container's. Semantic conventions, present and former.
_PEER_KEYS = (
    (
        "server.address",
        "url.full",
        "http.url",
        "http.host",
        "messaging.url",
        "net.peer.name",
        "net.sock.peer.name",
    ),
    ("peer.service",),
    ("network.peer.address", "net.peer.ip", "net.sock.peer.addr"),
)


def judge_hermeticity(expect: HermeticityExpect, forest: Forest, services: frozenset[str]) -> Iterator[Fault]:
    """Yield what is wrong: peers from outside, resources and keys.

    :param services: hosts that are the scenario's own.
    """
    origin = expect.origin
    spans = forest.of(origin)
    if not spans:
        yield Fault("expect.hermeticity: no span to judge", origin)
        return
    if expect.no_external_services:
        own = {name.lower() for name in services}
        allowed = [each.lower() for each in expect.allowed_peers]
        outside = [
            (span, key, host)
            for span in spans
            for key, host in _talks(span, allowed)
            if not (host in own or _is_local(host) or matches_any(host, allowed))
        ]
        if outside:
            hosts = ", ".join(
                bounded_lines(list(dict.fromkeys(host for _, _, host in outside)), SHOWN, "hosts")
            )
            known = ", ".join(sorted({*own, *allowed})) or "none"
            lines = [f"{span.name}: {key} is {host}" for span, key, host in outside]
            yield Fault(
                f"expect.hermeticity.no_external_services: external peers {hosts}",
                origin,
                (*bounded_lines(lines, SHOWN, "spans"), f"services and allowed peers: {known}"),
            )
    required = [
        (span, attribute_faults(expect.resource_attrs, span.resource, "resource attribute")) for span in spans
    ]
    wrong = [f"{span.name}: {'; '.join(faults)}" for span, faults in required if faults]
    if wrong:
        message = (
            f"expect.hermeticity.resource_attrs: {len(wrong)} of {number_of_spans(len(spans))}; {wrong[0]}"
        )
        yield Fault(message, origin, tuple(bounded_lines(wrong, SHOWN, "spans")))
    keys = [
        (span, key)
        for span in spans
        for key in dict.fromkeys(key for keys, _ in _told(span) for key in keys)
        if matches_any(key, expect.forbid_keys)
    ]
    if keys:
        names = ", ".join(bounded_lines(list(dict.fromkeys(key for _, key in keys)), SHOWN, "keys"))
        lines = [f"{span.name}: has {key}" for span, key in keys]
        message = f"expect.hermeticity.span_attrs.forbid_keys: found {names}"
        yield Fault(message, origin, tuple(bounded_lines(lines, SHOWN, "spans")))


def _talks(span: Span, allowed: list[str]) -> list[tuple[str, str]]:
    """Return the peers of a span, and the address behind a name that the file does not allow.

    A server's spans tell the address of who called it.
    """
    named = peers(span)
    if span.kind == "server" or any(matches_any(host, allowed) for _, host in named):
        return named
    behind = [(key, _host(value)) for key, value in _values_of(span) if key in _PEER_KEYS[-1]]
    return list(dict.fromkeys([*named, *behind]))


def peers(span: Span) -> list[tuple[str, str]]:
    """Return (attribute key, host in lower case) of whom *span* says that it talked to; empty if to nobody.

    Whatever its kind, and also in its events, and inside of lists and maps.
    """
    told = _values_of(span)
    for peer_keys in _PEER_KEYS:
        values = [(key, value) for peer_key in peer_keys for key, value in told if key == peer_key]
        found = [(key, host) for key, value in values for host in _hosts(value) if host]
        if found:
            return found
    return []


def _values_of(span: Span) -> list[tuple[str, str]]:
    """Return the texts that a span tells, each with its key."""
    return [(key, value) for keys, value in _told(span) if isinstance(value, str) for key in keys]


def _told(span: Span) -> Iterator[tuple[tuple[str, ...], AttributeValue]]:
    """Yield all that the attributes of *span* and its events hold, each with its keys.

    What is in a map has its own key there, and that with the keys before it, with dots between them.
    """
    pending: list[tuple[tuple[str, ...], AttributeValue]] = []
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        pending += [((key,), value) for key, value in attributes.items()]
    for keys, value in pending:  # it grows on the way
        if isinstance(value, Mapping):
            for inner, each in value.items():
                pending.append(((*(f"{key}.{inner}" for key in keys), inner), each))
        elif isinstance(value, (list, tuple)):
            pending += [(keys, each) for each in value]
        yield keys, value


def _hosts(value: str) -> list[str]:
    """Return the hosts that a text names: clusters have several, ``a:9092,b:9092`` or ``db://a:1,b:2/name``."""
    hosts: list[str] = []
    for url in _SEVERAL_URLS.split(value):
        authority = ""
        with contextlib.suppress(ValueError):
            authority = urlsplit(url if "//" in url else f"//{url}").netloc.rpartition("@")[2]
        hosts += map(_host, authority.split(",") if "," in authority else [url])
    return hosts


def _host(value: str) -> str:
    """Return the host that a URL, an authority or a bare host names, in lower case."""
    if value.startswith("/") and not value.startswith("//"):
        return value
    try:
        host = urlsplit(value if "//" in value else f"//{value}").hostname
    except ValueError:
        host = None
    # An IPv6 address without brackets would be split as if its end were a port.
    if _address(value) is not None or not host:
        host = value
    return host.lower().rstrip(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that *host* is, None if it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    """Tell whether *host* is the caller's own machine: a loopback, or a socket's path."""
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost") or host.startswith("/")
