"""Services that several scenarios share, on a real engine."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

DB = """
[service.db]
image = "db"
scope = "run"
command = ["sh", "-c", "echo up; mkdir /data; httpd -f -p 80 -h /data"]
ready = { port = 80 }
"""


def test_one_container_serves_all(project: EndToEnd) -> None:
    """Eight workers with room for three containers start it once; everyone reaches it by its name."""
    for file in range(4):
        scenarios = "".join(
            f"""
[[scenario]]
name = "s{number}"
[[scenario.step]]
name = "write"
service = "db"
run = "echo {file}-{number} > /data/{file}-{number}"
[[scenario.step]]
name = "read"
service = "app"
run = "wget -q -O - http://db/{file}-{number}"
expect = {{ stdout = {{ contains = "{file}-{number}" }} }}
"""
            for number in range(6)
        )
        project.write(f"f{file}.clnrm.toml", f'{DB}\n[service.app]\nimage = "app"\n{scenarios}')
    run = project.run("--clnrm-max-containers", "3", mode=("-n", "8"))
    assert run.ret == 0, run.text
    created = [
        each["name"]
        for scenario in run.document["scenarios"]
        for each in scenario["containers"]
        if each["shared"]
    ]
    assert len(created) == 24
    assert len(set(created)) == 1
    assert project.leftovers(run) == []


PYTHON = """
import pytest

SERVE = ["sh", "-c", "mkdir /data; httpd -f -p 80 -h /data"]

@pytest.fixture(scope="session")
def web(clnrm_shared):
    return clnrm_shared("web", "web", command=SERVE, ports=[80], ready={"port": 80})

@pytest.mark.parametrize("number", range(6))
def test_from_here(web, number):
    assert web.run(f"echo {number} > /data/here{number}").exit_code == 0
    import urllib.request
    with urllib.request.urlopen(web.url(80) + f"/here{number}", timeout=10) as answer:
        assert answer.read() == f"{number}\\n".encode()
    print("ID", web.id)

@pytest.mark.parametrize("number", range(3))
def test_from_a_container(clnrm, number):
    web = clnrm.shared("web", "web", command=SERVE, ports=[80], ready={"port": 80})
    web.run(f"echo {number} > /data/there{number}")
    with clnrm.container("box") as box:
        assert box.run(f"wget -q -O - http://web/there{number}").stdout == f"{number}\\n"
    print("ID", web.id)
"""


def test_python_tests_share_one(project: EndToEnd) -> None:
    """Tests of all workers get the same container, from here and from others, by fixture and by call."""
    for file in range(3):
        project.write(f"test_{file}.py", PYTHON)
    run = project.run("--clnrm-max-containers", "3", "-rP", mode=("-n", "4"))
    assert run.ret == 0, run.text
    ids = [line.split()[1] for line in run.text.splitlines() if line.startswith("ID ")]
    assert len(ids) == 27
    assert len(set(ids)) == 1
    assert project.leftovers(run) == []
