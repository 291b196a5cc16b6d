"""OTLP/JSON: bodies to structs and back."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from pytest_clnrm.telemetry.otlp import values
from pytest_clnrm.telemetry.otlp.parts import count_json
from pytest_clnrm.telemetry.otlp.repair import repair_json
from pytest_clnrm.telemetry.otlp.values import OtlpSpan, TraceRequest


class DecodeBodyError(Exception):
    """A body is not what its content type says; the message tells why."""


_decode_request = msgspec.json.Decoder(TraceRequest).decode
_decode_span = msgspec.json.Decoder(OtlpSpan).decode
encode_json = msgspec.json.Encoder().encode
"""Encode a struct or plain builtins; OTLP/JSON for the structs of :mod:`.values`."""


def decode_base64(text: str) -> bytes:
    """Return bytes as proto3's JSON writes them: base64 of either alphabet, with or without padding.

    :raises ValueError: if it is none.
    """
    padded = text.rstrip("=").translate(_URL_SAFE)
    return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)


_URL_SAFE = str.maketrans("-_", "+/")
_CAMEL = {
    field.name: field.encode_name
    for each in vars(values).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct)
    for field in msgspec.structs.fields(each)
    if field.name != field.encode_name
}
_SNAKE = re.compile(rb'_(?:%s)"\s*:' % "|".join({name.rpartition("_")[2] for name in _CAMEL}).encode())
"""How a key may end that is named as in the .proto files, which parsers of proto3's JSON accept too."""


def decode_sent_json(body: bytes) -> tuple[TraceRequest, int]:
    """Return the export request that a program's *body* holds, and how many texts in it had to be mended.

    Its keys may be named as in JSON or as in the .proto files.

    :raises DecodeBodyError: as :func:`decode_json`.
    :raises TooManyPartsError: if it would become much.
    """
    count_json(body)
    decode = _decode_renamed if _SNAKE.search(body) else decode_json
    try:
        return decode(body), 0
    except DecodeBodyError:
        mended, replaced = repair_json(body)
        if not replaced:
            raise
        return decode(mended), replaced


def _decode_renamed(body: bytes) -> TraceRequest:
    try:
        return msgspec.convert(_renamed(msgspec.json.decode(body)), TraceRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeBodyError(f"cannot decode JSON: {error}") from None
    except RecursionError:
        raise DecodeBodyError("cannot decode JSON: it is nested too deeply") from None


def _renamed(value: Any) -> Any:
    """Return *value* with the keys that JSON has; names of attributes are values in OTLP, not keys."""
    if isinstance(value, dict):
        return {_CAMEL.get(key, key): _renamed(each) for key, each in value.items()}
    return [_renamed(each) for each in value] if isinstance(value, list) else value


def decode_json(body: bytes | msgspec.Raw) -> TraceRequest:
    """Return the export request that *body* holds; keys that are not known are ignored, as OTLP demands.

    :raises DecodeBodyError: if it is not JSON, too deep, or of another shape.
    """
    try:
        return _decode_request(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeBodyError(f"cannot decode JSON: {error}") from None
    except RecursionError:
        raise DecodeBodyError("cannot decode JSON: it is nested too deeply") from None


def decode_json_span(body: bytes | msgspec.Raw) -> OtlpSpan:
    """Return the span that *body* holds.

    :raises DecodeBodyError: if it is not JSON, too deep, or of another shape.
    """
    try:
        return _decode_span(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeBodyError(f"cannot decode JSON: {error}") from None
    except RecursionError:
        raise DecodeBodyError("cannot decode JSON: it is nested too deeply") from None
