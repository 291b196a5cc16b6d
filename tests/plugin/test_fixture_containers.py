"""What a container of a Python test can do, with the fake engine."""

from __future__ import annotations

import pytest
from clnrm_testing.project import Project

LIFE = """
import pytest
from pytest_clnrm import ContainerError, ServiceEndedError

def test_life(clnrm):
    with clnrm.container("service", stop_grace="2s") as box:
        assert box.exit_code is None
        box.stop()
        assert box.exit_code == 143
        box.start()
        assert box.exit_code is None
        box.restart()
        with pytest.raises(ContainerError, match=r"runs already: stop\\(\\) it first, or call restart\\(\\)"):
            box.start()
        box.pause()
        box.pause()
        with pytest.raises(ContainerError, match=r"is paused: call unpause\\(\\) first"):
            box.run("true")
        box.unpause()
        assert box.exec("echo a").stdout == "a\\n"
        box.kill()
        assert box.exit_code == 137

def test_ends_after_it_was_started_again(clnrm, request):
    with pytest.raises(ServiceEndedError, match="ended with exit code 3"):
        with clnrm.container("service", name="db") as box:
            box.stop()
            box.start()
            (request.config.rootpath / f".container-{box.id}" / ".ended").write_text("3")

def test_paused_at_its_end(clnrm):
    with clnrm.container("service") as box:
        box.pause()
"""


def test_stopped_started_and_paused(project: Project) -> None:
    """An end that the test has told is none to fail of, one after it was started again is."""
    project.write("test_it.py", LIFE)
    project.run().assert_outcomes(passed=3)
    assert [each["grace_s"] for each in project.events("stop")] == [2.0, 2.0, 10.0]
    assert len(project.events("pause")) == len(project.events("unpause")) == 2
    assert len(project.events("remove")) == 3


FILES = """
import os, pytest
from pathlib import Path
from pytest_clnrm import ContainerError, ScenarioWarning

def test_bytes(clnrm):
    with clnrm.container("a") as box:
        done = box.run(["cat"], stdin=b"\\xff\\x00", text=False)
        assert (done.stdout, done.stderr, done.exit_code) == (b"\\xff\\x00", b"", 0)
        big = box.run("head -c 5000000 /dev/zero", text=False)
        assert (len(big.stdout), big.omitted_bytes) == (4 << 20, 5000000 - (4 << 20))

def test_in_and_out(clnrm, tmp_path):
    with clnrm.container("a") as box:
        box.copy_in("seed.sql", "/work/seed.sql")
        box.copy_in(b"key", "/work/key", mode=0o600)
        box.copy_in("folder", "/work/sub/")
        box.copy_in(Path("seed.sql"), "/work/into/")
        found = box.run("cat work/seed.sql work/into/seed.sql; stat -c %a work/key")
        assert found.stdout == "select\\nselect\\n600\\n"
        assert box.read_file("/work/sub/deep/run") == b"#!"
        assert box.run("work/sub/deep/run; stat -c %a work/sub/deep/run").stdout == "755\\n"
        assert box.copy_out("/work/key", tmp_path / "here") == tmp_path / "here"
        assert box.copy_out("/work/key", tmp_path) == tmp_path / "key"
        assert box.copy_out("/work/key", f"{tmp_path}/new/") == tmp_path / "new/key"
        assert (tmp_path / "new/key").read_bytes() == (tmp_path / "here").read_bytes() == b"key"
        box.run("ln -s /etc/passwd work/sub/link")
        with pytest.warns(ScenarioWarning, match="/work of container .*: 1 links or devices are left out"):
            assert box.copy_out("/work", "out") == Path(__file__).parent / "out"
        assert Path("out/sub/deep/run").read_bytes() == b"#!" and not Path("out/sub/link").exists()

@pytest.mark.parametrize("call, message", [
    (lambda box: box.read_file("/nothing"), "cannot read /nothing of the container: nothing lies there"),
    (lambda box: box.read_file("/"), "cannot read / of the container: it is a directory"),
    (lambda box: box.copy_out("/nothing", "x"), "cannot copy /nothing from .*: nothing lies there"),
    (lambda box: box.copy_in("nothing", "/x"), "nothing into the container: No such file"),
    (lambda box: box.copy_in("links", "/x"), "links/out is no regular file"),
    (lambda box: box.copy_in(b"x" * 2000000, "/x"), "it has more than 1 MB .*clnrm_max_artifacts: -o"),
    (lambda box: box.read_file("/big"), "it has more than 1 MB"),
    (lambda box: box.copy_out("/big", "big"), "it has more than 1 MB"),
])
def test_what_cannot_be_copied(clnrm, call, message):
    with clnrm.container("a") as box:
        box.run("head -c 2000000 /dev/zero >big")
        with pytest.raises(ContainerError, match=message):
            call(box)

def test_a_link_on_the_way(clnrm, tmp_path):
    with clnrm.container("a") as box:
        box.run("mkdir -p d/sub; echo x >d/sub/f; echo y >d/g")
        out = tmp_path / "out"
        out.mkdir()
        (out / "sub").symlink_to(tmp_path)
        with pytest.raises(ContainerError, match="cannot copy /d from the container: "):
            box.copy_out("/d", out)
        (out / "sub").unlink()
        (tmp_path / "victim").write_text("kept")
        (out / "g").unlink(missing_ok=True)
        (out / "g").symlink_to(tmp_path / "victim")
        with pytest.raises(ContainerError, match="cannot copy /d from the container: "):
            box.copy_out("/d", out)
        assert (tmp_path / "victim").read_text() == "kept" and not (tmp_path / "f").exists()
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ContainerError, match="cannot copy /d/g from the container: "):
            box.copy_out("/d/g", tmp_path / "pipe")

def test_wrong_places(clnrm):
    with clnrm.container("a") as box:
        with pytest.raises(ValueError, match="dest='x': it is an absolute path in the container"):
            box.copy_in(b"", "x")
        with pytest.raises(ValueError, match="dest='/x/': it is the path of a file: write '/x/file'"):
            box.copy_in(b"", "/x/")
        with pytest.raises(ValueError, match='it is a port of the container: write 5432, or "53/udp"'):
            box.address("80")
        with pytest.raises(ContainerError, match=r"port 53/udp of .* is not published \\(published: none\\)"):
            box.port("53/udp")
        assert box.host == "127.0.0.1"
"""


def test_files_and_bytes(project: Project) -> None:
    """Files go in and out with bounds, and nothing is written but where the test says."""
    project.write("test_it.py", FILES)
    project.write("seed.sql", "select\n")
    project.write("folder/deep/run", "#!")
    (project.pytester.path / "folder/deep/run").chmod(0o755)
    project.write("links/a", "")
    (project.pytester.path / "links/out").symlink_to("/etc")
    result = project.run("-oclnrm_max_artifacts=1m")
    result.assert_outcomes(passed=12)


WAITS = """
import pytest, time
from pytest_clnrm import NotReadyError, ContainerError

def test_waits(clnrm):
    with clnrm.container("service", env={"FAKE_AT_START": ".printed=one\\ntwo"}) as box:
        box.wait_for(log="ready")
        box.wait_for(command="true", timeout=5)
        with pytest.raises(NotReadyError) as raised:
            box.wait_for(command=["sh", "-c", "echo still no; exit 3"], timeout=0.2, interval=0.05)
        assert "was not ready after 0.2 s" in str(raised.value) and "still no" in str(raised.value)
        with pytest.raises(ValueError, match='unknown key "prot"'):
            box.wait_for(prot=80)
        with pytest.raises(ValueError, match="exactly one of"):
            box.wait_for(timeout=3)
        assert box.logs(since=time.time()).splitlines() == ["ready", "one", "two"]
        lines = box.logs(follow=True, timeout="100ms")
        assert [next(lines), next(lines)] == ["ready", "one"]
        with pytest.raises(ContainerError, match="still runs after 0.1 s, and may print more"):
            next(lines)
        assert box.spans() == ()
"""


def test_waits_and_logs(project: Project) -> None:
    """A condition that does not hold says what was seen last; following has an end."""
    project.write("test_it.py", WAITS)
    project.run("--clnrm-spans", "off").assert_outcomes(passed=1)


VOLUMES = """
import pytest

@pytest.mark.clnrm_limits(containers=2)
def test_shares(clnrm):
    data = {"name": "data", "target": "/data"}
    with clnrm.container("a", volumes=[data]), clnrm.container("b", volumes=[data], aliases=["db"]):
        pass
    with clnrm.container("a", name="db"), pytest.raises(Exception, match=r"called 'DB' .*\\(aliases=...\\)"):
        clnrm.container("b", aliases=["DB"]).__enter__()

def test_has_its_own(clnrm):
    with clnrm.container("a", volumes=[{"name": "data", "target": "/data"}]):
        pass
"""


def test_volumes_and_aliases(project: Project) -> None:
    """A named volume is one of all containers of a test, and goes with it; an alias is one container's."""
    project.write("test_it.py", VOLUMES)
    project.run().assert_outcomes(passed=2)
    made, gone = ([each["name"] for each in project.events(kind)] for kind in ("volume", "volume removed"))
    assert len(set(made)) == 2
    assert made == gone


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'a', volume=[]", "*TypeError: there is no argument 'volume': did you mean \"volumes\"?"),
        ("'a', depends_on=['b']", "*TypeError: depends_on=*'b'* is no argument: a block begins once its*"),
        ("build='nothing'", "*ValueError: build='nothing': *nothing: No such file or directory"),
    ],
)
def test_a_wrong_argument_shows_the_line_of_the_test(project: Project, call: str, message: str) -> None:
    """And no frame of ours."""
    project.write("test_it.py", f"def test_it(clnrm):\n    clnrm.container({call})\n")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
    assert "containers.py" not in result.stdout.str()


def test_paths_are_relative_to_the_calling_file(project: Project) -> None:
    """A fixture of conftest.py names files beside it, whatever test uses it."""
    project.write(
        "conftest.py",
        "import pytest\n@pytest.fixture\ndef box(clnrm):\n"
        "    with clnrm.container('a', env_file='my.env') as box:\n        yield box\n",
    )
    project.write("my.env", "A=conftest\n")
    project.write("deep/my.env", "A=deep\n")
    project.write(
        "deep/test_it.py",
        "def test_fixture(box):\n    assert box.run('echo $A').stdout == 'conftest\\n'\n"
        "def test_own(clnrm):\n    with clnrm.container('a', env_file='my.env') as box:\n"
        "        assert box.run('echo $A').stdout == 'deep\\n'\n",
    )
    project.run().assert_outcomes(passed=2)


def test_secrets_in_a_wrong_argument(project: Project) -> None:
    """A value that is secret by its name is not shown where it stands in another argument."""
    project.write(
        "test_it.py",
        "def test_it(clnrm):\n    token = 's3cr3t' + 'word'\n"
        "    clnrm.container('a', env={'TOKEN': token}, command=f'login {token}')\n",
    )
    result = project.run("-o", "clnrm_secrets=TOKEN")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*ValueError: command='login ***': it is a list of words: write *\"login\"*"]
    )
    assert "s3cr3tword" not in result.stdout.str()


def test_a_writable_folder_that_others_use(project: Project) -> None:
    """It is refused, as in a scenario: who can write there decides what others get."""
    project.write("work/seed/a", "")
    project.write("x.clnrm.toml", """
        [service.box]
        image = "a"
        volumes = [{ source = "./work/seed", target = "/seed" }]
        [[step]]
        service = "box"
        run = "true"
    """)  # fmt: skip
    project.write(
        "test_it.py",
        "def test_it(clnrm):\n"
        "    clnrm.container('a', volumes=[{'source': 'work', 'target': '/w', 'read_only': False}])\n",
    )
    result = project.run("-o", "clnrm_allow_writable=work")
    # The fake engine does not have what the scenario mounts.
    result.assert_outcomes(failed=2)
    refused = "*work is to be writable, but *work/seed is a volume of service 'box' of x.*"
    result.stdout.fnmatch_lines([f"E*ValueError: volumes=...: {refused}"])


NETWORKS = """
import asyncio
import pytest
from pytest_clnrm import ContainerError

@pytest.mark.clnrm_limits(containers=4)
def test_apart(clnrm):
    with clnrm.network() as net, clnrm.network() as other, clnrm.container("a", name="db"):
        with clnrm.container("a", name="db", network=net), clnrm.container("a", name="db", network=other):
            with pytest.raises(ContainerError, match="is called 'DB' and is still there"):
                clnrm.container("a", name="DB", network=net).__enter__()
    with pytest.raises(ContainerError, match="this network is not there: name it within its block"):
        clnrm.container("a", network=net).__enter__()
    with pytest.raises(ValueError, match="network=...: a shared container is on the network of its users"):
        clnrm.shared("db", "service", network=net)

def test_async(clnrm):
    async def main():
        async with clnrm.network() as net, clnrm.container("a", network=net) as box:
            return (await box.run("echo a")).stdout

    assert asyncio.run(main()) == "a\\n"
"""


def test_networks(project: Project) -> None:
    """A network of a test's own has names of its own, and is used again once it is empty."""
    project.write("test_it.py", NETWORKS)
    project.run().assert_outcomes(passed=2)
    assert len(project.events("network")) == len(project.events("network removed")) == 3
