"""The environment of containers."""

from __future__ import annotations

from pytest_clnrm.telemetry.inject import environment, merged, warnings


def test_what_is_injected() -> None:
    """An SDK finds the receiver, its token, names and the parent of its spans."""
    found = environment("http://172.18.0.1:4000/", "TOK", "a.toml::x y", "db", "00-1-2-01")
    assert found == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://172.18.0.1:4000/t/TOK",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-clnrm-token=TOK",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": "db",
        "OTEL_RESOURCE_ATTRIBUTES": "clnrm.scenario.id=a.toml%3A%3Ax%20y",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "TRACEPARENT": "00-1-2-01",
    }
    assert "TRACEPARENT" not in environment("http://h:1", "T", "s", "db")


def test_what_the_file_sets_wins() -> None:
    """A file's own variables are kept, and who sends elsewhere does not get our token."""
    injected = environment("http://h:1", "TOK", "s", "db")
    assert merged(injected, {"OTEL_SERVICE_NAME": "mine", "A": "b"}) == {
        **injected,
        "OTEL_SERVICE_NAME": "mine",
        "A": "b",
    }
    elsewhere = merged(injected, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://else"})
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in elsewhere
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://else", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}
    assert merged(injected, own)["OTEL_EXPORTER_OTLP_HEADERS"] == "a=b"


def test_grpc_is_warned_of() -> None:
    """A file that sets gRPC is told that nothing will arrive, and what to do."""
    (warning,) = warnings(
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}
    )
    assert warning == (
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: spans are received over OTLP/HTTP only, "
        "none will arrive this way; "
        "remove OTEL_EXPORTER_OTLP_PROTOCOL, or set it to http/protobuf or http/json"
    )
    assert warnings({}) == ()
