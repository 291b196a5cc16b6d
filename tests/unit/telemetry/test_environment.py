"""The environment of containers."""

from __future__ import annotations

import importlib.util

import pytest

from pytest_clnrm.telemetry import environment as inject
from pytest_clnrm.telemetry.environment import environment, merged, probe_environment, warnings

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL, TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
HEADERS, TRACES_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
INJECTED = environment("http://h:1", "TOK", "s", "db")


def test_what_is_injected() -> None:
    """An SDK finds the receiver, its token and names, whatever its image has set."""
    found = environment("http://172.18.0.1:4000/", "TOK", "a.toml::x y", "db")
    assert found == {
        ENDPOINT: "http://172.18.0.1:4000/t/TOK",
        TRACES_ENDPOINT: "http://172.18.0.1:4000/t/TOK/v1/traces",
        HEADERS: "x-clnrm-token=TOK",
        TRACES_HEADERS: "x-clnrm-token=TOK",
        PROTOCOL: "http/protobuf",
        TRACES_PROTOCOL: "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_SDK_DISABLED": "false",
        "OTEL_SERVICE_NAME": "db",
        "OTEL_RESOURCE_ATTRIBUTES": "clnrm.scenario.id=a.toml%3A%3Ax%20y",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }


def test_what_the_file_sets_wins() -> None:
    """A file's own variables are kept, and one for all signals is that of traces too."""
    own = {"OTEL_SERVICE_NAME": "mine", "A": "b", "OTEL_TRACES_SAMPLER": "always_off"}
    assert merged(INJECTED, own) == {**INJECTED, **own}
    json = merged(INJECTED, {PROTOCOL: "http/json"})
    assert json == {**INJECTED, PROTOCOL: "http/json", TRACES_PROTOCOL: "http/json"}
    assert merged(INJECTED, {HEADERS: "a=b"})[TRACES_HEADERS] == "a=b"
    assert merged(INJECTED, {PROTOCOL: "x", TRACES_PROTOCOL: "y"})[TRACES_PROTOCOL] == "y"
    assert merged({}, {"A": "b"}) == {"A": "b"}


def test_who_is_sent_elsewhere_gets_nothing_of_ours() -> None:
    """Neither token nor protocol; an endpoint for all signals has the path of traces added, as SDKs do."""
    elsewhere = merged(INJECTED, {ENDPOINT: "http://else/"})
    assert not elsewhere.keys() & {HEADERS, TRACES_HEADERS, PROTOCOL, TRACES_PROTOCOL}
    assert (elsewhere[ENDPOINT], elsewhere[TRACES_ENDPOINT]) == ("http://else/", "http://else/v1/traces")
    grpc = merged(INJECTED, {ENDPOINT: "http://else:4317", PROTOCOL: "grpc"})
    assert (grpc[TRACES_ENDPOINT], grpc[TRACES_PROTOCOL]) == ("http://else:4317", "grpc")
    own = {TRACES_ENDPOINT: "http://else", HEADERS: "a=b"}
    traces = merged(INJECTED, own)
    assert (traces[TRACES_ENDPOINT], traces[HEADERS], traces[TRACES_HEADERS]) == ("http://else", "a=b", "a=b")


@pytest.mark.parametrize("name", [PROTOCOL, TRACES_PROTOCOL])
def test_grpc_has_no_paths(name: str) -> None:
    """A program that is set to gRPC finds us at host and port alone, with the token in its headers."""
    found = merged(INJECTED, {name: "grpc"})
    assert (found[ENDPOINT], found[TRACES_ENDPOINT]) == ("http://h:1", "http://h:1")
    assert found[TRACES_HEADERS] == "x-clnrm-token=TOK"
    assert merged(found, {"A": "b"}) == {**found, "A": "b"}
    assert merged(found, {name: "grpc"}) == found
    back = merged(found, {PROTOCOL: "http/json", TRACES_PROTOCOL: "http/json"})
    assert (back[ENDPOINT], back[TRACES_ENDPOINT]) == (INJECTED[ENDPOINT], INJECTED[TRACES_ENDPOINT])
    assert merged(INJECTED, {name: "grpc", HEADERS: "a=b"})[TRACES_HEADERS] == "a=b,x-clnrm-token=TOK"


def test_probes_are_known() -> None:
    """What a probe's command sends says that it is one, beside what its container says."""
    found = probe_environment(INJECTED, "00-1-2-01")
    assert found == {
        "TRACEPARENT": "00-1-2-01",
        "OTEL_RESOURCE_ATTRIBUTES": "clnrm.scenario.id=s,clnrm.probe=true",
    }
    assert probe_environment({}, "x")["OTEL_RESOURCE_ATTRIBUTES"] == "clnrm.probe=true"


def test_grpc_without_grpcio_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that sets gRPC is told what to install, or to set; with grpcio there is nothing to tell."""
    own = {PROTOCOL: "grpc", TRACES_PROTOCOL: "http/json"}
    assert list(warnings(own)) == []
    monkeypatch.setattr(
        inject, "find_spec", lambda name: None if name == "grpc" else importlib.util.find_spec
    )
    (warning,) = warnings(own)
    assert warning == (
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: spans are received over gRPC only where grpcio is installed, none "
        "will arrive this way; install pytest-clnrm[grpc], remove OTEL_EXPORTER_OTLP_PROTOCOL, or set it to "
        "http/protobuf or http/json"
    )


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {ENDPOINT: "http://x"},
            f"{ENDPOINT}=http://x: spans go there, none arrives here; remove {ENDPOINT}",
        ),
        ({TRACES_ENDPOINT: "http://x"}, f"{TRACES_ENDPOINT}=http://x: spans go there"),
        (
            {"OTEL_TRACES_SAMPLER": "always_off"},
            "OTEL_TRACES_SAMPLER=always_off: spans that it does not sample",
        ),
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER=console: spans are not exported to us"),
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED=true: no span is recorded; remove it"),
    ],
)
def test_what_wins_over_ours_is_told(own: dict[str, str], said: str) -> None:
    """What a file sets itself, and keeps spans from us, has a note."""
    (warning,) = warnings(own)
    assert warning.startswith(said)
    assert not list(warnings({"OTEL_SERVICE_NAME": "a", "OTEL_TRACES_SAMPLER": "parentbased_always_on"}))
