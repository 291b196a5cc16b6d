"""``.clnrm/config.toml``: its names, its units, and all its mistakes at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.settings.config_file import LISTS, ConfigFile, read_config_file
from pytest_clnrm.settings.declare import Setting
from pytest_clnrm.settings.settings import CONFIG_SETTINGS
from pytest_clnrm.settings.values import Choice

SHOWN = ".clnrm/config.toml"
MIB = 1024**2
Read = Callable[[str], ConfigFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads a config file of the text given."""

    def read_text(text: str) -> ConfigFile:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return read_config_file(file, SHOWN)

    return read_text


def rendered(file: ConfigFile) -> list[str]:
    """Return the first line of each mistake as users see it."""
    return [mistake.render(SHOWN).splitlines()[0] for mistake in file.mistakes]


def test_missing_file_says_nothing(tmp_path: Path) -> None:
    """Without the file there is neither a setting nor a mistake."""
    assert read_config_file(tmp_path / "config.toml", SHOWN) == ConfigFile()


def test_caps_of_the_policy(read: Read) -> None:
    """Each fills its field, in its unit."""
    file = read(
        "[executor.policy]\nmax_memory_mb = 64\nmax_cpu = 1.5\nmax_pids = 9\nmax_gpus = 0\n"
        "max_timeout_ms = 500\nmax_scenario_containers = 3\nmax_disk_mb = 2\nmax_log_mb = 1\n"
        "max_artifacts_mb = 7\n"
        "max_context_mb = 5\nallow_bridge = false\nallow_ports = false\nallow_build = false\n"
        'allow_volumes = false\nallow_cap_add = ["NET_ADMIN"]\nallow_new_privileges = true\n'
    )
    assert file.mistakes == ()
    assert file.settings == {
        "priorities": {},
        "max_memory_bytes": 64 * MIB,
        "max_cpus": 1.5,
        "max_pids": 9,
        "max_gpus": 0,
        "max_timeout_s": 0.5,
        "max_scenario_containers": 3,
        "max_disk_bytes": 2 * MIB,
        "max_log_bytes": MIB,
        "max_artifacts_bytes": 7 * MIB,
        "max_context_bytes": 5 * MIB,
        "allow_bridge": False,
        "allow_ports": False,
        "allow_build": False,
        "allow_volumes": False,
        "allow_cap_add": ("NET_ADMIN",),
        "allow_new_privileges": True,
    }
    assert file.origins["max_cpus"] == ".clnrm/config.toml:3: executor.policy.max_cpu"
    wrong = read('[executor.policy]\nmax_memory_mb = "1g"\nmax_disk = 1\nallow_ports = 1\n')
    assert [each.path for each in wrong.mistakes] == [
        f"executor.policy.{name}" for name in ("max_memory_mb", "max_disk", "allow_ports")
    ]


def test_a_list_says_of_what(read: Read) -> None:
    """A single value is told how its list is written."""
    (mistake,) = read('[executor.policy]\nallow_cap_add = "NET_RAW"\n').mistakes
    assert mistake.message == "'NET_RAW' is not a list of capabilities: [\"NET_ADMIN\"]"


def test_every_name_of_the_executor(read: Read) -> None:
    """All names fill their field, in its unit, and tell their place."""
    file = read(
        "[executor]\nenabled = false\nworker_count = 8\nmax_concurrent_containers = 20\n"
        "collect_spans = false\nscenario_timeout_ms = 1500\nallow_writable = ['out']\n\n"
        "[executor.limits]\ncontainer_memory_mb = 256\n"
        'container_cpu_limit = 2.5\n\n[executor.priorities]\ncritical = "high"\nsmoke = "low"\n'
    )
    assert file.mistakes == ()
    assert file.settings == {
        "enabled": False,
        "worker_count": 8,
        "max_containers": 20,
        "collect_spans": False,
        "timeout_s": 1.5,
        "memory_bytes": 256 * MIB,
        "cpus": 2.5,
        "allow_writable": (Path("out"),),
        "priorities": {"critical": Priority.HIGH, "smoke": Priority.LOW},
    }
    assert file.origins["timeout_s"] == ".clnrm/config.toml:6: executor.scenario_timeout_ms"
    assert file.origins["memory_bytes"] == ".clnrm/config.toml:10: executor.limits.container_memory_mb"


def _written(setting: Setting) -> list[str]:
    """Return right values of a setting, as TOML."""
    if isinstance(setting.default_value, bool):
        return ["true", "false"]
    if setting.kind == "args":
        return ["[]", f'["{LISTS[setting.parse][1]}"]']
    return [f'"{name}"' for name in setting.parse.names] if isinstance(setting.parse, Choice) else ["64"]


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for setting in CONFIG_SETTINGS for key in setting.config for value in _written(setting)],
)
def test_each_key_takes_its_values(read: Read, key: str, value: str) -> None:
    """No key is known and can be set to nothing."""
    file = read(f"executor.{key} = {value}")
    assert file.mistakes == ()
    assert len(file.settings) == 2


def test_limits_of_the_executor_itself(read: Read) -> None:
    """The names without the table ``limits`` mean the same."""
    file = read("[executor]\ncontainer_memory_limit_mb = 64\ncontainer_cpu_limit = 1\n")
    assert file.settings == {"memory_bytes": 64 * MIB, "cpus": 1.0, "priorities": {}}


@pytest.mark.parametrize(
    "text",
    [
        "executor = { limits = { container_memory_mb = 64 } }",
        "executor.limits.container_memory_mb = 64",
        '["executor"]\nlimits . "container_memory_mb" = 64 # comment',
        "\ufeff[executor.limits] # comment\r\ncontainer_memory_mb = 64\r\n",
        "[executor.limits]\ncontainer_memory_mb = 64\n[executor]\ncontainer_memory_limit_mb = 64",
    ],
)
def test_any_way_to_write_it(read: Read, text: str) -> None:
    """Inline tables, dotted and quoted keys, a BOM and Windows newlines work; so do two equal spellings."""
    file = read(text)
    assert file.mistakes == ()
    assert file.settings["memory_bytes"] == 64 * MIB
    assert file.origins["memory_bytes"].startswith(".clnrm/config.toml:")


def test_two_spellings_that_differ(read: Read) -> None:
    """Two values for the same limit are a mistake that names both places."""
    file = read("[executor]\ncontainer_memory_limit_mb = 64\n[executor.limits]\ncontainer_memory_mb = 65\n")
    place, _, message = rendered(file)[0].partition(": ")
    assert place == ".clnrm/config.toml:4:1"
    assert message == (
        "executor.limits.container_memory_mb: 65 contradicts .clnrm/config.toml:2: "
        "executor.container_memory_limit_mb; one of the two is enough"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("worker_count = 0", "executor.worker_count: 0 is not a count: a whole number of at least 1"),
        ('worker_count = "8"', "executor.worker_count: '8' is a text: write it without quotes"),
        ("enabled = 1", "executor.enabled: 1 is not a switch: true or false"),
        (
            "scenario_timeout_ms = 1.5",
            "executor.scenario_timeout_ms: 1.5 is not a time: a whole number of milliseconds, from 1",
        ),
        ("scenario_timeout_ms = 0", "executor.scenario_timeout_ms: 0 is not a time: a whole number of"),
        ("scenario_timeout_ms = true", "executor.scenario_timeout_ms: True is not a time: a whole number of"),
        ("scenario_timeout_ms = 31536000001", "executor.scenario_timeout_ms: 31536000001 is not a time"),
        ("container_cpu_limit = 0.0", "executor.container_cpu_limit: 0.0 is not a number of CPUs: at least"),
        (
            "container_memory_limit_mb = 5",
            "executor.container_memory_limit_mb: 5 is too little for a container",
        ),
        ("limits = 5", "executor.limits: 5 is not a table: [executor.limits] with keys below it"),
        (
            'priorities = "high"',
            "executor.priorities: 'high' is not a table: [executor.priorities] with keys",
        ),
        ('groups = "a=1"', "executor.groups: 'a=1' is not a list of limits: [\"database=2\"]"),
        ('groups = ["a"]', "executor.groups: 'a' is not a limit of a group: NAME=N"),
        ('allow_writable = "out"', "executor.allow_writable: 'out' is not a list of folders: [\"out\"]"),
        ('flaky = "failed"', "executor.flaky: 'failed' is not an outcome of flaky tests: pass or fail"),
        ("flaky = true", "executor.flaky: True is not an outcome of flaky tests: pass or fail"),
        ("allow_writable = [1]", "executor.allow_writable: 1 is not a path: a folder"),
    ],
)
def test_wrong_value(read: Read, line: str, message: str) -> None:
    """A wrong value tells file, line, column, key, value, and what is allowed."""
    file = read(f"[executor]\n  {line}\n")
    assert len(file.mistakes) == 1
    text = file.mistakes[0].render(SHOWN)
    assert text.startswith(f".clnrm/config.toml:2:3: {message}")
    assert text.endswith(f"\n      {line}\n      ^")


def test_wrong_priority(read: Read) -> None:
    """So does a wrong priority of a tag, which stands in a table."""
    text = read('[executor]\n  priorities = { "a b" = "top" }\n').mistakes[0].render(SHOWN)
    message = "executor.priorities.\"a b\": 'top' is not a priority: high, normal or low"
    assert text.startswith(f".clnrm/config.toml:2:18: {message}")


def test_all_mistakes_at_once(read: Read) -> None:
    """Unknown keys are told with what is known and meant, in the order of their lines."""
    file = read(
        "[executor]\nworkers = 8\ncontainer_memory_mb = 5\nlogging = true\n"
        "[executor.limits]\nmemory = 64\n[executer]\nx = 1\n"
    )
    known = (
        "enabled, worker_count, container_memory_limit_mb, container_cpu_limit, scenario_timeout_ms, "
        "max_concurrent_containers, groups, collect_spans, retries, flaky, allow_writable, limits, policy, "
        "priorities"
    )
    meant = "executor.limits.container_memory_mb"
    executor = f"is not known; [executor] may hold: {known}"
    limits = "is not known; [executor.limits] may hold: container_memory_mb, container_cpu_limit"
    whole = "is not known; this file may hold: executor"
    assert rendered(file) == [
        f"{SHOWN}:2:1: executor.workers: {executor} (did you mean worker_count?)",
        f"{SHOWN}:3:1: executor.container_memory_mb: {executor} (did you mean {meant}?)",
        f"{SHOWN}:4:1: executor.logging: {executor}",
        f"{SHOWN}:6:1: executor.limits.memory: {limits}",
        f"{SHOWN}:7:1: executer: {whole} (did you mean executor?)",
    ]


def test_place_of_an_inline_table(read: Read) -> None:
    """A key inside an inline table is found where it stands."""
    file = read("\nexecutor = { worker_count = 0 }\n")
    assert rendered(file)[0].startswith(".clnrm/config.toml:2:14: executor.worker_count: 0 is not a count")


def test_place_of_a_key_with_an_escape(read: Read) -> None:
    """A key is found however it is written."""
    file = read('["\\u0065xecutor"]\n"worker\\u005fcount" = 0\n')
    assert rendered(file)[0].startswith(".clnrm/config.toml:2:1: executor.worker_count: 0 is not a count")


@pytest.mark.parametrize(
    ("text", "place"),
    [("[executor]\nenabled = yes\n", "2:11"), ("[executor]\nenabled =\n", "2:10"), ("[executor", "1:10")],
)
def test_syntax_error(read: Read, text: str, place: str) -> None:
    """A file that is not TOML is told with line and column."""
    file = read(text)
    assert rendered(file)[0].startswith(f".clnrm/config.toml:{place}: ")


def test_not_text(tmp_path: Path) -> None:
    """A file that is not UTF-8 is told as such."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    file = read_config_file(path, SHOWN)
    assert rendered(file) == [".clnrm/config.toml: is not UTF-8 text, which TOML is: invalid start byte"]


def test_not_readable(tmp_path: Path) -> None:
    """A folder of that name is told as such."""
    file = read_config_file(tmp_path, SHOWN)
    assert rendered(file) == [".clnrm/config.toml: cannot be read: Is a directory"]
