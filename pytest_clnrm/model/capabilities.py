"""The capabilities of Linux, by name: parts of what root may do."""

from __future__ import annotations

from difflib import get_close_matches

ALL = "ALL"

# Source: include/uapi/linux/capability.h of Linux 6.12.
CAPABILITIES = frozenset(
    """
    AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD
    NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN
    SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG WAKE_ALARM
    """.split()  # noqa: SIM905 (easier to read)
)


def capability(name: str) -> str:
    """Return the name of a capability as engines have it: ``cap_net_admin`` is ``NET_ADMIN``.

    :raises ValueError: if there is none of that name; says what may be meant.
    """
    plain = name.strip().upper().removeprefix("CAP_")
    if plain in CAPABILITIES:
        return plain
    close = get_close_matches(plain, CAPABILITIES, 1)
    meant = f' (did you mean "{close[0]}"?)' if close else ' such as "NET_BIND_SERVICE"'
    raise ValueError(f'"{name}" is no capability{meant}')
