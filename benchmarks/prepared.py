"""PostgreSQL until it is ready: from an image that was prepared before, beside its plain image."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measuring.debian_images import POSTGRES, make_debian_images
from measuring.engine import Place
from measuring.figures import Row, at_least, median_of, ratio_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns

__all__ = ["measure"]

TITLE = "PostgreSQL until it is ready"
SCENARIO = """
[service.db]
preset = "postgres"
image = "{image}"
files = [{{ source = "schema.sql", target = "/docker-entrypoint-initdb.d/schema.sql" }}]
prepare = {prepare}

[[step]]
service = "db"
run = 'psql -qtAX "$DB" -c "SELECT count(*) FROM orders"'
env.DB = "postgresql://test:test@127.0.0.1/test"
expect = {{ exit = 0, stdout = {{ equals = "1000" }} }}
"""
SCHEMA = """CREATE TABLE orders (id serial PRIMARY KEY, customer integer NOT NULL);
INSERT INTO orders (customer) SELECT generate_series(1, 1000);
"""


def measure(place: Place | None, *, quick: bool) -> Row:
    """Return the row: a scenario of one service in turns, which is prepared before the first round."""
    if place is None:
        return Row(key="p", title=TITLE, notes=("no engine answers",))
    rounds = 2 if quick else 10
    with place.client() as client:
        make_debian_images(client)
    with tempfile.TemporaryDirectory() as temporary:
        contenders: dict[str, Callable[[], float]] = {
            name: project(Path(temporary) / name, place, prepare)
            for name, prepare in {"plain": "false", "prepared": "true"}.items()
        }
        contenders["prepared"]()
        samples = in_turns(contenders, rounds)
    return Row(
        key="p",
        title=TITLE,
        sizes=f"{rounds} rounds of a start each, with a table and 1,000 rows",
        figures=(
            ratio_of("plain : prepared", samples, "plain", "prepared", at_least(5)),
            median_of("from the plain image", samples["plain"], "s"),
            median_of("from the prepared image", samples["prepared"], "s"),
        ),
    )


def project(folder: Path, place: Place, prepare: str) -> Callable[[], float]:
    """Write a scenario; return what runs it once and returns when its service was ready, seconds."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "schema.sql").write_text(SCHEMA, encoding="utf-8")
    (folder / "db.clnrm.toml").write_text(SCENARIO.format(image=POSTGRES, prepare=prepare), encoding="utf-8")
    arguments = ["-p", "no:xdist", "--clnrm-pull", "never", "--clnrm-report", "out"]
    environ = {"DOCKER_HOST": place.url, "XDG_RUNTIME_DIR": str(folder.parent)}
    return partial(ready_s, folder, partial(run_pytest, folder, arguments, environ))


def ready_s(folder: Path, run: Callable[[], object]) -> float:
    """Run the scenario; return the seconds from its start until its service was ready."""
    run()
    document = json.loads((folder / "out/report.json").read_text(encoding="utf-8"))
    (container,) = document["scenarios"][0]["containers"]
    (found,) = re.findall(r"ready after ([\d.]+) s", container["timeline"])
    return float(found)
