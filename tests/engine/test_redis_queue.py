"""The suite of tests/data/redis_queue, which was one of testcontainers, passes with the preset."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.python_image import python_image
from docker import APIClient

pytestmark = pytest.mark.engine

FOLDER = Path(__file__).parents[1] / "data/redis_queue"


def test_the_ported_suite_passes(tmp_path: Path, client: APIClient) -> None:
    """Its client talks to the container that the preset makes, by the url that it tells."""
    pytest.importorskip("redis", reason="the suite's own client: pip install 'pytest-clnrm[benchmark]'")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = 'CMD ["python", "/program.py"]\n'
    with python_image(client, tmp_path / "image", FOLDER / "server.py", command) as image:
        project = EndToEnd(tmp_path, client, image)
        for name, source in (("conftest", "conftest_ours"), ("jobs", "jobs"), ("test_jobs", "job_tests")):
            project.write(f"{name}.py", (FOLDER / f"{source}.py").read_text("utf-8"))
        run = project.run()
    assert run.ret == 0, run.text
    assert "13 passed" in run.text
    assert project.leftovers(run) == []
