"""What holds for all tests: Ctrl-C works in what they start."""

from __future__ import annotations

import signal

# A shell has its background jobs ignore SIGINT, which every process that they start inherits.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
