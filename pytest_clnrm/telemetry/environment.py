"""The environment that makes OpenTelemetry SDKs in containers export to our receiver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from urllib.parse import quote, urlsplit

SERVICE_NAME = "OTEL_SERVICE_NAME"
OF_STEP = " (step)"
"""How the name of a service ends in the spans of steps in its container."""
PROBE = "clnrm.probe"
"""The attribute of a resource that is one of our own readiness probes."""

_KINDS = ("ENDPOINT", "PROTOCOL", "HEADERS")
_GENERIC = {kind: f"OTEL_EXPORTER_OTLP_{kind}" for kind in _KINDS}
_TRACES = {kind: f"OTEL_EXPORTER_OTLP_TRACES_{kind}" for kind in _KINDS}
_ENDPOINTS = (_GENERIC["ENDPOINT"], _TRACES["ENDPOINT"])
_PATH = "/v1/traces"
TOKEN_HEADER = "x-clnrm-token"  # noqa: S105 # a header's name
_SAMPLING_ALL = ("always_on", "parentbased_always_on")


def environment(endpoint: str, token: str, scenario_id: str, service_name: str) -> dict[str, str]:
    """Return the variables for a container, or for one exec in it.

    Those of traces alone are there too, and what else an image could set to keep its spans from us.

    :param endpoint: ``http://HOST:PORT`` of the receiver as the container reaches it.
    :param token: of the scenario's inbox.
    :param service_name: what the container's spans call it.
    """
    # The protocol because Python's SDK falls back to gRPC; no OTEL_EXPORTER_OTLP_TIMEOUT, which is seconds to
    # one SDK and milliseconds to another.
    base = f"{endpoint.rstrip('/')}/t/{token}"
    return {
        _GENERIC["ENDPOINT"]: base,
        _TRACES["ENDPOINT"]: f"{base}{_PATH}",
        **{names["HEADERS"]: f"{TOKEN_HEADER}={token}" for names in (_GENERIC, _TRACES)},
        **{names["PROTOCOL"]: "http/protobuf" for names in (_GENERIC, _TRACES)},
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_SDK_DISABLED": "false",
        SERVICE_NAME: service_name,
        "OTEL_RESOURCE_ATTRIBUTES": f"clnrm.scenario.id={quote(scenario_id, safe='')}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }


def of_attempt(variables: Mapping[str, str], token: str, attempt: str) -> dict[str, str]:
    """Return *variables* such that what a program of one attempt of a step sends is known to be of that.

    :param token: of the scenario's inbox.
    :param attempt: id of the attempt's span, "" if it has none.
    """
    ours = {names[kind] for kind in ("ENDPOINT", "HEADERS") for names in (_GENERIC, _TRACES)}
    return {
        name: value.replace(token, f"{token}{attempt}") if name in ours else value
        for name, value in variables.items()
    }


def probe_environment(given: Mapping[str, str], traceparent: str) -> dict[str, str]:
    """Return the variables of a command that asks whether a service is ready: its spans are known by them.

    :param given: what it gets besides, or inherits.
    """
    attributes = given.get("OTEL_RESOURCE_ATTRIBUTES", "")
    ours = f"{attributes},{PROBE}=true".lstrip(",")
    return {"TRACEPARENT": traceparent, "OTEL_RESOURCE_ATTRIBUTES": ours}


def merged(injected: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return *injected* and *own* together; what the scenario's file sets wins.

    A variable for all signals that the file sets is that of traces too: an image's own, or ours, would win
    over it. A program that the file sends elsewhere gets neither our token nor our protocol.
    """
    variables = {**injected, **own}
    elsewhere = any(name in own for name in _ENDPOINTS)
    if elsewhere:
        for kind in ("HEADERS", "PROTOCOL"):
            for names in (_GENERIC, _TRACES):
                if names[kind] not in own:
                    variables.pop(names[kind], None)
    for kind in _KINDS:
        if _GENERIC[kind] in own and _TRACES[kind] not in own:
            variables[_TRACES[kind]] = own[_GENERIC[kind]]
    grpc = variables.get(_TRACES["PROTOCOL"], "").strip().lower() == "grpc"
    if elsewhere and _GENERIC["ENDPOINT"] in own and _TRACES["ENDPOINT"] not in own and not grpc:
        variables[_TRACES["ENDPOINT"]] = f"{own[_GENERIC['ENDPOINT']].rstrip('/')}{_PATH}"
    if not elsewhere and _TRACES["ENDPOINT"] in injected:
        _as_protocol_wants(variables, injected, grpc=grpc)
    return variables


def _as_protocol_wants(variables: dict[str, str], injected: Mapping[str, str], *, grpc: bool) -> None:
    """Change the endpoints to those of the program's protocol; *injected* may be for HTTP or for gRPC.

    gRPC has no paths, so the token is in the headers alone.
    """
    url = urlsplit(injected[_TRACES["ENDPOINT"]])
    base, headers = f"{url.scheme}://{url.netloc}", variables.get(_TRACES["HEADERS"], "")
    token = next((each for each in _headers(injected) if each.startswith(f"{TOKEN_HEADER}=")), "")
    if grpc:
        variables.update(dict.fromkeys(_ENDPOINTS, base))
        if token not in headers:
            variables[_TRACES["HEADERS"]] = f"{headers},{token}".lstrip(",")
    elif not url.path:
        base = f"{base}/t/{token.partition('=')[2]}"
        variables.update(zip(_ENDPOINTS, (base, f"{base}{_PATH}"), strict=True))


def _headers(variables: Mapping[str, str]) -> list[str]:
    return variables.get(_TRACES["HEADERS"], "").split(",")


def warnings(own: Mapping[str, str]) -> Iterator[str]:
    """Yield what a user should know of the variables that a file sets itself, and that win over ours.

    An endpoint among them is not ours, and any protocol may be right for it.
    """
    for name in _ENDPOINTS:
        if name in own:
            yield f"{name}={own[name]}: spans go there, none arrives here; remove {name} to have them judged"
    protocols = (_GENERIC["PROTOCOL"], _TRACES["PROTOCOL"])
    asks_grpc = [name for name in protocols if own.get(name, "").strip().lower() == "grpc"]
    if asks_grpc and not any(name in own for name in _ENDPOINTS) and find_spec("grpc") is None:
        for name in asks_grpc:
            yield (
                f"{name}=grpc: spans are received over gRPC only where grpcio is installed, none will "
                f"arrive this way; install pytest-clnrm[grpc], remove {name}, or set it to http/protobuf "
                f"or http/json"
            )
    sampler = own.get("OTEL_TRACES_SAMPLER", "always_on").strip()
    if sampler not in _SAMPLING_ALL:
        yield f"OTEL_TRACES_SAMPLER={sampler}: spans that it does not sample never arrive; remove it for all"
    exporter = own.get("OTEL_TRACES_EXPORTER", "otlp")
    if "otlp" not in exporter:
        yield f"OTEL_TRACES_EXPORTER={exporter}: spans are not exported to us; remove it, or add otlp"
    if own.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield "OTEL_SDK_DISABLED=true: no span is recorded; remove it"
