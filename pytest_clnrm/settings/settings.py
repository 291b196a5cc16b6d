"""All settings of a run, each declared here and nowhere else.

:func:`~pytest_clnrm.settings.declare.setting` says what a declaration holds, and what is made of it.

All workers of a run parse the same command line and files, so they hold equal :class:`Settings`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pytest_clnrm.settings import values
from pytest_clnrm.settings.declare import Setting, is_given, setting

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.model.priority import Priority

CONFIG_FILE = ".clnrm/config.toml"
DEFAULT_ORIGIN = "default"

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_HOST = "over all workers and all runs on this host"
_ASKED = "that a file may ask for, for one container"
_NO_CAP = "no cap"
_MIB = 1024**2


class Settings:
    """All settings of a run, resolved: paths are absolute, and their links are followed.

    A plain class, as making a class of records of so many fields takes a run a millisecond.

    :param pids: limit of each container.
    :param priorities: tag or name of a folder -> priority; the table ``executor.priorities``.
    :param origins: field -> what set it (``--clnrm-memory``, ``pytest.ini:3: clnrm_memory``); a field
        that is not named has its default.
    """

    enabled: bool = setting(
        "",
        "`false`: pytest's own order and xdist's own scheduling; limits and cap stay",
        values.switch,
        default=True,
        config="enabled",
    )
    worker_count: int | None = setting(
        "",
        "the number of workers of `-n auto`",
        values.count,
        default=None,
        unset="xdist's own answer",
        config="worker_count",
    )
    memory_bytes: int = setting(
        "--clnrm-memory SIZE",
        "memory limit of each container, swap included, at least `6m`; for a limit on all containers "
        "together see `--clnrm-memory-budget`",
        values.container_memory,
        default=512 * _MIB,
        scenario=True,
        config="container_memory_limit_mb limits.container_memory_mb",
    )
    cpus: float = setting(
        "--clnrm-cpu CPUS",
        "CPU limit of each container, in CPUs, such as `0.5` or `2`; it may exceed 1, and is at least `0.01`",
        values.cpus,
        default=1.0,
        scenario=True,
        config="container_cpu_limit limits.container_cpu_limit",
    )
    timeout_s: float = setting(
        "--clnrm-timeout TIME",
        "time limit of each scenario that names none; waiting for containers and pulling images do not count",
        values.positive_duration,
        default=300.0,
        scenario=True,
        config="scenario_timeout_ms",
    )
    max_containers: int = setting(
        "--clnrm-max-containers N",
        f"how many containers run at the same time, {_HOST}",
        values.count,
        default=10,
        config="max_concurrent_containers",
    )
    groups: tuple[tuple[str, int], ...] = setting(
        "clnrm_groups NAME=N",
        f"how many scenarios of a `group` run at the same time, {_HOST}",
        values.group_limit,
        default=(),
        unset="1 of each group",
        docs=" ([groups](scenario-format.md#groups-and-exclusive-scenarios))",
        config="groups",
    )
    memory_budget_bytes: int | None = setting(
        "--clnrm-memory-budget SIZE",
        f"memory limit of all containers together, {_HOST}; for the limit of each see `--clnrm-memory`",
        values.container_memory,
        default=None,
        unset="80 % of the engine's memory",
    )
    cpu_budget: float | None = setting(
        "--clnrm-cpu-budget CPUS",
        f"CPU limit of all containers together, {_HOST}",
        values.cpus,
        default=None,
        unset="none: containers share the engine's CPUs",
    )
    gpus: int | None = setting(
        "--clnrm-gpus N",
        f"how many GPUs scenarios may use at the same time, {_HOST}",
        values.count_or_zero,
        default=None,
        unset="what the engine reports",
    )
    autoscale: tuple[int, int] | None = setting(
        "--clnrm-autoscale MIN:MAX",
        "let the number of workers follow the queue, between these two: more than 100 waiting items "
        "double it, fewer than 10 halve it if there are more than 4; needs `-n`, which says how many "
        "there are at the start",
        values.worker_range,
        default=None,
        unset="as many as -n says",
    )
    slot_timeout_s: float | None = setting(
        "--clnrm-slot-timeout TIME",
        "how long an item waits for the reservation of its containers",
        values.duration,
        default=None,
        unset="as long as it takes",
    )
    priority: Literal["high", "normal", "low"] = setting(
        "--clnrm-priority",
        "priority of the items that name none; it selects nothing: use `-m` or `-k` for that",
        values.priority_name,
        default="normal",
    )
    order: Literal["fifo", "slowest-first", "likely-to-fail-first"] = setting(
        "--clnrm-order",
        "the order of items of one priority: as collected (`fifo`), or by what earlier runs have shown",
        values.Choice("an order", "fifo", "slowest-first", "likely-to-fail-first"),
        default="fifo",
        docs=" ([history](history.md))",
    )
    right_size: bool = setting(
        "--clnrm-right-size",
        "limit containers whose file names no memory to what they used in earlier runs and a margin, "
        "where that is less than `--clnrm-memory`",
        values.switch,
        default=False,
        docs=" ([history](history.md#right-size))",
    )
    history_file: Path | None = setting(
        "--clnrm-history FILE",
        "read what earlier runs have shown from this file too, and add what this one shows",
        values.path,
        default=None,
        unset="pytest's cache alone",
        docs=" ([history](history.md))",
    )
    shard: tuple[int, int] | None = setting(
        "--clnrm-shard K/N",
        "run the K-th of N parts of the tests, for N machines; they are divided alike on all of them, and "
        "balanced by the durations in the file of `--clnrm-history`, which is only read then",
        values.shard,
        default=None,
        unset="all tests",
        docs=" ([shards](shards.md))",
    )
    engine: str = setting(
        "--clnrm-engine auto|embedded|kubernetes|URL",
        "container engine: `auto` takes the one that answers, `embedded` starts one where none "
        "answers, a URL such as `unix:///var/run/docker.sock`, `tcp://host:2375` or "
        "`kubernetes://context/namespace` names one",
        values.engine,
        default="auto",
        scenario=True,
    )
    image_map: tuple[tuple[str, str], ...] = setting(
        "--clnrm-image-map OLD=NEW",
        "use the image NEW where a file says OLD, which may be a glob; a * in NEW is what the * of OLD "
        "stands for; may be repeated: the first that matches counts, those of the command line first",
        values.image_mapping,
        default=(),
        scenario=True,
        unset="images as written",
    )
    pull: Literal["always", "missing", "never"] = setting(
        "--clnrm-pull",
        "when images are pulled",
        values.Choice("a pull policy", "always", "missing", "never"),
        default="missing",
        scenario=True,
    )
    report_dir: Path | None = setting(
        "--clnrm-report DIR",
        "write the report (`report.html`, `report.json`, `trace.otlp.json`) into this folder",
        values.path,
        default=None,
        unset="no report is written",
        docs=" ([report](report.md))",
    )
    keep: Literal["never", "failed"] = setting(
        "--clnrm-keep",
        "whether containers of failed scenarios and Python tests stay, to be looked at",
        values.Choice("a choice of what to keep", "never", "failed"),
        default="never",
    )
    pool: Literal["proven", "inside", "off"] = setting(
        "--clnrm-pool",
        "whether a container serves another scenario of the same specification: `proven` means only "
        "if it is shown from outside to be unchanged, which takes root on the engine's host; "
        "`inside` also asks programs in it where it cannot be looked at from outside, for trusted "
        "scenario files",
        values.Choice("a way to pool containers", "proven", "inside", "off"),
        default="proven",
        scenario=True,
        docs=" ([pool](pool.md))",
    )
    job_summary: bool = setting(
        "clnrm_job_summary on|off",
        "whether a run with containers adds a summary in Markdown to GitHub's page of the job "
        "(`GITHUB_STEP_SUMMARY`), or on GitLab to `summary.md` in the report's folder",
        values.on_off,
        default=True,
        docs=" ([report](report.md#a-summary-for-a-ci-job))",
    )
    collect_spans: bool = setting(
        "--clnrm-spans on|off",
        "whether OpenTelemetry spans of the run are recorded, and those of programs in the "
        "containers received",
        values.on_off,
        default=True,
        scenario=True,
        config="collect_spans",
    )
    otlp_endpoint: str | None = setting(
        "--clnrm-otlp-endpoint URL",
        "send the run's trace to this OTLP/HTTP collector at the end, such as `http://localhost:4318`",
        values.text,
        default=None,
        unset="OTEL_EXPORTER_OTLP_ENDPOINT, if it is set",
    )
    retries: int = setting(
        "--clnrm-retries N",
        "how often a scenario, or a Python test with containers, that has failed is tried again, in new "
        "containers; its own `retry` or `@pytest.mark.clnrm_retry` wins",
        values.retries,
        default=0,
        docs=" ([flaky](flaky.md))",
        config="retries",
    )
    flaky: Literal["pass", "fail"] = setting(
        "--clnrm-flaky",
        "what a scenario or test is that failed, and then passed when it was tried again: one that has "
        "passed, and is listed at the end of the run, or one that has failed",
        values.Choice("an outcome of flaky tests", "pass", "fail"),
        default="pass",
        docs=" ([flaky](flaky.md))",
        config="flaky",
    )
    repeat: int = setting(
        "--clnrm-repeat N",
        "run each scenario so often, to hunt one that fails now and then; once one repetition has failed, "
        "those of its scenario that have not begun are skipped; nothing is tried again meanwhile",
        values.count,
        default=1,
        scenario=True,
        docs=" ([flaky](flaky.md))",
    )
    update_golden: bool = setting(
        "--clnrm-update-golden",
        "rewrite the files that `file` and `json_file` compare texts with, where they differ, and say which",
        values.switch,
        default=False,
    )
    subtests: bool = setting(
        "--clnrm-subtests",
        "report each check of a scenario that does not hold as a subtest of pytest's (9.0 or later), "
        "beside the scenario itself",
        values.switch,
        default=False,
        docs=" ([report](report.md#subtests))",
    )
    show_workers: bool = setting(
        "--clnrm-show-workers",
        "show what each worker is at, and what waits: below pytest's own output on a terminal; in a "
        "log a line for whatever takes long",
        values.switch,
        default=False,
        docs=" ([monitoring](monitoring.md))",
    )
    slow_after_s: float = setting(
        "clnrm_slow_after TIME",
        "in a log: after how long something that waits is told (without it 10 s), and with "
        "`--clnrm-show-workers` what runs too, and again each time that it has doubled",
        values.positive_duration,
        default=30.0,
    )
    files: tuple[str, ...] = setting(
        "clnrm_files",
        "globs of the names of scenario files; a file named on the command line is always collected",
        values.text,
        default=("*.clnrm.toml",),
    )
    default_image: str = setting(
        "clnrm_default_image",
        "image of the container for steps that name no service",
        values.text,
        default="alpine:latest",
    )
    strict: bool = setting(
        "clnrm_strict",
        "whether a claim of a file that is not checked is an error rather than a warning",
        values.switch,
        default=False,
    )
    builder: Literal["engine", "buildkit"] = setting(
        "clnrm_builder",
        "what builds images: `engine` (the engine's own builder, under the service's limits) or "
        "`buildkit` (the command `docker` with its plugin `buildx`, which limits network and time, "
        "but neither memory, CPUs nor processes)",
        values.Choice("a builder", "engine", "buildkit"),
        default="engine",
    )
    max_context_bytes: int = setting(
        "clnrm_max_context SIZE",
        "the largest context of a build, as it is sent to the engine",
        values.size,
        default=1024**3,
        config="policy.max_context_mb",
    )
    max_memory_bytes: int | None = setting(
        "clnrm_max_memory SIZE",
        f"the most memory {_ASKED}",
        values.container_memory,
        default=None,
        unset=_NO_CAP,
        config="policy.max_memory_mb",
    )
    max_cpus: float | None = setting(
        "clnrm_max_cpu",
        f"the most CPUs {_ASKED}",
        values.cpus,
        default=None,
        unset=_NO_CAP,
        config="policy.max_cpu",
    )
    max_pids: int | None = setting(
        "clnrm_max_pids",
        f"the most processes {_ASKED}",
        values.count,
        default=None,
        unset=_NO_CAP,
        config="policy.max_pids",
    )
    max_gpus: int | None = setting(
        "clnrm_max_gpus",
        f"the most GPUs {_ASKED}; `0` allows none",
        values.count_or_zero,
        default=None,
        unset=_NO_CAP,
        config="policy.max_gpus",
    )
    max_timeout_s: float | None = setting(
        "clnrm_max_timeout TIME",
        "the longest time limit that a file may ask for, for one scenario",
        values.positive_duration,
        default=None,
        unset=_NO_CAP,
        config="policy.max_timeout_ms",
    )
    max_scenario_containers: int | None = setting(
        "clnrm_max_scenario_containers",
        "how many containers one scenario, or one Python test, may have",
        values.count,
        default=None,
        unset=_NO_CAP,
        config="policy.max_scenario_containers",
    )
    max_disk_bytes: int = setting(
        "clnrm_max_disk SIZE",
        "how much each container of a scenario may write into its own layer; a scenario that is "
        "found to have written more fails",
        values.size,
        default=10 * 1024**3,
        config="policy.max_disk_mb",
    )
    max_log_bytes: int = setting(
        "clnrm_max_log SIZE",
        "how much of each container's output the engine keeps, the end of it",
        values.size,
        default=30 * _MIB,
        config="policy.max_log_mb",
    )
    max_artifacts_bytes: int = setting(
        "clnrm_max_artifacts SIZE",
        "how much of the `artifacts` of each scenario is kept, all files together; what is more is cut, and "
        "that is told",
        values.size,
        default=50 * _MIB,
        config="policy.max_artifacts_mb",
    )
    allow_bridge: bool = setting(
        "clnrm_allow_bridge",
        'whether scenario files may have a network with a way out: `network = "bridge"`, and '
        "`ports`, which need it",
        values.switch,
        default=True,
        config="policy.allow_bridge",
    )
    allow_ports: bool = setting(
        "clnrm_allow_ports",
        "whether scenario files may publish ports",
        values.switch,
        default=True,
        config="policy.allow_ports",
    )
    allow_build: bool = setting(
        "clnrm_allow_build",
        "whether scenario files may build images",
        values.switch,
        default=True,
        config="policy.allow_build",
    )
    allow_volumes: bool = setting(
        "clnrm_allow_volumes",
        "whether scenario files may mount, copy or read files of the host (`volumes`, `files`, `env_file`)",
        values.switch,
        default=True,
        config="policy.allow_volumes",
    )
    allow_cap_add: tuple[str, ...] = setting(
        "clnrm_allow_cap_add",
        "names of capabilities that services of scenario files may add (`cap_add`), such as `NET_ADMIN`",
        values.capability_name,
        default=(),
        config="policy.allow_cap_add",
    )
    allow_new_privileges: bool = setting(
        "clnrm_allow_new_privileges",
        "whether services of scenario files may let their programs gain privileges "
        "(`no_new_privileges = false`)",
        values.switch,
        default=False,
        config="policy.allow_new_privileges",
    )
    allow_mounts: tuple[Path, ...] = setting(
        "clnrm_allow_mounts",
        "folders and files outside rootdir that scenario files may mount",
        values.path,
        default=(),
    )
    allow_writable: tuple[Path, ...] = setting(
        "clnrm_allow_writable",
        "folders below which volumes of scenario files may be writable",
        values.path,
        default=(),
        docs=" ([volumes](scenario-format.md#volumes))",
        config="allow_writable",
    )
    env_allowed: tuple[str, ...] = setting(
        "clnrm_env", "names of environment variables that scenario files may read", values.text, default=()
    )
    secrets: tuple[str, ...] = setting(
        "clnrm_secrets", "names of variables whose values are shown nowhere", values.text, default=()
    )
    scheduler: Literal["strict", "xdist"] = setting(
        "clnrm_scheduler",
        "how items go to xdist's workers: `strict` (strictly by priority) or `xdist` (as xdist does)",
        values.Choice("a scheduler", "strict", "xdist"),
        default="strict",
    )
    pool_size: int = setting(
        "clnrm_pool_size",
        "how many scenarios' containers each worker keeps for the next ones, at most; they count as "
        "running ones do, but give way to whatever waits for room",
        values.count,
        default=1,
    )
    prepared_bytes: int = setting(
        "clnrm_prepared_size SIZE",
        "how much the images of prepared services may take together; those that were not used for longest go "
        "first",
        values.size,
        default=5 * 1024**3,
    )
    prepared_age_s: float = setting(
        "clnrm_prepared_age TIME",
        "how long an image of a prepared service is used, since it was made; `0` makes and uses none",
        values.duration,
        default=7 * 24 * 3600,
    )
    warm_s: float = setting(
        "--clnrm-warm TIME",
        'how long services with `scope = "run"` and idle containers stay after the run that used them last, '
        "for the next run of the same project; never where `CI` is set",
        values.duration,
        default=0.0,
        docs=" ([warm](warm.md))",
    )
    ledger_dir: Path | None = setting(
        "clnrm_ledger_dir",
        "folder in which runs on this host share what they have reserved",
        values.path,
        default=None,
        unset="the user's runtime folder",
    )
    pids: int = 512
    priorities: Mapping[str, Priority] = _NOTHING
    origins: Mapping[str, str] = _NOTHING

    def __init__(self, **given: Any) -> None:
        for name in given:
            if name not in _FIELDS:
                raise TypeError(f"there is no setting {name!r}")
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} is set once, when the settings are made")

    def __eq__(self, other: object) -> bool:
        """Tell whether all are the same, given or not."""
        if not isinstance(other, Settings):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = None  # type: ignore[assignment]

    def origin(self, name: str) -> str:
        """Return what set the field *name*, "default" if nothing did."""
        return self.origins.get(name, DEFAULT_ORIGIN)

    def matches(self, name: str) -> bool:
        """Tell whether a file of this name holds scenarios."""
        return _any_of(self.files).match(name) is not None

    def names_scenario(self, nodeid: str) -> bool:
        """Tell whether *nodeid* is a scenario's, where nothing but the node id is known."""
        file = nodeid.partition("::")[0]
        return file.endswith(".toml") or self.matches(file.rsplit("/", 1)[-1])


_FIELDS = tuple(Settings.__annotations__)


@lru_cache(maxsize=8)
def _any_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Return what names match that match one of *globs*."""
    return re.compile("|".join(map(translate, globs)) or "(?!)")


_ALL = tuple(each for each in vars(Settings).values() if isinstance(each, Setting))

SETTINGS = tuple(each for each in _ALL if each.name)
"""Those that the command line or the ini file may set."""

CONFIG_SETTINGS = tuple(each for each in _ALL if each.config)
"""Those that ``.clnrm/config.toml`` may set."""


def is_any_set(config: pytest.Config) -> bool:
    """Tell whether a file or the command line sets anything, be it to nonsense."""
    with warnings.catch_warnings():
        # pytest warns of a native value for a key that it holds to be text; our own reading judges it.
        warnings.simplefilter("ignore")
        return (config.rootpath / CONFIG_FILE).exists() or any(is_given(config, each) for each in SETTINGS)


def header_lines(settings: Settings) -> list[str]:
    """Return pytest's header line: engine, limits and cap."""
    cpus = f"{settings.cpus} {'CPU' if settings.cpus <= 1 else 'CPUs'}"
    cap = f"{settings.max_containers} {'container' if settings.max_containers == 1 else 'containers'}"
    limits = f"each container {megabytes(settings.memory_bytes)} and {cpus}"
    timeout = f"{settings.timeout_s:g} s a scenario"
    line = f"clnrm: engine {settings.engine}, {limits}, at most {cap}, {timeout}"
    return [line if line.isprintable() else repr(line)[1:-1]]


def megabytes(size: int) -> str:
    """Return a size as messages show it: ``512 MB``."""
    return f"{size / 1024**2:.10g} MB"
