"""OTLP/JSON: bodies to structs and back."""

from __future__ import annotations

import msgspec

from pytest_clnrm.telemetry.otlp import OtlpSpan, TraceRequest

__all__ = ["DecodeBodyError", "decode_json", "decode_json_span", "encode_json"]


class DecodeBodyError(Exception):
    """A body is not what its content type says; the message tells why."""


_decode_request = msgspec.json.Decoder(TraceRequest).decode
_decode_span = msgspec.json.Decoder(OtlpSpan).decode
encode_json = msgspec.json.Encoder().encode
"""Encode a struct or plain builtins; OTLP/JSON for the structs of :mod:`pytest_clnrm.telemetry.otlp`."""


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
