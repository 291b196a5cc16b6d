"""Whatever a scenario leaves behind, the next one on the same specification never sees it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.end_to_end import EndToEnd, Run, run_once
from clnrm_testing.python_image import python_image
from docker import APIClient

pytestmark = pytest.mark.engine

IMAGE = "clnrm-busybox:1"


@dataclass(frozen=True)
class Way:
    """A way to leave something behind.

    :param leave: what the first scenario does.
    :param unseen: what the second one does, which fails if it sees something of that.
    :param reason: why the first one's container is not used again, "" if it is.
    :param service: more of the service.
    """

    leave: str
    unseen: str
    reason: str = ""
    service: str = ""


NOTHING = {
    "nothing": Way("true", "true"),
    "environment": Way("export A=b", 'test -z "$A"'),
    "folder of the shell": Way("cd /tmp", 'test "$(pwd)" = /'),
    "limits of the shell": Way("ulimit -n 17", 'test "$(ulimit -n)" != 17'),
    "umask": Way("umask 077", 'test "$(umask)" = 0022'),
    "signals": Way("trap '' TERM INT; kill -TERM $$", "sh -c 'kill -TERM $$'; test $? = 143"),
    "functions and aliases": Way("echo() { :; }; alias cat=false", 'test "$(echo x | cat)" = x'),
    # It is the step's own output, like all that comes while it runs.
    "output of the main process": Way("echo OLD >/proc/1/fd/1", "true"),
    # Each scenario has a shell of its own.
    "priority of what starts steps": Way(
        "renice -n 5 -p $PPID", "test $(cut -d ' ' -f 19 /proc/self/stat) = 0"
    ),
    "first to be killed of what starts steps": Way(
        "echo 500 >/proc/$PPID/oom_score_adj", "test $(cat /proc/self/oom_score_adj) = 0"
    ),
    "a step of another user": Way("true", "true", service='user = "nobody"'),
    "zombie": Way("sh -c 'true & exec sleep 0.1'", "true"),
    "scratch file": Way(
        "mkdir -p /scratch/a/.b; echo x >/scratch/.x; ln -s /nowhere /scratch/c",
        'test -z "$(ls -A /scratch)"',
        service='scratch = ["/scratch"]',
    ),
}
SOMETHING = {
    "file": Way("echo x >/left", "test ! -e /left", "left behind: file /left"),
    "file that is gone": Way("rm /etc/group", "test -e /etc/group", "gone: file /etc/group"),
    "file for a while": Way("touch /tmp/x; rm /tmp/x", "true", "changed: folder /tmp"),
    "folder": Way("mkdir /left", "test ! -e /left", "left behind: folder /left"),
    "link": Way("ln -sf /etc /tmp/link", "test ! -L /tmp/link", "left behind: file /tmp/link"),
    "row in a file": Way("echo row >>/etc/passwd", "! grep row /etc/passwd", "changed: file /etc/passwd"),
    "mode of a file": Way(
        "chmod 600 /etc/passwd", "test $(stat -c %a /etc/passwd) = 644", "changed: file /etc/passwd"
    ),
    "mode of a folder": Way("chmod 700 /bin", "test $(stat -c %a /bin) = 755", "changed: folder /bin"),
    "owner of a folder": Way("chown nobody /root", "test $(stat -c %u /root) = 0", "changed: folder /root"),
    "mode for a while": Way("chmod 700 /bin; chmod 755 /bin", "true", "changed: folder /bin"),
    "hosts": Way("echo 10.9.9.9 db >>/etc/hosts", "! grep -w db /etc/hosts", "/etc/hosts"),
    "name servers": Way(
        "echo nameserver 10.9.9.9 >>/etc/resolv.conf", "! grep 10.9.9.9 /etc/resolv.conf", "/etc/resolv.conf"
    ),
    "name of the host": Way("echo other >/etc/hostname", "! grep other /etc/hostname", "/etc/hostname"),
    "device": Way("echo x >/dev/left", "test ! -e /dev/left", "/dev/left"),
    "device for a while": Way("echo x >/dev/left; rm /dev/left", "true", "changed: folder /dev"),
    "shared memory file": Way(
        "echo x >/dev/shm/left", "test ! -e /dev/shm/left", "left behind: file /dev/shm/left"
    ),
    "message queue": Way(
        "touch /dev/mqueue/left", "test ! -e /dev/mqueue/left", "left behind: file /dev/mqueue/left"
    ),
    "process": Way(
        "sleep 1000 >/dev/null 2>&1 </dev/null &", "! ps | grep '[s]leep 1000'", "left behind: process sleep"
    ),
    "orphan": Way(
        "setsid sh -c '(sleep 1000 &) >/dev/null 2>&1 </dev/null'",
        "! ps | grep '[s]leep 1000'",
        "left behind: process sleep",
    ),
    "listening socket": Way(
        "nc -l -p 8080 -e true >/dev/null 2>&1 </dev/null &",
        "! netstat -ltn | grep 8080",
        "left behind: process",
    ),
    "priority of the first process": Way(
        "renice -n 5 -p 1", "test $(cut -d ' ' -f 19 /proc/1/stat) = 0", "changed: nice of process 1"
    ),
    "first to be killed": Way(
        "echo 500 >/proc/1/oom_score_adj",
        "test $(cat /proc/self/oom_score_adj) = 0",
        "changed: oom_score_adj of process 1",
    ),
    "file in a scratch folder's place": Way(
        "chmod 700 /scratch",
        "test $(stat -c %a /scratch) = 1777",
        "changed: scratch folder /scratch",
        service='scratch = ["/scratch"]',
    ),
    "memory of a service": Way(
        "true",
        "true",
        "it runs a service, whose memory cannot be looked at",
        service="""command = ["sh", "-c", "count=0; trap 'count=1' USR1; while :; do sleep 0.1; done"]""",
    ),
    "fresh on demand": Way("true", "true", "fresh = true", service="fresh = true"),
}
PYTHON = {
    "System V shared memory": Way("shmget(7, 4096, 0o1666)", "shmget(7, 4096, 0o666) == -1"),
    "System V semaphore": Way("semget(7, 1, 0o1666)", "semget(7, 1, 0o666) == -1"),
    "System V message queue": Way("msgget(7, 0o1666)", "msgget(7, 0o666) == -1"),
}
IPC = "shared memory, semaphores or message queues"


def scenarios(name: str, way: Way, image: str = 'image = "clnrm-busybox:1"') -> str:
    """Return a file of two scenarios of one specification, which no other file has."""

    def step(text: str) -> str:
        return f'[[scenario.step]]\nname = "it"\nservice = "box"\nrun = {json.dumps(text)}\n'

    head = f"[service.box]\n{image}\nenv = {{ WAY = {json.dumps(name)} }}\n{way.service}\n"
    first = f'[[scenario]]\nname = "{name}: first"\n{step(way.leave)}'
    return f'{head}{first}[[scenario]]\nname = "{name}: second"\n{step(way.unseen)}'


@pytest.fixture(scope="module")
def run(reached: tuple[APIClient, object], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return one run of all ways, each its two scenarios in a row."""

    def make(folder: Path) -> Run:
        (folder / "pytest.ini").write_text("[pytest]\n")
        project = EndToEnd(folder, reached[0], IMAGE)
        for number, (name, way) in enumerate({**NOTHING, **SOMETHING}.items()):
            project.write(f"{number:02}.clnrm.toml", scenarios(name, way))
        run = project.run()
        assert project.leftovers(run) == []
        return run

    return run_once(tmp_path_factory, "ways", make)


def box(run: Run, scenario: str) -> dict[str, object]:
    """Return what is told of the one container of a scenario."""
    (container,) = run.scenarios[scenario]["containers"]
    return dict(container)


@pytest.mark.parametrize("name", NOTHING)
def test_a_clean_container_is_used_again(run: Run, name: str, needs: Needs) -> None:
    """What a step gets afresh each time is no reason for another container."""
    if name == "output of the main process":
        needs("a shell as main process")
    assert run.failures(f"{name}: first") + run.failures(f"{name}: second") == []
    first, second = box(run, f"{name}: first"), box(run, f"{name}: second")
    assert (first["reuse"], second["reused"]) == ("", True)
    assert first["id"] == second["id"]


@pytest.mark.parametrize("name", SOMETHING)
def test_what_is_left_is_never_seen(run: Run, name: str) -> None:
    """The container is not used again, and the report says why."""
    assert run.failures(f"{name}: first") + run.failures(f"{name}: second") == []
    first, second = box(run, f"{name}: first"), box(run, f"{name}: second")
    assert SOMETHING[name].reason in str(first["reuse"])
    assert (first["reused"], second["reused"]) == (False, False)
    assert first["id"] != second["id"]


def test_system_v_objects_are_never_seen(project: EndToEnd) -> None:
    """Objects that no file stands for are noticed too."""
    program = project.write(
        "program.py",
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "shmget, semget, msgget = libc.shmget, libc.semget, libc.msgget\n"
        "assert eval(os.environ['DO'])\n",
    )
    with python_image(project.client, project.path / "box", program) as image:
        for number, (name, way) in enumerate(PYTHON.items()):
            # A new object's id may be 0.
            leave, unseen = (f"DO='{text}' python /program.py" for text in (f"{way.leave} >= 0", way.unseen))
            text = scenarios(name, Way(leave, unseen), f'image = "{image}"')
            project.write(f"{number}.clnrm.toml", text)
        run = project.run(mapped=False)
    for name in PYTHON:
        assert run.failures(f"{name}: first") + run.failures(f"{name}: second") == []
        assert box(run, f"{name}: first")["reuse"] == f"changed: {IPC}"
        assert box(run, f"{name}: second")["reused"] is False


def test_a_failed_scenarios_container_is_not_used_again(project: EndToEnd) -> None:
    """Whatever it did, nobody asks."""
    project.write("a.clnrm.toml", scenarios("a", Way("exit 1", "true")))
    run = project.run()
    assert run.outcomes() == {"a: first": "failed", "a: second": "passed"}
    assert box(run, "a: second")["reused"] is False


def test_without_a_pool_nothing_is_used_again(project: EndToEnd) -> None:
    """``--clnrm-pool off`` removes each container at the end of its scenario."""
    project.write("a.clnrm.toml", scenarios("a", Way("true", "true")))
    run = project.run("--clnrm-pool", "off")
    assert run.outcomes() == {"a: first": "passed", "a: second": "passed"}
    assert box(run, "a: first")["reuse"] == "pool off"
    assert box(run, "a: second")["reused"] is False
    assert project.leftovers(run) == []


def test_workers_use_their_own_again(project: EndToEnd) -> None:
    """Under xdist each worker creates one container for all scenarios of a specification."""
    text = '[[scenario]]\nname = "{}"\n[[scenario.step]]\nname = "it"\nservice = "box"\nrun = "true"\n'
    many = "".join(text.format(f"s{number}") for number in range(30))
    project.write("a.clnrm.toml", f'[service.box]\nimage = "x"\n{many}')
    run = project.run(mode=("-n", "2"))
    assert set(run.outcomes().values()) == {"passed"}
    containers = {each["containers"][0]["id"] for each in run.document["scenarios"]}
    assert len(containers) <= 2
    assert project.leftovers(run) == []


def test_no_shell_is_needed(project: EndToEnd) -> None:
    """A container is looked at from outside: what its image lacks is no reason."""
    project.write_build("box", 'COPY busybox /bin/true\nCOPY busybox /bin/sleep\nENV PATH=/bin\nCMD ["sh"]\n')
    step = '[[scenario.step]]\nname = "it"\nservice = "box"\nrun = ["true"]\n'
    project.write(
        "a.clnrm.toml",
        f'[service.box]\nbuild = "./box"\n[[scenario]]\nname = "a"\n{step}[[scenario]]\nname = "b"\n{step}',
    )
    run = project.run(mapped=False)
    assert run.outcomes() == {"a": "passed", "b": "passed"}
    assert box(run, "a")["reuse"] == ""
    assert box(run, "b")["reused"] is True


def test_idle_containers_give_way(project: EndToEnd) -> None:
    """With room for one container, one of another specification takes the place of an idle one at once."""
    token = secrets.token_hex(4)
    for number in range(4):
        project.write(f"{number}.clnrm.toml", scenarios(f"{token}{number % 2}{number}", Way("true", "true")))
    with project.watch() as watch:
        run = project.run("--clnrm-max-containers", "1", mode=("-n", "2"))
        events = list(watch.events)
    assert set(run.outcomes().values()) == {"passed"}
    alive = most = 0
    for event in events:
        alive += {"create": 1, "destroy": -1}.get(event.name, 0)
        most = max(most, alive)
    assert most == 1
    assert project.leftovers(run) == []


def test_services_beside_a_clean_container(project: EndToEnd) -> None:
    """The container of the steps is used again, the service beside it is new each time."""
    step = '[[scenario.step]]\nname = "it"\nservice = "box"\nrun = "wget -qO- http://web:8080/"\n'
    serve = "while :; do printf 'HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\nhi' | nc -l -p 8080; done"
    project.write(
        "a.clnrm.toml",
        f"""
        [service.web]
        image = "x"
        command = ["sh", "-c", "{serve}"]
        ready = {{ port = 8080 }}
        [service.box]
        image = "x"
        depends_on = ["web"]
        [[scenario]]
        name = "a"
        {step}
        [[scenario]]
        name = "b"
        {step}
        """,
    )
    run = project.run()
    assert run.outcomes() == {"a": "passed", "b": "passed"}
    reused = {each["service"]: each["reused"] for each in run.scenarios["b"]["containers"]}
    assert reused == {"web": False, "box": True}
    assert project.leftovers(run) == []


def test_reuse_is_no_wider_than_the_run(project: EndToEnd, tmp_path: Path) -> None:
    """A later run finds nothing of an earlier one."""
    project.write("a.clnrm.toml", scenarios("a", Way("true", "true")))
    first, second = project.run(), project.run()
    ids = [each["containers"][0]["id"] for run in (first, second) for each in run.document["scenarios"]]
    # report.json is that of the second run, read twice.
    assert len(set(ids)) == 1
    assert project.leftovers(second) == []


REMOVES_NETWORKS = """
from pytest_clnrm.names import python_tests_key

def pytest_configure(config):
    global removing
    removing = lambda: config.stash[python_tests_key]().runtime

def pytest_runtest_logfinish():
    client = removing().engine()._client
    label = f"pytest-clnrm.session={removing().session_id}"
    for network in client.networks(filters={"label": label}):
        for container in client.inspect_network(network["Id"])["Containers"]:
            client.disconnect_container_from_network(container, network["Id"], force=True)
        client.remove_network(network["Id"])
        print("NETWORK REMOVED")
"""


def test_a_network_that_somebody_removed_is_made_anew(project: EndToEnd) -> None:
    """In the middle of a run, with idle containers on it: nothing fails, and names are found."""
    (project.path / "conftest.py").write_text(REMOVES_NETWORKS)
    # Not ping, which may not be permitted.
    reach = "nc -w 9 other 9 2>&1 | grep refused"
    step = f'[[scenario.step]]\nname = "it"\nservice = "box"\nrun = "{reach}"\n'
    services = '[service.other]\nimage = "x"\n[service.box]\nimage = "x"\n'
    scenarios = "".join(f'[[scenario]]\nname = "{name}"\n{step}' for name in "abc")
    project.write("a.clnrm.toml", services + scenarios)
    run = project.run("-s")
    assert run.text.count("NETWORK REMOVED") == 3, run.text
    assert run.outcomes() == dict.fromkeys("abc", "passed"), run.text
    assert project.leftovers(run) == []


SLOW_REMOVAL = """
import time
from pytest_clnrm.engine.docker import engine as docker_engine

remove_at_once = docker_engine.remove_container

def remove_container(client, container):
    time.sleep(1)
    remove_at_once(client, container)

docker_engine.remove_container = remove_container
"""


def test_what_exists_never_exceeds_the_cap(project: EndToEnd) -> None:
    """One takes over the room of three idle containers: the rest of it is free when they are gone."""
    (project.path / "conftest.py").write_text(SLOW_REMOVAL)
    services = "".join(f'[service.s{number}]\nimage = "x"\n' for number in range(3))
    step = '[[step]]\nname = "it"\nservice = "s0"\nrun = "sleep 0.5"\n'
    project.write("0.clnrm.toml", services + step)
    for number in (1, 2, 3):
        one = f'[service.s0]\nimage = "x"\nenv = {{ KIND = "{number}" }}\n'
        project.write(f"{number}.clnrm.toml", one + step)
    with project.watch() as watch:
        run = project.run("--clnrm-max-containers", "3", mode=("-n", "3"))
        events = sorted(watch.events, key=lambda each: each.at_s)
    assert run.outcomes() == dict.fromkeys("0123", "passed"), run.text
    alive = most = 0
    for event in events:
        alive += {"create": 1, "destroy": -1}.get(event.name, 0)
        most = max(most, alive)
    assert most == 3, [(event.name, event.nodeid) for event in events]
    assert project.leftovers(run) == []
