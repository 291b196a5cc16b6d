"""Judging: pure functions from (expectation, outcome, spans) to failures, without any input or output."""
