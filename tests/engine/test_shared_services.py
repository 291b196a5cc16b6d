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
