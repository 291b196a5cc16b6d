"""What a service's keys make of its container, on a real engine: many of them in each run."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

# As a distroless image: one program, no shell. What it does is its first argument.
SHELLLESS = 'ADD busybox /busybox\nENTRYPOINT ["/busybox"]\n'
WITH_SHELL = "ADD busybox /bin/sh\nADD busybox /bin/busybox\nENV PATH=/bin\n"


def test_steps_run_in_images_with_entry_points_and_without_shells(project: EndToEnd) -> None:
    """A tool's entry point gives way to steps, `entrypoint` wins, and nothing of the image is needed."""
    project.write_build("bare", SHELLLESS)
    project.write_build("entered", f'{WITH_SHELL}ENTRYPOINT ["/bin/busybox", "env", "A=1"]\nCMD ["sh"]\n')
    project.write_build("tool", f'{WITH_SHELL}ENTRYPOINT ["/bin/busybox", "cat"]\nCMD ["--help"]\n')
    project.write(
        "bare.clnrm.toml",
        """
        [service.box]
        build = "bare"
        [[step]]
        name = "processes"
        run = ["/busybox", "ps", "-o", "args"]
        expect.stdout.contains = "/.clnrm/clnrm pause"
        [[step]]
        name = "shell"
        run = "true"
        """,
    )
    project.write(
        "tool.clnrm.toml",
        """
        [service.box]
        build = "tool"
        [[step]]
        name = "shell"
        run = "echo from the shell | busybox cat"
        expect.stdout.equals = "from the shell"
        """,
    )
    project.write(
        "given.clnrm.toml",
        """
        [service.own]
        build = "tool"
        entrypoint = ["sh", "-c", "echo given $0 $1; busybox sleep 1000"]
        command = ["one", "two"]
        ready = { log = "^given one two$" }
        [service.cleared]
        build = "tool"
        entrypoint = []
        ready = { command = "true" }
        [service.entered]
        build = "entered"
        [[step]]
        service = "entered"
        run = "busybox ps -o args"
        expect.stdout.contains = "/.clnrm/clnrm pause"
        [[step]]
        service = "own"
        run = "true"
        [[step]]
        service = "cleared"
        run = "busybox ps -o args"
        expect.stdout.not_contains = "busybox cat"
        """,
    )
    run = project.run()
    assert run.outcomes() == {"bare": "failed", "tool": "passed", "given": "passed"}, run.text
    why = "the image has no shell (sh); give `run` as a list of a program and its arguments"
    assert run.failures("bare") == [f"step 'shell' could not be started: {why}"]
    assert (
        "service 'box' waited for steps instead of running its image's entry point; to run that, write "
        'entrypoint = ["/busybox"]'
    ) in run.scenarios["bare"]["notes"]
    assert not project.leftovers(run)


def test_files_are_there_before_the_start(project: EndToEnd) -> None:
    """The first process finds them; a container is used again only with the same files, as they were."""
    project.write("app.sh", "#!/bin/sh\necho copied $NAME; exec sleep 1000\n").chmod(0o700)
    project.write("test.env", "# for tests\nNAME='of a file'\nOTHER=1\n")
    project.write(
        "files.clnrm.toml",
        """
        [service.box]
        image = "x"
        command = ["/opt/a/b/app"]
        files = [
            { source = "app.sh", target = "/opt/a/b/app" },
            { content = "two\\nlines\\n", target = "/opt/a/c.conf", mode = "0640" },
        ]
        env_file = "test.env"
        env = { OTHER = "2" }
        ready = { log = "^copied of a file$" }
        [[step]]
        run = "cd /opt; ls -ldn . a a/b a/b/app a/c.conf | cut -d ' ' -f 1"
        expect.stdout.equals = "drwxr-xr-x\\ndrwxr-xr-x\\ndrwxr-xr-x\\n-rwxr-xr-x\\n-rw-r-----"
        [[step]]
        run = "cat /opt/a/c.conf; echo $OTHER"
        expect.stdout.equals = "two\\nlines\\n2"
        """,
    )
    for name, content, then in (
        ("p1", "1", "true"),
        ("p2", "1", "echo x > /f"),
        ("p3", "1", "true"),
        ("p4", "2", "true"),
    ):
        project.write(
            f"{name}.clnrm.toml",
            f"""
            [service.box]
            image = "x"
            files = [{{ content = "{content}", target = "/f" }}]
            [[step]]
            run = "cat /f; {then}"
            expect.stdout.equals = "{content}"
            """,
        )
    run = project.run()
    names = ["files", "p1", "p2", "p3", "p4"]
    assert run.outcomes() == dict.fromkeys(names, "passed"), run.text
    reused = {name: [each["reused"] for each in run.scenarios[name]["containers"]] for name in names}
    assert reused == {"files": [False], "p1": [False], "p2": [True], "p3": [False], "p4": [False]}


def test_what_containers_are_made_with(project: EndToEnd) -> None:
    """Sizes, limits, capabilities, names and what is read-only are as the file says, and no more."""
    project.write_build("bare", SHELLLESS)
    project.write(
        "keys.clnrm.toml",
        """
        [service.box]
        image = "x"
        shm_size = "3m"
        ulimits = { nofile = { soft = 99, hard = 100 } }
        cap_add = ["CAP_NET_ADMIN"]
        cap_drop = ["ALL"]
        no_new_privileges = false
        read_only = true
        scratch = ["/tmp"]
        hostname = "box.local"
        extra_hosts = { "api.local" = "10.0.0.5" }
        [service.db]
        image = "x"
        command = ["httpd", "-f", "-p", "80", "-h", "/etc"]
        aliases = ["postgres", "pg.internal"]
        ports = [80, "53/udp"]
        labels = { "com.example.team" = "orders" }
        stop_signal = "SIGINT"
        ready = { port = 80 }
        [service.bare]
        build = "bare"
        read_only = true
        [[step]]
        service = "box"
        run = "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; ulimit -Sn; ulimit -Hn; hostname"
        expect.stdout.equals = "CapEff:\\t0000000000001000\\nNoNewPrivs:\\t0\\n99\\n100\\nbox.local"
        [[step]]
        service = "box"
        run = "df -k /dev/shm | tail -n 1; cat /etc/hosts; touch /tmp/x; touch /x"
        expect = { exit = 1, stdout = { regex = ["shm +3072 ", "10.0.0.5\\tapi.local"] } }
        [[step]]
        service = "bare"
        run = ["/busybox", "true"]
        [[step]]
        service = "box"
        run = "wget -qO- http://postgres/hostname && wget -qO- http://PG.internal/hostname"
        """,
    )
    run = project.run("-o", "clnrm_allow_cap_add=NET_ADMIN", "-o", "clnrm_allow_new_privileges=true")
    assert run.outcomes() == {"keys": "passed"}, run.text
