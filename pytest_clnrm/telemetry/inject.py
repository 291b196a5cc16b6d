"""The environment that makes OpenTelemetry SDKs in containers export to our receiver."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["environment", "merged", "warnings"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")


def environment(
    endpoint: str, token: str, scenario_id: str, service_name: str, traceparent: str | None = None
) -> dict[str, str]:
    """Return the variables for a container, or for one exec in it.

    :param endpoint: ``http://HOST:PORT`` of the receiver as the container reaches it.
    :param token: of the scenario's inbox.
    :param service_name: what the container's spans call it.
    :param traceparent: of the span that the program's own are children of, as a step's.
    """
    # The protocol because Python's SDK falls back to gRPC; no OTEL_EXPORTER_OTLP_TIMEOUT, which is seconds to
    # one SDK and milliseconds to another.
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{endpoint.rstrip('/')}/t/{token}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-clnrm-token={token}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": service_name,
        "OTEL_RESOURCE_ATTRIBUTES": f"clnrm.scenario.id={quote(scenario_id, safe='')}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    if traceparent:
        variables["TRACEPARENT"] = traceparent
    return variables


def merged(injected: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return *injected* and *own* together; what the scenario's file sets wins.

    A program that the file sends elsewhere does not get our token.
    """
    variables = {**injected, **own}
    elsewhere = any(name in own for name in _ENDPOINTS)
    if elsewhere and "OTEL_EXPORTER_OTLP_HEADERS" not in own:
        variables.pop("OTEL_EXPORTER_OTLP_HEADERS", None)
    return variables


def warnings(own: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a user should know of the variables that a file sets itself.

    An endpoint among them is not ours, and any protocol may be right for it.
    """
    if any(name in own for name in _ENDPOINTS):
        return ()
    return tuple(
        f"{name}={own[name]}: spans are received over OTLP/HTTP only, none will arrive this way; "
        f"remove {name}, or set it to http/protobuf or http/json"
        for name in _PROTOCOLS
        if own.get(name, "").strip().lower() == "grpc"
    )
