"""PostgreSQL until it is ready: from an image that was prepared before, beside its plain image.

By the spans of the run: from the scenario's start until its service was ready, and what of it goes where.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from measuring.debian_images import POSTGRES, make_debian_images
from measuring.engine import Place
from measuring.figures import Row, at_least, median_of, ratio_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns
from measuring.trace import spans_of

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
PARTS = {
    "create": "clnrm.container.create",
    "start": "clnrm.container.start",
    "wait until it is ready": "clnrm.container.ready",
}
"""What of it takes time, in words -> the span. The rest is ours: image, network, what is between."""
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
        contenders: dict[str, Callable[[], Mapping[str, float]]] = {
            name: project(Path(temporary) / name, place, prepare)
            for name, prepare in {"plain": "false", "prepared": "true"}.items()
        }
        contenders["prepared"]()
        samples = in_turns(contenders, rounds)
    ready = {name: [each["ready"] for each in one] for name, one in samples.items()}
    return Row(
        key="p",
        title=TITLE,
        sizes=f"{rounds} rounds of a start each, with a table and 1,000 rows",
        figures=(
            ratio_of("plain : prepared", ready, "plain", "prepared", at_least(5)),
            *(median_of(f"from the {name} image", one, "s") for name, one in ready.items()),
            *(
                median_of(f"from the {name} image: {part}", [each[part] for each in one], "s")
                for name, one in samples.items()
                for part in (*PARTS, "the rest")
            ),
        ),
    )


def project(folder: Path, place: Place, prepare: str) -> Callable[[], Mapping[str, float]]:
    """Write a scenario; return what runs it once and returns when its service was ready, and its parts."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "schema.sql").write_text(SCHEMA, encoding="utf-8")
    (folder / "db.clnrm.toml").write_text(SCENARIO.format(image=POSTGRES, prepare=prepare), encoding="utf-8")
    arguments = ["-p", "no:xdist", "--clnrm-pull", "never", "--clnrm-report", "out"]
    environ = {"DOCKER_HOST": place.url, "XDG_RUNTIME_DIR": str(folder.parent)}
    return partial(times_s, folder, partial(run_pytest, folder, arguments, environ))


def times_s(folder: Path, run: Callable[[], object]) -> dict[str, float]:
    """Run the scenario; return the seconds from its start until its service was ready, and of its parts."""
    run()
    spans = spans_of(folder / "out/trace.otlp.json")
    ((began_s, _),) = spans["clnrm.scenario"]
    # The one that was prepared has its spans too: it came first.
    *_, (_, ended_s) = sorted(spans[PARTS["wait until it is ready"]])
    parts = {
        part: sum(end - begin for begin, end in sorted(spans[name])[-1:]) for part, name in PARTS.items()
    }
    ready_s = ended_s - began_s
    return {"ready": ready_s, **parts, "the rest": ready_s - sum(parts.values())}
