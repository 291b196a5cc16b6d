"""Spans of programs in containers: over OTLP, and printed."""
