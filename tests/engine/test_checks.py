"""``[[check]]`` on a real engine: files, images, ports, processes, users and logs, looked at from outside."""

from __future__ import annotations

import hashlib
import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

BARE = """
COPY passwd group /etc/
COPY --chown=1000:1001 busybox /busybox-1
CMD ["/busybox-1", "sleep", "1000"]
"""

FILES = """
[service.bare]
build = "./bare"
{more}
[[step]]
name = "write"
run = ["/busybox-1", "ash", "-c", '''
b=/busybox-1; $b mkdir -m 1777 /d; echo '{{"port": 80}}' > /d/conf
$b chown 1000:1001 /d/conf; $b chmod 4640 /d/conf
$b ln -s ../d/conf /d/link; $b ln -s nowhere /d/broken; $b mkfifo -m 600 /d/pipe
$b ln -s loop /d/loop; $b ln -s /proc/mounts /d/mtab; $b ln -s /scratch /d/kept; echo x > /scratch/x
''']
{checks}
"""


def test_files_of_an_image_without_a_shell(project: EndToEnd) -> None:
    """Whatever lies there is told without a program of the container, and what cannot be told is an error."""
    project.write_build("bare", BARE)
    project.write("bare/passwd", "root:x:0:0::/root:/none\napp:x:1000:1001::/app:/none\n")
    project.write("bare/group", "root:x:0:\nstaff:x:1001:app\n")
    holds = """
        [[step.check]]
        file = "/d/conf"
        mode = "4640"
        owner = "app"
        group = "staff"
        size = { gte = 13, lt = "1k" }
        sha256 = "DIGEST"
        content = { json = { port = 80 } }
        [[check]]
        file = "/d/link"
        kind = "symlink"
        target = "../d/conf"
        owner = 1000
        content = { contains = "port" }
        [[check]]
        file = "/d"
        kind = "directory"
        mode = "1777"
        group = "root"
        [[check]]
        file = "/d/pipe"
        kind = "fifo"
        [[check]]
        file = "/d/broken"
        kind = "symlink"
        target = "nowhere"
        [[check]]
        file = "/d/conf/below"
        exists = false
        [[check]]
        file = "/d/nothing"
        exists = false
        """
    holds = holds.replace("DIGEST", hashlib.sha256(b'{"port": 80}\n').hexdigest().upper())
    more = 'scratch = ["/scratch"]'
    project.write("holds.clnrm.toml", FILES.format(more=more, checks=holds))
    fails = """
        [[check]]
        file = "/d/conf"
        mode = "0640"
        owner = 0
        content = { json = { port = 81 } }
        [[check]]
        file = "/d/broken"
        [[check]]
        file = "/d/link"
        exists = false
        [[check]]
        file = "/proc/mounts"
        [[check]]
        file = "/d/mtab"
        [[check]]
        file = "/d/kept/x"
        exists = false
        [[check]]
        file = "/d/loop"
        """
    project.write("fails.clnrm.toml", FILES.format(more=more, checks=fails))
    run = project.run()
    assert run.outcomes() == {"holds": "passed", "fails": "failed"}, run.text
    unseen = "is in memory, which is not seen from outside: use a step"
    assert run.failures("fails") == [
        "file /d/conf has mode 4640, expected 0640",
        "file /d/conf is owned by app (1000), expected root (0)",
        "the content of file /d/conf is not the expected JSON: $.port: expected 81, got 80",
        "file /d/broken is a symbolic link to 'nowhere', which does not exist",
        "file /d/link must not exist, but is a symbolic link to '../d/conf'",
        f"file /proc/mounts could not be checked: /proc {unseen}",
        f"file /d/mtab could not be checked: /proc {unseen}",
        f"file /d/kept/x could not be checked: /scratch {unseen}",
        "file /d/loop could not be checked: /d/loop is a circle of symbolic links",
    ]
    kinds = [each["kind"] for each in run.scenarios["fails"]["failures"]]
    assert kinds == ["expectation"] * 5 + ["error"] * 4
    outcomes = {name: each["outcome"] for name, each in run.steps("fails").items()}
    assert (outcomes["write"], outcomes["check 7: file /d/loop"]) == ("passed", "failed")
    assert '> 16 |         mode = "0640"' in run.text
    assert project.leftovers(run) == []


LOGS = """
[service.app]
image = "x"
command = ["sh", "-c", '''
echo starting >&2; echo ready
while sleep 0.05; do test -e /tmp/go && { echo GET /orders; echo done; rm /tmp/go; }; done
''']
ready = { log = "ready" }
[service.box]
image = "x"
[[step]]
name = "first"
service = "app"
run = "touch /tmp/go; while test -e /tmp/go; do sleep 0.05; done"
[[step]]
name = "second"
service = "app"
run = "touch /tmp/go; while test -e /tmp/go; do sleep 0.05; done"
[[step.check]]
log = "app"
since = "second"
count = { regex = "GET /orders", eq = 1 }
content = { not_contains = "starting" }
"""


def test_logs_of_services(project: EndToEnd) -> None:
    """Both streams or one, all of it or since a step; a container that only waits for steps has none."""
    project.write(
        "holds.clnrm.toml",
        LOGS
        + """
        [[check]]
        log = "app"
        count = [{ regex = "GET", eq = 2 }, { regex = "nothing", eq = 0 }]
        order = ["ready", "GET", "done", "GET", "done"]
        [[check]]
        log = "app"
        from = "stderr"
        content = { equals = "starting" }
        """,
    )
    project.write(
        "fails.clnrm.toml",
        LOGS
        + """
        [[check]]
        log = "app"
        since = "second"
        from = "stderr"
        content = { contains = "starting" }
        [[check]]
        log = "app"
        count = { regex = "GET", lt = 2 }
        order = ["done", "ready"]
        [[check]]
        log = "box"
        content = { not_contains = "x" }
        """,
    )
    run = project.run()
    assert run.outcomes() == {"holds": "passed", "fails": "failed"}, run.text
    no_service = "it runs no service, and only waits for steps, whose output is their own"
    assert run.failures("fails") == [
        "stderr in the log of service 'app' since step 'second' does not contain 'starting', got ''",
        "the log of service 'app' has 2 lines that match 'GET', expected less than 2",
        "the log of service 'app' has no line that matches 'ready' after line 4, 'done'",
        f"log of service 'box' could not be checked: {no_service}",
    ]
    # Two streams come in any order.
    assert re.search("it matches before that: line [12]: 'ready'", run.text), run.text


SERVED = """
[service.bare]
build = "./served"
[[step]]
name = "wait"
run = ["/busybox-1", "ash", "-c", "until /busybox-1 test -e /up; do /busybox-1 sleep 0.05; done"]
{checks}
"""


def test_images_users_and_processes(project: EndToEnd) -> None:
    """Of an image without a shell; a file may hold checks of images alone, and no container is started."""
    project.write_build(
        "served",
        """
        COPY passwd group /etc/
        COPY busybox /busybox-1
        RUN ["/busybox-1", "chmod", "4755", "/busybox-1"]
        ENV MODE=prod DB_PASSWORD=hunter2
        LABEL version=2.1
        EXPOSE 8080 53/udp
        VOLUME /data
        WORKDIR /srv
        ENTRYPOINT ["/busybox-1"]
        CMD ["ash", "-c", "/busybox-1 touch /up; exec /busybox-1 httpd -f -p 8080 -u 1000"]
        """,
    )
    project.write("served/passwd", "root:x:0:0::/root:/none\napp:x:1000:1001::/app:/none\n")
    project.write("served/group", "root:x:0:\nstaff:x:1001:\nlog:x:7:app\n")
    project.write(
        "holds.clnrm.toml",
        SERVED.format(
            checks="""
            [[check]]
            image = "bare"
            entrypoint = ["/busybox-1"]
            env = { MODE = "prod", DEBUG = false }
            labels = { version = { regex = "^2" } }
            workdir = "/srv"
            user = ""
            exposed = [8080, "53/udp"]
            not_exposed = [22]
            volumes = ["/data"]
            size = { gt = "10k", lt = "50m" }
            layers = { gte = 2 }
            [[check]]
            process = "busybox-1"
            user = "app"
            retry = { times = 50, delay = "100ms" }
            [[check]]
            port = 8080
            address = "any"
            process = "busybox-1"
            retry = { times = 50, delay = "100ms" }
            [[check]]
            port = "8080/udp"
            listening = false
            [[check]]
            process = "sshd"
            running = false
            [[check]]
            user = "app"
            uid = 1000
            gid = 1001
            home = "/app"
            groups = ["staff", "log"]
            [[check]]
            user = "web"
            exists = false
            [[check]]
            group = "log"
            gid = 7
            """
        ),
    )
    project.write(
        "fails.clnrm.toml",
        SERVED.format(
            checks="""
            [[check]]
            port = 8080
            retry = { times = 50, delay = "100ms" }
            [[check]]
            image = "bare"
            workdir = "/"
            no_setuid = true
            no_secrets = true
            [[check]]
            image = "no/such:1"
            no_secrets = true
            [[check]]
            process = "nginx"
            [[check]]
            port = 8080
            address = "127.0.0.1"
            process = "nginx"
            [[check]]
            user = "web"
            [[check]]
            group = "staff"
            gid = 7
            [[check]]
            package = "libc6"
            installed = false
            """
        ),
    )
    project.write(
        "alone.clnrm.toml", f'[[check]]\nimage = "{project.image}"\nno_setuid = true\ncmd = ["sh"]\n'
    )
    run = project.run("--clnrm-pull", "never", mapped=False)
    assert run.outcomes() == {"holds": "passed", "fails": "failed", "alone": "passed"}, run.text
    listened = run.failures("fails")[5:-3]
    assert [re.sub(r"[0-9.:\[\]]+:8080", "ANY:8080", each) for each in listened] == [
        "port 8080/tcp is listened on at ANY:8080/tcp (busybox-1), expected 127.0.0.1",
        "port 8080/tcp is listened on by ANY:8080/tcp (busybox-1), expected nginx",
    ]
    no_list = "there is no list of packages of dpkg or apk in it; use a step, such as rpm -q, or check a file"
    no_pull = "the engine does not have it, and --clnrm-pull never forbids to pull it"
    assert run.failures("fails") == [
        "image 'bare' has the working folder '/srv', expected '/'",
        "image 'bare' has files with the set-uid bit: /busybox-1",
        "image 'bare' has variables that look like secrets: DB_PASSWORD",
        f"image 'no/such:1' could not be checked: cannot use the image 'no/such:1': {no_pull}",
        "process 'nginx' runs not at all, expected at least 1",
        *listened,
        "user 'web' does not exist",
        "group 'staff' has the gid 1001, expected 7",
        f"package 'libc6' could not be checked: {no_list}",
    ]
    assert "hunter2" not in run.text
    assert run.scenarios["alone"]["containers"] == []
    assert project.leftovers(run) == []
