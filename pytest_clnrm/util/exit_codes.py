"""What an exit code means."""

from __future__ import annotations

_BY_SHELLS = {126: "command cannot be executed", 127: "command not found"}
_SIGNALLED = 128
# Of Linux, whatever this host is: signal(7), as on x86 and ARM.
_FROM_1_ON = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM"
_SIGNALS = {**dict(enumerate(_FROM_1_ON.split(), start=1)), 24: "XCPU", 25: "XFSZ", 31: "SYS"}


def exit_code_in_words(code: int, reason: str = "") -> str:
    """Return ``exit code 139 (killed by SIGSEGV)``; the code alone where it has no common meaning.

    Shells and engines tell the signal that killed a process as 128 and its number.

    :param reason: what is known better than the code tells.
    """
    signal = _SIGNALS.get(code - _SIGNALLED)
    words = reason or _BY_SHELLS.get(code, "") or (f"killed by SIG{signal}" if signal else "")
    return f"exit code {code} ({words})" if words else f"exit code {code}"
