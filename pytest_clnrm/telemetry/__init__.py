"""Spans: recording our own, receiving the workload's, storing and merging both.

Importing this package, its ``record`` or its ``receive`` imports nothing of OpenTelemetry; creating a
recorder or a receiver does.
"""
