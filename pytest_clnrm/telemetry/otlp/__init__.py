"""OTLP messages, in JSON and in protobuf."""
