"""A scenario passes, and has left something in its container that the next one may not see.

The second scenario ends well if it sees nothing, in whatever container it runs.
"""

from __future__ import annotations

import json

import pytest
from clnrm_testing.attack_images import DEFAULT_LIST, SET_IDLE, has_attribute, image_of, set_attribute
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

QUIET = ">/dev/null 2>&1 </dev/null"
NOBODY = "! cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep 100[0]'"
RUN_ON = f'sh -c \'printf "%s" "$name" >/proc/$$/comm; sleep 1000; :\' {QUIET} &'

ATTACKS = {
    "name-with-form-feed": (f"name=$(printf ') \\014'$PPID' (sh'); export name; {RUN_ON}", NOBODY),
    "name-with-newline": (f"name=$(printf 'a\\nb'); export name; {RUN_ON}", NOBODY),
    "replaced-find": (
        "mv /bin/find /bin/found; printf '#!/bin/sh\\ntrue\\n' >/bin/find; chmod 755 /bin/find",
        "test ! -e /bin/found",
    ),
    "processors": ("taskset -p 1 1", "grep -q '^Cpus_allowed_list:.0-' /proc/1/status"),
    "idle-scheduling": ("ionice -c 3 -p 1", "! ionice -p 1 | grep -q idle"),
    "idle-scheduler": (f"{SET_IDLE} 1", "test $(cut -d ' ' -f 41 /proc/1/stat) = 0"),
    "core-dumps": ("echo 0x7f >/proc/1/coredump_filter", "! grep -q 7f /proc/1/coredump_filter"),
    "scratch-attribute": (
        f"{set_attribute('/scratch', 'user.left', 'x')} || true",
        f"! {has_attribute('/scratch', 'user.left')}",
    ),
    "scratch-list": (
        set_attribute("/scratch", "system.posix_acl_default", DEFAULT_LIST),
        f"! {has_attribute('/scratch', 'system.posix_acl_default')}",
    ),
    "scratch-time": ("touch -d '2001-02-03 04:05:06' /scratch", "! stat -c %y /scratch | grep -q ^2001"),
    "mode-of-proc-net": ("chmod 400 /proc/net/tcp", "test $(stat -c %a /proc/net/tcp) = 444"),
    "mode-of-ptmx": ("chmod 600 /dev/pts/ptmx", "test $(stat -c %a /dev/pts/ptmx) = 666"),
    "cgroup-file": ("echo x >/sys/fs/cgroup/left 2>/dev/null || true", "test ! -e /sys/fs/cgroup/left"),
    "shared-memory": (
        "perl -e 'exit !defined shmget(7, 4096, 01666)'",
        "! perl -e 'exit !defined shmget(7, 0, 0)'",
    ),
    "pipe-size": (
        "perl -e 'fcntl(STDOUT, 1031, 4096)'",
        "perl -e 'exit(fcntl(STDOUT, 1032, 0) == 4096 ? 1 : 0)'",
    ),
    # The shell takes them once the step has ended.
    "commands-for-the-shell": (
        "echo 'clnrm_current() { umask 0; }' >/proc/$PPID/fd/0",
        "test $(umask) = 0022",
    ),
    "commands-for-the-next-shell": (
        "printf 'exit 137\\numask 0\\nread line\\n' >/proc/$PPID/fd/0",
        "test $(umask) = 0022",
    ),
    "shell-that-is-another": (
        "printf 'exec sh -c \"umask 0; exec sh -s pytest-clnrm\"\\n' >/proc/$PPID/fd/0",
        "test $(umask) = 0022",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_next_scenario_sees_nothing(project: EndToEnd, attack: str) -> None:
    """Its container is as it was when it was new, or another one."""
    leave, unseen = ATTACKS[attack]
    project.image = image_of(project.client, "busybox")
    text = '[service.box]\nimage = "x"\nscratch = ["/scratch"]\n'
    for name, script in (("first", leave), ("second", f"{unseen} || {{ echo SEEN; exit 1; }}")):
        text += f'[[scenario]]\nname = "{name}"\n[[scenario.step]]\nname = "it"\nservice = "box"\n'
        text += f"run = {json.dumps(script)}\n"
    project.write("a.clnrm.toml", text)
    run = project.run()
    assert run.outcomes().get("first") == "passed", run.text
    assert run.outcomes()["second"] == "passed", run.text


def test_a_steps_open_files_are_its_own(project: EndToEnd) -> None:
    """What a step sets on its streams is not set for the next one, in each user's shell."""
    project.image = image_of(project.client, "busybox")
    step = '[[step]]\nname = "{name}"\nservice = "box"\n{user}run = {run}\n'
    leave = "; ".join(f"perl -e 'fcntl({each}, 4, 04000)'" for each in ("STDIN", "STDOUT", "STDERR"))
    flags = " | ".join(f"fcntl({each}, 3, 0)" for each in ("STDIN", "STDOUT", "STDERR"))
    unseen = f"perl -e 'exit(({flags}) & 04000 ? 1 : 0)' || {{ echo SEEN; exit 1; }}"
    text = '[service.box]\nimage = "x"\n'
    for user in ("", 'user = "nobody"\n'):
        for name, script in ((f"leave {bool(user)}", leave), (f"look {bool(user)}", unseen)):
            text += step.format(name=name, user=user, run=json.dumps(script))
    project.write("a.clnrm.toml", text)
    run = project.run()
    assert set(run.outcomes().values()) == {"passed"}, run.text
