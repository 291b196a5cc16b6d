"""What an exit code means."""

from __future__ import annotations

_BY_SHELLS = {126: "command cannot be executed", 127: "command not found"}
_SIGNALLED = 128
# Of Linux, whatever this host is: signal(7), as on x86 and ARM.
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}


def exit_code_in_words(code: int, reason: str = "") -> str:
    """Return ``exit code 139 (killed by SIGSEGV)``; the code alone where it has no common meaning.

    Shells and engines tell the signal that killed a process as 128 and its number.

    :param reason: what is known better than the code tells.
    """
    signal = _SIGNALS.get(code - _SIGNALLED)
    words = reason or _BY_SHELLS.get(code, "") or (f"killed by {signal}" if signal else "")
    return f"exit code {code} ({words})" if words else f"exit code {code}"
