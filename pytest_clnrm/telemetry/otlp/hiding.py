"""Hiding secrets in OTLP's messages: in names and values of any type, never in ids, times and kinds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

import msgspec

from pytest_clnrm.telemetry.otlp.messages import AnyValue

_TEXTS = frozenset({"key", "name", "message", "version", "schema_url", "trace_state", "string_value"})


def hide(message: msgspec.Struct, redact: Callable[[str], str]) -> None:
    """Replace all texts of *message*, at any depth, by what *redact* returns for them.

    A number that is a secret becomes a text.
    """
    pending: list[object] = [message]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending += each
        elif isinstance(each, msgspec.Struct):
            for name in each.__struct_fields__:
                value = getattr(each, name)
                if name in _TEXTS and isinstance(value, str):
                    setattr(each, name, redact(value))
                elif isinstance(value, (list, msgspec.Struct)):
                    pending.append(value)
            if isinstance(each, AnyValue):
                _hide_others(each, redact)


def _hide_others(value: AnyValue, redact: Callable[[str], str]) -> None:
    """Hide a secret that is a number, or within bytes."""
    for number in (value.int_value, value.double_value):
        if number is not None and (hidden := redact(str(number))) != str(number):
            value.int_value = value.double_value = None
            value.string_value = hidden
    if value.bytes_value is not None:
        try:
            text = base64.b64decode(value.bytes_value).decode("utf-8", "surrogateescape")
        except binascii.Error:
            return
        hidden = redact(text)
        if hidden != text:
            value.bytes_value = base64.b64encode(hidden.encode("utf-8", "surrogateescape")).decode()
