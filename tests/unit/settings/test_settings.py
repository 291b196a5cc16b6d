"""Settings: precedence, mistakes, and what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_clnrm.settings.loading import check_against_engine, load_settings
from pytest_clnrm.settings.settings import SETTINGS, Settings, header_lines, is_any_set

MIB = 1024**2
KINDS = {setting.ini: setting.kind for setting in SETTINGS}


@dataclass(frozen=True)
class StubConfig:
    """The part of pytest.Config that settings are read from; it judges types as pytest 9 does."""

    rootpath: Path
    inipath: Path | None
    invocation_params: SimpleNamespace
    options: Mapping[str, Any] = field(default_factory=dict)
    inicfg: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def getoption(self, name: str) -> Any:
        """Return what the command line says, None if it does not."""
        return list(self.overrides) if name == "override_ini" else self.options.get(name)

    def getini(self, name: str) -> Any:
        """Return what the ini file says, None if it does not."""
        value = self.inicfg.get(name)
        for override in self.overrides:
            key, _, text = override.partition("=")
            value = text if key == name else value
        wanted = {"string": str, "bool": bool, "args": list}[KINDS[name]]
        if value is not None and not isinstance(value, wanted):
            raise TypeError(f"config option {name!r} expects {wanted}")
        return value


Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads settings; it takes options, ini values, an ini text and a config file."""

    def load_from(
        options: Mapping[str, Any] | None = None,
        ini: Mapping[str, Any] | None = None,
        *,
        overrides: tuple[str, ...] = (),
        ini_file: str | None = "",
        config_file: str | None = None,
    ) -> Settings:
        root = tmp_path / "root"
        (root / ".clnrm").mkdir(parents=True)
        (tmp_path / "started").mkdir()
        if config_file is not None:
            (root / ".clnrm" / "config.toml").write_text(config_file, encoding="utf-8")
        inipath = None if ini_file is None else root / "pytest.toml"
        if inipath:
            inipath.write_text(ini_file or "", encoding="utf-8")
        config = StubConfig(
            rootpath=root,
            inipath=inipath,
            invocation_params=SimpleNamespace(dir=tmp_path / "started"),
            options=options or {},
            inicfg=ini or {},
            overrides=overrides,
        )
        loaded = load_settings(cast("pytest.Config", config))
        # Where nothing is set, nobody loads anything.
        assert is_any_set(cast("pytest.Config", config)) is bool(loaded.origins or loaded.priorities)
        return loaded

    return load_from


def test_defaults(load: Load) -> None:
    """Without anything said, every default holds and nothing has an origin."""
    settings = load()
    assert settings == Settings()
    assert settings.memory_bytes == 512 * MIB
    assert (settings.timeout_s, settings.max_containers, settings.cpus) == (300.0, 10, 1.0)
    assert settings.origin("memory_bytes") == "default"


OPTION = {"clnrm_memory": "10m"}
OVERRIDE = ("clnrm_memory=15",)
INI = {"clnrm_memory": "20"}
CONFIG = "[executor]\ncontainer_memory_limit_mb = 30\n"


@pytest.mark.parametrize(
    ("given", "megabytes", "origin"),
    [
        ({"options": OPTION, "ini": INI, "config_file": CONFIG}, 10, "--clnrm-memory"),
        ({"overrides": OVERRIDE, "ini": INI, "config_file": CONFIG}, 15, "-o clnrm_memory"),
        ({"ini": INI, "config_file": CONFIG}, 20, "pytest.toml:2: clnrm_memory"),
        ({"ini": {"clnrm_memory": 20}, "config_file": CONFIG}, 20, "pytest.toml:2: clnrm_memory"),
        ({"config_file": CONFIG}, 30, ".clnrm/config.toml:2: executor.container_memory_limit_mb"),
        ({}, 512, "default"),
    ],
)
def test_precedence(load: Load, given: dict[str, Any], megabytes: int, origin: str) -> None:
    """Command line, then -o, then ini, then config file, then default; the origin says which."""
    settings = load(**given, ini_file="[pytest]\nclnrm_memory = 20\n")
    assert settings.memory_bytes == megabytes * MIB
    assert settings.origin("memory_bytes") == origin


def test_every_setting_reaches_its_field(load: Load, tmp_path: Path) -> None:
    """Each ini key fills its field with the parsed value."""
    settings = load(
        ini={
            "clnrm_memory": "1g",
            "clnrm_cpu": 2,
            "clnrm_timeout": "90s",
            "clnrm_max_containers": 3,
            "clnrm_memory_budget": "4g",
            "clnrm_cpu_budget": "3.5",
            "clnrm_gpus": 2,
            "clnrm_autoscale": "2:6",
            "clnrm_shard": "2/3",
            "clnrm_slot_timeout": "1.5m",
            "clnrm_spans": "off",
            "clnrm_job_summary": "off",
            "clnrm_otlp_endpoint": "http://collector:4318",
            "clnrm_show_workers": True,
            "clnrm_order": "slowest-first",
            "clnrm_history": "history.json",
            "clnrm_right_size": True,
            "clnrm_retries": "3",
            "clnrm_flaky": "fail",
            "clnrm_repeat": "7",
            "clnrm_update_golden": True,
            "clnrm_subtests": "on",
            "clnrm_slow_after": "2m",
            "clnrm_builder": "buildkit",
            "clnrm_max_context": "2g",
            "clnrm_max_memory": "2g",
            "clnrm_max_cpu": 4,
            "clnrm_max_pids": 1000,
            "clnrm_max_gpus": 0,
            "clnrm_max_timeout": "10m",
            "clnrm_max_scenario_containers": 5,
            "clnrm_max_disk": "1g",
            "clnrm_max_log": "3m",
            "clnrm_max_artifacts": "4m",
            "clnrm_allow_bridge": False,
            "clnrm_allow_ports": "no",
            "clnrm_allow_build": "off",
            "clnrm_allow_volumes": "false",
            "clnrm_allow_cap_add": ["cap_net_admin", "SYS_PTRACE"],
            "clnrm_allow_new_privileges": "true",
            "clnrm_priority": "low",
            "clnrm_engine": "unix:///x.sock",
            "clnrm_image_map": ["a=b", "c=d"],
            "clnrm_groups": ["database=2", "licence=1"],
            "clnrm_pull": "never",
            "clnrm_report": "out",
            "clnrm_keep": "failed",
            "clnrm_files": "*.a *.b",
            "clnrm_default_image": "busybox",
            "clnrm_strict": "yes",
            "clnrm_allow_mounts": ["/", "data"],
            "clnrm_allow_writable": ["data/out"],
            "clnrm_env": ["CI"],
            "clnrm_secrets": ["password"],
            "clnrm_scheduler": "xdist",
            "clnrm_pool": "off",
            "clnrm_pool_size": "3",
            "clnrm_prepared_size": "2g",
            "clnrm_prepared_age": "1h",
            "clnrm_warm": "30m",
            "clnrm_ledger_dir": "ledger",
        }
    )
    root = tmp_path / "root"
    origins = {setting.field: f"pytest.toml: {setting.ini}" for setting in SETTINGS}
    assert settings == Settings(
        memory_bytes=1024 * MIB,
        cpus=2.0,
        cpu_budget=3.5,
        gpus=2,
        autoscale=(2, 6),
        shard=(2, 3),
        collect_spans=False,
        job_summary=False,
        otlp_endpoint="http://collector:4318",
        order="slowest-first",
        right_size=True,
        history_file=root / "history.json",
        retries=3,
        flaky="fail",
        repeat=7,
        update_golden=True,
        subtests=True,
        show_workers=True,
        slow_after_s=120.0,
        builder="buildkit",
        max_context_bytes=2 * 1024**3,
        max_memory_bytes=2 * 1024**3,
        max_cpus=4.0,
        max_pids=1000,
        max_gpus=0,
        max_timeout_s=600.0,
        max_scenario_containers=5,
        max_disk_bytes=1024**3,
        max_log_bytes=3 * MIB,
        max_artifacts_bytes=4 * MIB,
        allow_bridge=False,
        allow_ports=False,
        allow_build=False,
        allow_volumes=False,
        allow_cap_add=("NET_ADMIN", "SYS_PTRACE"),
        allow_new_privileges=True,
        timeout_s=90.0,
        max_containers=3,
        memory_budget_bytes=4096 * MIB,
        slot_timeout_s=90.0,
        priority="low",
        engine="unix:///x.sock",
        image_map=(("a", "b"), ("c", "d")),
        groups=(("database", 2), ("licence", 1)),
        pull="never",
        report_dir=root / "out",
        keep="failed",
        files=("*.a", "*.b"),
        default_image="busybox",
        strict=True,
        allow_mounts=(Path("/"), root / "data"),
        allow_writable=(root / "data/out",),
        env_allowed=("CI",),
        secrets=("password",),
        scheduler="xdist",
        pool="off",
        pool_size=3,
        prepared_bytes=2 * 1024**3,
        prepared_age_s=3600.0,
        warm_s=1800.0,
        ledger_dir=root / "ledger",
        origins=origins,
    )


def test_caps_on_what_files_may_ask_for(load: Load) -> None:
    """They lower defaults."""
    settings = load(
        ini={"clnrm_max_memory": "64m", "clnrm_max_cpu": 0.5, "clnrm_max_pids": 9, "clnrm_max_timeout": 7}
    )
    assert (settings.memory_bytes, settings.cpus) == (64 * MIB, 0.5)
    assert (settings.pids, settings.timeout_s) == (9, 7)
    assert settings.origin("memory_bytes") == "default"


def test_a_setting_above_its_cap(load: Load) -> None:
    """An error with both values, and what has set them."""
    with pytest.raises(pytest.UsageError) as caught:
        load({"clnrm_memory": "1g", "clnrm_timeout": "10"}, {"clnrm_max_memory": 64, "clnrm_max_timeout": 7})
    assert str(caught.value).splitlines() == [
        "--clnrm-memory: 1024 MB is more than its cap: at most 64 MB (pytest.toml: clnrm_max_memory)",
        "--clnrm-timeout: 10 is more than its cap: at most 7 (pytest.toml: clnrm_max_timeout)",
    ]


def test_image_maps_of_both_count(load: Load) -> None:
    """Mappings of the command line stand before those of the ini file."""
    settings = load({"clnrm_image_map": ["a=1", "b=2"]}, {"clnrm_image_map": ["a=3"]})
    assert settings.image_map == (("a", "1"), ("b", "2"), ("a", "3"))
    assert settings.origin("image_map") == "--clnrm-image-map"


def test_report_of_the_command_line(load: Load, tmp_path: Path) -> None:
    """A folder on the command line is relative to where pytest was started."""
    assert load({"clnrm_report": "out"}).report_dir == tmp_path / "started" / "out"


def test_folder_without_ini_file(load: Load, tmp_path: Path) -> None:
    """Without an ini file, a folder given by -o is relative to where pytest was started."""
    settings = load(overrides=("clnrm_report=out",), ini_file=None)
    assert settings.report_dir == tmp_path / "started" / "out"


def test_empty_takes_back(load: Load) -> None:
    """An empty value means no report, though the ini file asks for one."""
    assert load(ini={"clnrm_report": "out"}, overrides=("clnrm_report=",)).report_dir is None


def test_empty_list(load: Load) -> None:
    """An empty list is a value, not a missing one: no file holds scenarios then."""
    settings = load(ini={"clnrm_files": []})
    assert settings.files == ()
    assert not settings.matches("")
    assert not settings.matches("a.clnrm.toml")
    # Others are made of what it holds.
    assert Settings(**vars(settings)) == settings


@pytest.mark.parametrize(
    ("name", "holds_scenarios"),
    [
        ("a.one", True),
        (".one", True),
        ("two.b", True),
        ("a.one.x", False),
        ("x.two.b", False),
        ("a.ONE", False),
    ],
)
def test_a_file_matches_one_of_the_globs_whole(load: Load, name: str, *, holds_scenarios: bool) -> None:
    """As fnmatch has it: from its name's first letter to the last, with upper and lower case."""
    assert load(ini={"clnrm_files": "*.one two.?"}).matches(name) is holds_scenarios


def test_mounts_are_resolved(load: Load, tmp_path: Path) -> None:
    """Links of allowed mounts are followed, as those of volumes are before they are judged."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert load(ini={"clnrm_allow_mounts": ["../link"]}).allow_mounts == (tmp_path / "real",)


def test_all_mistakes_in_one_error(load: Load) -> None:
    """Wrong values of command line, ini and config file are told together, each with its place."""
    with pytest.raises(pytest.UsageError) as caught:
        load(
            {"clnrm_memory": "12x", "clnrm_image_map": ["a=b", "c", "d"]},
            {"clnrm_cpu": True, "clnrm_files": 5, "clnrm_env": ["A", 1]},
            overrides=("clnrm_pull=often",),
            ini_file='[pytest]\n"clnrm_cpu" = true\n',
            config_file="[executor]\nworker_count = 0\n",
        )
    size = 'a whole number of MB such as 512, or text such as "512m", "1g", "64k"'
    mapping = "a mapping of images: OLD=NEW, such as postgres:*=mirror/postgres:16"
    assert str(caught.value).splitlines() == [
        ".clnrm/config.toml:2:1: executor.worker_count: 0 is not a count: a whole number of at least 1",
        "    worker_count = 0",
        "    ^",
        f"--clnrm-memory: '12x' is not a size: {size}",
        "pytest.toml:2: clnrm_cpu: True is not a number of CPUs: at least 0.01, such as 0.5 or 2",
        f"--clnrm-image-map: 'c' is not {mapping}",
        f"--clnrm-image-map: 'd' is not {mapping}",
        "-o clnrm_pull: 'often' is not a pull policy: always, missing or never",
        "pytest.toml: clnrm_files: 5 is not a list: a list of texts, or one text with blanks between them",
        "pytest.toml: clnrm_env: 1 is not a text: at least one character",
    ]


def test_ini_file_elsewhere(tmp_path: Path) -> None:
    """An ini file outside rootdir is named with its whole path."""
    elsewhere = tmp_path / "other.ini"
    elsewhere.write_text("[pytest]\nclnrm_keep: often\n", encoding="utf-8")
    config = StubConfig(
        rootpath=tmp_path / "root",
        inipath=elsewhere,
        invocation_params=SimpleNamespace(dir=tmp_path),
        inicfg={"clnrm_keep": "often"},
    )
    with pytest.raises(pytest.UsageError) as caught:
        load_settings(cast("pytest.Config", config))
    expected = "'often' is not a choice of what to keep: never or failed"
    assert str(caught.value) == f"{elsewhere}:2: clnrm_keep: {expected}"


def test_limits_within_the_engine() -> None:
    """Limits that the engine has are accepted, and so is a default that a small engine has not."""
    check_against_engine(Settings(cpus=2.0, origins={"cpus": "--clnrm-cpu"}), 2, 256 * MIB)


def test_limits_beyond_the_engine() -> None:
    """Limits that the engine has not are one error that names what set them and what the engine has."""
    settings = Settings(
        cpus=8.0,
        memory_bytes=1024 * MIB,
        origins={"cpus": "--clnrm-cpu", "memory_bytes": "pytest.ini:2: clnrm_memory"},
    )
    with pytest.raises(pytest.UsageError) as caught:
        check_against_engine(settings, 2, 256 * MIB)
    assert str(caught.value).splitlines() == [
        "--clnrm-cpu: 8.0 CPUs for each container, but the engine has 2: at most 2",
        "pytest.ini:2: clnrm_memory: 1024 MB for each container, but the engine has 256 MB: at most 256 MB",
    ]


def test_header() -> None:
    """The header is one line that says engine, limits and cap."""
    limits = "each container 512 MB and 1.0 CPU, at most 10 containers, 300 s a scenario"
    assert header_lines(Settings()) == [f"clnrm: engine auto, {limits}"]


def test_header_in_other_numbers() -> None:
    """Numbers are written as they are, with singular and plural; so is the choice of the engine."""
    settings = Settings(
        memory_bytes=6 * MIB + MIB // 2, cpus=2.5, max_containers=1, timeout_s=1.5, engine="embedded"
    )
    limits = "each container 6.5 MB and 2.5 CPUs, at most 1 container, 1.5 s a scenario"
    assert header_lines(settings) == [f"clnrm: engine embedded, {limits}"]
