"""Broken scenario files: mistakes that can be shown, or scenarios, and nothing else."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from pytest_clnrm.errors import Mistake, ScenarioFileError
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.locating import locate
from pytest_clnrm.scenario.options import LoadOptions

SEEDS = [
    """\
[meta]
name = "orders"
tags = ["a", "b"]
priority = "high"
timeout = "1.5m"
[vars]
region = "eu"
token = { value = "s", secret = true }
[matrix]
database = ["15", 16]
[limits]
memory = "256m"
cpu = 0.5
[service.db]
image = "postgres:{{ matrix.database }}"
env = { REGION = "{{ region }}" }
ports = [5432]
volumes = [{ source = ".", target = "/seed" }]
depends_on = ["cache"]
ready = { log = "ready (to|for)", timeout = "30s" }
[service.cache]
build = { context = "." }
[[step]]
name = "insert"
service = "db"
run = ["psql", "-c", "select 1"]
retry = { times = 3, delay = "500ms" }
expect = { exit = 0, stdout = { regex = ["a+"], json = { x = [1] } } }
capture = { row = { regex = "(\\\\d+)" } }
[[step]]
run = '''echo {{ row }} # "not a comment"'''
[[expect.span]]
select = { name = "GET *" }
attrs = { "http.status" = { lt = 400 } }
[expect.counts]
spans_total = { gte = 1 }
""",
    """\
[test.metadata]
name = "wild"
timeout = "60s"
[services.db]
type = "generic_container"
image = "alpine:latest"
environment = ["A=1"]
healthcheck = { command = ["true"], interval = "1s", timeout = "5s", retries = 3 }
[[services.db.volumes]]
host_path = "."
container_path = "/data"
[[steps]]
name = "one"
command = ["echo", "{{ env.HOME }}"]
expected_output_regex = "x(?i)y"
expected_exit_code = 0
[otel]
exporter = "stdout"
[otel_validation]
enabled = true
[[otel_validation.expected_spans]]
name = "a"
attributes = { "k" = "v" }
[[otel_validation.expected_traces]]
parent_child = [["a", "b"]]
[expect.hermeticity]
no_external_services = true
resource_attrs = { "service.name" = "x" }
[assertions]
is_nice = true
""",
    """\
{% set names = ["a", "b"] %}
[meta]
name = "{{ title }}"
[vars]
title = "rendered"
{% for name in names %}
[[scenario]]
name = "{{ name }}"
run = "echo 'x' | cat"
service = "default"
[[scenario.steps]]
name = "s"
run = "true"
[[scenario.expect.span]]
name = "{{ name }}"
{% endfor %}
""",
]
SCRAPS = [
    "\n", " ", '"', "'", '"""', "'''", "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "#", "\\",
    "\\u0000", "{{", "}}", "{%", "%}", "{{ x }}", "{{ 1/0 }}", "{{ [1] * 9 }}", "{% if %}",
    "{% for i in range(3) %}", "{% raw %}", "true", "-1", "0", "1e400", "nan", "inf",
    "0x" + "f" * 40, "9" * 30, "1979-05-27", "[]", "{}", '""', "[[1]]", "::", "\u0000", "\r",
    "\ufeff", "\u2028", "\u00e9", "\U0001f600", "name = 1\n", "[step]\n", "[[step]]\n",
    "[meta]\n", "[service]\n", "[[scenario]]\n", "[vars]\n", "[matrix]\n", "[expect]\n",
    "[[steps]]\n", "[services.db]\n", 'depends_on = ["db"]\n', "ready = {}\n", "run = []\n",
    "extends = 'x'\n", "(", "*", "(?<a", "/../..", "[" * 400,
]  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Return a scenario file with a few things deleted, doubled, swapped or put in."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        where = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["drop", "double", "swap", "insert", "replace", "cut", "value"]))
        if how == "drop":
            del lines[where]
        elif how == "double":
            lines.insert(where, lines[where])
        elif how == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[where], lines[other] = lines[other], lines[where]
        elif how == "value":
            key, equals, _ = lines[where].partition(" = ")
            lines[where] = f"{key}{equals}{draw(st.sampled_from(SCRAPS))}"
        text = "\n".join(lines)
        at = draw(st.integers(0, len(text)))
        if how == "insert":
            text = text[:at] + draw(st.sampled_from(SCRAPS)) + text[at:]
        elif how == "replace":
            text = text[:at] + draw(st.sampled_from(SCRAPS)) + text[at + draw(st.integers(1, 9)) :]
        elif how == "cut":
            text = text[:at]
    data = text.encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(min_size=1, max_size=3)) + data[at:]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a rootdir for all files of this module."""
    return tmp_path_factory.mktemp("fuzz").resolve()


def loaded(path: Path) -> tuple[tuple[Scenario, ...], tuple[Mistake, ...]]:
    """Return the scenarios of a file, or its mistakes."""
    options = LoadOptions(rootdir=str(path.parent), environ={"HOME": "/root"}, env_allowed=("HOME",))
    try:
        return load(str(path), options), ()
    except ScenarioFileError as error:
        return (), error.mistakes


@hypothesis.given(data=broken())
@hypothesis.settings(
    derandomize=True,
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
def test_a_broken_file_is_scenarios_or_mistakes(folder: Path, data: bytes) -> None:
    """Whatever stands in a file, it gives scenarios with places, or mistakes that can be shown."""
    path = folder / "broken.clnrm.toml"
    path.write_bytes(data)
    scenarios, mistakes = loaded(path)
    assert bool(scenarios) != bool(mistakes)
    for mistake in mistakes:
        assert mistake.message
        assert mistake.render("FILE").startswith("FILE:")
    assert len({each.name for each in scenarios}) == len(scenarios)
    for scenario in scenarios:
        assert {step.service for step in scenario.steps} <= {service.name for service in scenario.services}
        assert min(locate(str(path), scenario.steps[0].at)) >= 1


@pytest.mark.parametrize("seed", SEEDS, ids=["canonical", "wild", "rendered"])
def test_the_seeds_are_good(folder: Path, seed: str) -> None:
    """The files that are broken above are whole before."""
    path = folder / "good.clnrm.toml"
    path.write_text(seed)
    scenarios, mistakes = loaded(path)
    assert scenarios
    assert not mistakes
