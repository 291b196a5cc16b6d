"""A receiver, for the tests of all that it takes."""

from __future__ import annotations

from clnrm_testing.receiving import inbox, receiver

__all__ = ["inbox", "receiver"]
