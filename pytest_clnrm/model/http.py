"""An HTTP request that a step makes, its answer, and what is expected of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import TextExpect


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a multipart body: a text or a file of the host.

    :param file: absolute path, links resolved.
    :param filename: that the server is told; "" for none.
    :param type: its media type; "" for none.
    :cvar blank_fields: of which an empty text says something.
    :cvar file_keys: field -> its keys in a file, where these are not its name.
    """

    blank_fields: ClassVar = ("text", "filename")
    file_keys: ClassVar = {"text": ("value",)}

    name: str
    text: str = ""
    file: str | None = None
    filename: str = ""
    type: str = ""
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request to a service of the scenario. At most one of body, json, form and parts is given.

    :param url: absolute; its host is a service's name.
    :param basic: user and password.
    :param redirects: how many are followed at most.
    :param verify: whether the certificate must be trusted, and valid for the host of the URL.
    :param ca: path of a file of the authorities that are trusted in place of the host's own.
    :cvar json_fields: of which strings stand for JSON values.
    :cvar blank_fields: of which an empty text says something.
    :cvar file_keys: as of :class:`Part`.
    """

    json_fields: ClassVar = ("json",)
    blank_fields: ClassVar = ("headers", "query", "body", "json", "form", "basic")
    file_keys: ClassVar = {"basic": ("auth", "basic"), "bearer": ("auth", "bearer"), "ca": ("tls", "ca")}

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    json: Any = None
    has_json: bool = False
    form: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    basic: tuple[str, str] | None = None
    bearer: str | None = None
    redirects: int = 0
    verify: bool = True
    ca: str | None = None
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderExpect:
    """What a header of an answer must be.

    :param exists: whether it must be there.
    :param text: what its value must be.
    """

    exists: bool = True
    text: TextExpect | None = None
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateExpect:
    """What the certificate of a server must be.

    :param names: that are among those that it is valid for.
    """

    names: tuple[str, ...] = ()
    days_left: tuple[Condition, ...] = ()
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpExpect:
    """What an answer must be.

    :param status: the lowest and the highest status of each range; without any it must be below 400.
    :param duration: seconds from the first connection to the last byte.
    :param size: bytes of the body, unpacked.
    :param sha256: of the unpacked body, in lower case; "" for any.
    :param redirects: how many were followed.
    """

    status: tuple[tuple[int, int], ...] = ()
    headers: Mapping[str, HeaderExpect] = field(default_factory=dict)
    body: TextExpect | None = None
    duration: tuple[Condition, ...] = ()
    size: tuple[Condition, ...] = ()
    sha256: str = ""
    redirects: tuple[Condition, ...] = ()
    certificate: CertificateExpect | None = None
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """The answer to a request, the last one of those that redirect.

    :param head: status line and headers, a line each.
    :param headers: as they came; a name may be there several times.
    :param cookies: by name: what the answers have set.
    :param body: its end, decoded.
    :param body_omitted_bytes: how many bytes came before that.
    :param packed_with: with what the body is packed that could not be unpacked; "" if it is not packed.
    :param size_bytes: of the whole body, unpacked if it could be.
    :param sha256: of the same.
    :param redirects: how many were followed.
    :param certificate_names: for which the server's certificate is valid; None without a trusted one.
    :param certificate_days: how many more days it is valid.
    """

    status: int
    reason: str = ""
    head: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    cookies: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    body_omitted_bytes: int = 0
    packed_with: str = ""
    size_bytes: int = 0
    sha256: str = ""
    redirects: int = 0
    duration_s: float = 0.0
    certificate_names: tuple[str, ...] | None = None
    certificate_days: float = 0.0

    def header(self, name: str) -> str | None:
        """Return a header's value, several of one name joined as RFC 9110 has it; None if there is none."""
        values = [value for each, value in self.headers if each.casefold() == name.casefold()]
        return ", ".join(values) if values else None
