"""More than a hundred ways to leave something in a container, none of which the next scenario sees.

A way is worth nothing if it does not work: each one has to see itself what it has left. Then the container
has either changed, and is not used again, or the next scenario does not see it. Ways follow one another in
the same container: what one has changed is what the next one finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from clnrm_testing.attack_images import (
    BASES,
    DEFAULT_LIST,
    SET_IDLE,
    has_attribute,
    image_of,
    set_attribute,
)
from docker import APIClient

from pytest_clnrm.engine.api import ContainerSpec, ExecSpec
from pytest_clnrm.engine.docker.engine import DockerEngine
from pytest_clnrm.engine.exec.waiting import KEEP_SHELL
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.pool.proof import difference

pytestmark = pytest.mark.engine

SCRATCH = ("/scratch",)
TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108 -- the container's


@dataclass(frozen=True)
class Way:
    """A way to leave something.

    :param leave: a script that does it.
    :param sees: a script that ends well if it is there.
    :param optional: not every kernel or engine lets a container do it.
    """

    name: str
    leave: str
    sees: str
    optional: bool = False


OVERWRITE = 'open F, "+<", shift; print F "L"'


def in_folders() -> Iterator[Way]:
    """Yield what can be left in a folder, and of itself."""
    for folder in ("/", "/etc", TMP, "/root", "/dev", SHM, "/sys/fs/cgroup", "/scratch"):
        rare = folder == "/sys/fs/cgroup"
        at = f"{folder.rstrip('/')}/left"
        newline = f"\"$(printf '{at}\\n/x|directory')\""
        for what, leave, sees in (
            ("file", f"echo x >{at}", f"test -f {at}"),
            ("hidden file", f"echo x >{folder}/.left", f"test -f {folder}/.left"),
            ("folder", f"mkdir -p {at}.d/e", f"test -d {at}.d/e"),
            ("link", f"ln -s /nowhere {at}.l", f"test -L {at}.l"),
            ("pipe", f"mkfifo {at}.p", f"test -p {at}.p"),
            (
                "name of two lines",
                f"echo x >{newline.replace('/x', 'x')}",
                f"test -f {newline.replace('/x', 'x')}",
            ),
            ("file for a while", f"touch {at}.w; rm {at}.w; : >/scratch/w", "test -e /scratch/w"),
            ("mode", f"chmod 711 {folder}", f"test $(stat -c %a {folder}) = 711"),
            ("owner", f"chown 77 {folder}", f"test $(stat -c %u {folder}) = 77"),
            ("time", f"touch -d '2001-02-03 04:05:06' {folder}", f"stat -c %y {folder} | grep -q ^2001"),
        ):
            yield Way(f"{what} in {folder}", leave, sees, optional=rare)
        for what, name, value in (
            ("attribute", "user.left", "x"),
            ("list", "system.posix_acl_default", DEFAULT_LIST),
        ):
            leave, sees = set_attribute(folder, name, value), has_attribute(folder, name)
            yield Way(f"{what} of {folder}", leave, sees, optional=True)


def in_files() -> Iterator[Way]:
    """Yield what can be done to a file."""
    for file in ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/passwd", "/etc/group"):
        for what, leave, sees in (
            ("line", f"echo '# left' >>{file}", f"grep -q '# left' {file}"),
            ("mode", f"chmod 705 {file}", f"test $(stat -c %a {file}) = 705"),
            ("owner", f"chown 77 {file}", f"test $(stat -c %u {file}) = 77"),
            ("time", f"touch -d '2001-02-03 04:05:06' {file}", f"stat -c %y {file} | grep -q ^2001"),
            (
                "letter, with the time set back",
                f"t=$(stat -c %y {file}); perl -e '{OVERWRITE}' {file}; touch -d \"$t\" {file}",
                f"test $(head -c 1 {file}) = L",
            ),
        ):
            yield Way(f"{what} of {file}", leave, sees)


def of_processes() -> Iterator[Way]:
    """Yield what can be done to the first process, and to the shell that runs steps."""
    # What the first process has, its next shell gets.
    # Both are of one session, which has one autogroup: what the first way has left must not hide the second.
    for pid, nice in (("$PPID", 7), ("1", 6)):
        for what, leave, sees, optional in (
            ("nice", f"renice -n 5 -p {pid}", f"test $(cut -d ' ' -f 19 /proc/{pid}/stat) = 5", False),
            (
                "processors",
                f"taskset -p 1 {pid}",
                f"grep -q '^Cpus_allowed_list:.0$' /proc/{pid}/status",
                True,
            ),
            ("ionice", f"ionice -c 3 -p {pid}", f"ionice -p {pid} | grep -q idle", False),
            ("scheduler", f"{SET_IDLE} {pid}", f"test $(cut -d ' ' -f 41 /proc/{pid}/stat) = 5", False),
            (
                "core",
                f"echo 0x7f >/proc/{pid}/coredump_filter",
                f"grep -q 7f /proc/{pid}/coredump_filter",
                True,
            ),
            (
                "out of memory",
                f"echo 500 >/proc/{pid}/oom_score_adj",
                f"grep -q 500 /proc/{pid}/oom_score_adj",
                False,
            ),
            (
                "autogroup",
                f"echo {nice} >/proc/{pid}/autogroup",
                f"grep -q 'nice {nice}' /proc/{pid}/autogroup",
                True,
            ),
            (
                "slack",
                f"echo 77777 >/proc/{pid}/timerslack_ns",
                f"grep -q 77777 /proc/{pid}/timerslack_ns",
                True,
            ),
            (
                "limit",
                f"prlimit -p {pid} --nofile=99:99",
                f"grep -q 'open files *99 ' /proc/{pid}/limits",
                True,
            ),
        ):
            yield Way(f"{what} of {pid}", leave, sees, optional=optional)


def of_the_kernel() -> Iterator[Way]:
    """Yield what the kernel keeps beside files and processes."""
    for file in ("tcp", "udp", "unix", "dev", "route", "arp"):
        yield Way(
            f"mode of {file}",
            f"chmod 400 /proc/net/{file}",
            f"test $(stat -c %a /proc/net/{file}) = 400",
            optional=True,
        )
        yield Way(
            f"owner of {file}",
            f"chown 7 /proc/net/{file}",
            f"test $(stat -c %u /proc/net/{file}) = 7",
            optional=True,
        )
    yield Way("mode of ptmx", "chmod 600 /dev/pts/ptmx", "test $(stat -c %a /dev/pts/ptmx) = 600")
    yield Way("owner of ptmx", "chown 7 /dev/pts/ptmx", "test $(stat -c %u /dev/pts/ptmx) = 7")
    yield Way("mode of null", "chmod 640 /dev/null", "test $(stat -c %a /dev/null) = 640")
    yield Way("device", "mknod /dev/mine c 1 5", "test -c /dev/mine")
    yield Way("queue", "touch /dev/mqueue/left", "test -e /dev/mqueue/left", optional=True)
    yield Way("mode of queues", "chmod 700 /dev/mqueue", "test $(stat -c %a /dev/mqueue) = 700")
    for what, make, find in (
        ("shared memory", "shmget(7, 4096, 01666)", "shmget(7, 0, 0)"),
        ("semaphore", "semget(7, 1, 01666)", "semget(7, 0, 0)"),
        ("message queue", "msgget(7, 01666)", "msgget(7, 0)"),
    ):
        yield Way(what, f"perl -e 'exit !defined {make}'", f"perl -e 'exit !defined {find}'")
    size = "perl -e 'exit((fcntl(STDOUT, 1032, 0) == 4096) ? 0 : 1)'"
    yield Way("size of a pipe", "perl -e 'fcntl(STDOUT, 1031, 4096)'", size)
    yield Way("mode of a pipe", "chmod 666 /proc/self/fd/2", "test $(stat -L -c %a /proc/self/fd/2) = 666")
    yield Way("owner of a pipe", "chown 7 /proc/self/fd/2", "test $(stat -L -c %u /proc/self/fd/2) = 7")


def of_steps() -> Iterator[Way]:
    """Yield what is a step's own."""
    for what, leave, sees in (
        ("umask", "umask 077", "test $(umask) = 0077"),
        ("folder", "cd /etc", "test $(pwd) = /etc"),
        ("variable", "export LEFT=1", 'test "$LEFT" = 1'),
        ("function", "true() { return 7; }", "! true"),
        ("signal", "trap '' TERM", "sh -c 'kill -TERM $$'"),
        ("file limit", "ulimit -n 77", "test $(ulimit -n) = 77"),
        ("core limit", "ulimit -c 0; ulimit -f 99", "test $(ulimit -f) = 99"),
    ):
        yield Way(f"{what} of a step", leave, sees)
    for number, flag in ((1, "04000"), (2, "04000"), (1, "020000"), (0, "04000")):
        handle = ("STDIN", "STDOUT", "STDERR")[number]
        told = f"perl -e 'exit((fcntl({handle}, 3, 0) & {flag}) ? 0 : 1)'"
        yield Way(
            f"flag {flag} of {handle}",
            f"perl -e 'fcntl({handle}, 4, {flag})'",
            told,
            optional=flag == "020000",
        )


LISTED = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep 100[0]'"
QUIET = ">/dev/null 2>&1 </dev/null"
RENAMED = "{ printf '%s' \"$name\" >/proc/self/comm; while :; do sleep 1000; done; }"


def of_background() -> Iterator[Way]:
    """Yield processes that run on; names of the shell's own children, as its number is theirs to be read."""
    yield Way("process", f"sleep 1000 {QUIET} &", LISTED)
    yield Way("orphan", f"setsid sh -c '(sleep 1000 &) {QUIET}'", LISTED)
    yield Way("stopped process", f"sleep 1000 {QUIET} & kill -STOP $!", LISTED)
    for what, name in (
        ("form feed", r") \014$PPID (sh"),
        ("newline", r"a\nb"),
        ("newline first", r"\n) S 0"),
        ("brackets", ")) ((S 0 0 0"),
        ("nothing", ""),
        ("carriage return", r"\r1 (sh) S"),
        ("no letters", r"\377\200"),
    ):
        text = f'name=$(printf "{name}x"); name=${{name%x}}; export name'
        run = f'sh -c \'printf "%s" "$name" >/proc/$$/comm; sleep 1000; :\' {QUIET} &'
        yield Way(f"process named with {what}", f"{text}; {run}", f"sleep 0.1; {LISTED}")


WAYS = [*in_folders(), *in_files(), *of_processes(), *of_the_kernel(), *of_steps(), *of_background()]


@dataclass
class Box:
    """A container that ways are tried in."""

    engine: DockerEngine
    make: Callable[[], str]
    container: str = ""
    seen: dict[str, str] | None = None

    def step(self, script: str) -> int | None:
        """Run a step; return its exit code."""
        spec = ExecSpec(argv=("sh", "-c", script))
        return self.engine.exec(self.container, spec, on_output=lambda *_: None, deadline_s=None).exit_code

    def renew(self) -> None:
        """Make another one."""
        if self.container:
            self.engine.remove([self.container])
        self.container = self.make()
        self.engine.start(self.container)
        self.seen = self.engine.observe(self.container, scratch=SCRATCH)

    def verdict(self) -> str:
        """Return why the container is not used again, as after a scenario."""
        assert self.seen is not None
        try:
            after = self.engine.observe(self.container, scratch=SCRATCH, before=self.seen)
        except ContainerError as error:
            self.renew()
            return str(error)
        found = difference(self.seen, after)
        self.seen = after
        return found


@pytest.fixture(params=BASES)
def box(request: pytest.FixtureRequest, engine: DockerEngine, client: APIClient) -> Box:
    """Return a new container of each kind of programs."""
    spec = ContainerSpec(
        name="",
        image=image_of(client, request.param),
        command=KEEP_SHELL,
        memory_bytes=256 << 20,
        cpus=2.0,
        pids=64,
        tmpfs=SCRATCH,
    )
    box = Box(engine, lambda: engine.create_container(spec))
    box.renew()
    return box


def test_none_is_seen(box: Box) -> None:
    """After each way the container has changed, or the next scenario does not see it."""
    tried, failed, seen, reasons = 0, [], [], {}
    for way in WAYS:
        if box.step(f"{way.leave}\n{way.sees}") != 0:
            if not way.optional:
                failed.append(way.name)
            continue
        tried += 1
        reasons[way.name] = box.verdict()
        if not reasons[way.name] and box.step(way.sees) == 0:
            seen.append(way.name)
    assert failed == [], "these ways do not work"
    assert seen == [], "SEEN by the next scenario"
    assert tried >= 100
    # What is clean again is so as it was a step's own, or its shell's, or in a scratch folder.
    clean = [name for name, reason in reasons.items() if not reason]
    assert [
        each
        for each in clean
        if not each.endswith(("/scratch", "of $PPID", "of a step")) and "flag" not in each
    ] == []


def test_nothing_is_clean(box: Box) -> None:
    """A container in which nothing was done is the same each time."""
    assert [box.verdict() for _ in range(5)] == [""] * 5
    assert box.step("true") == 0
    assert [box.verdict() for _ in range(5)] == [""] * 5
