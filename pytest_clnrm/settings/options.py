"""The table of all settings with their command line options and ini keys, and how pytest is told of them.

A setting that users can make is one :class:`Setting` in :data:`SETTINGS` and one field of
:class:`pytest_clnrm.settings.settings.Settings`; documentation and precedence follow from that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pytest_clnrm.settings import values

if TYPE_CHECKING:
    import pytest

_OF_A_SCENARIO = {"memory", "cpu", "timeout", "engine", "image_map", "pull", "pool", "spans"}
"""Names of the settings that may change what one scenario does."""


class Setting(NamedTuple):
    """One setting.

    :param name: ``memory`` for the ini key ``clnrm_memory`` and the option ``--clnrm-memory``.
    :param field: the field of Settings that it fills.
    :param parse: returns the value, of each member where ``kind`` is a list.
    :param help: what it does, with its unit.
    :param default: the default as users would write it, or what happens without the setting.
    :param metavar: what stands behind the option; None if there is no option, only an ini key.
    :param optional: True if an empty value takes the setting back.
    :param flag: True for an option with nothing behind it.
    """

    name: str
    field: str
    parse: Callable[[object], object]
    help: str
    default: str
    metavar: str | None = None
    kind: Literal["string", "bool", "args"] = "string"
    optional: bool = False
    flag: bool = False

    @property
    def ini(self) -> str:
        """Return the ini key; the option's value stands under the same name in ``config.option``."""
        return f"clnrm_{self.name}"

    @property
    def option(self) -> str | None:
        """Return the command line option, None if there is none."""
        return f"--{self.ini.replace('_', '-')}" if self.metavar or self.flag else None


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="memory",
        field="memory_bytes",
        parse=values.container_memory,
        metavar="SIZE",
        help="Memory limit of each container, swap included: 512 means MB, 512m and 1g work too. "
        "For a limit on all containers together see --clnrm-memory-budget",
        default="512",
    ),
    Setting(
        name="cpu",
        field="cpus",
        parse=values.cpus,
        metavar="CPUS",
        help="CPU limit of each container, in CPUs, such as 0.5 or 2; it may exceed 1",
        default="1.0",
    ),
    Setting(
        name="timeout",
        field="timeout_s",
        parse=values.positive_duration,
        metavar="TIME",
        help="Time limit of each scenario that names none, in seconds; 90s and 1.5m work too. "
        "Waiting for containers and pulling images do not count",
        default="300",
    ),
    Setting(
        name="max_containers",
        field="max_containers",
        parse=values.count,
        metavar="N",
        help="How many containers run at the same time, over all workers and all runs on this host",
        default="10",
    ),
    Setting(
        name="memory_budget",
        field="memory_budget_bytes",
        parse=values.container_memory,
        metavar="SIZE",
        help="Memory limit of all containers together, over all workers and all runs on this host: "
        "8192 means MB, 8g works too. For the limit of each see --clnrm-memory",
        default="80 % of the engine's memory",
        optional=True,
    ),
    Setting(
        name="cpu_budget",
        field="cpu_budget",
        parse=values.cpus,
        metavar="CPUS",
        help="CPU limit of all containers together, over all workers and all runs on this host",
        default="none: containers share the engine's CPUs",
        optional=True,
    ),
    Setting(
        name="gpus",
        field="gpus",
        parse=values.count_or_none,
        metavar="N",
        help="How many GPUs scenarios may use at the same time, over all workers and all runs on this host",
        default="what the engine reports",
        optional=True,
    ),
    Setting(
        name="autoscale",
        field="autoscale",
        parse=values.worker_range,
        metavar="MIN:MAX",
        help="Let the number of workers follow the queue, between these two; needs -n, which says how many "
        "there are at the start",
        default="as many as -n says",
        optional=True,
    ),
    Setting(
        name="slot_timeout",
        field="slot_timeout_s",
        parse=values.duration,
        metavar="TIME",
        help="How long an item waits for its containers to be admitted, in seconds; 90s and 1.5m work too",
        default="as long as it takes",
        optional=True,
    ),
    Setting(
        name="priority",
        field="priority",
        parse=values.priority,
        metavar="high|normal|low",
        help="Priority of the items that name none. It selects nothing: use -m or -k for that",
        default="normal",
    ),
    Setting(
        name="engine",
        field="engine",
        parse=values.engine,
        metavar="auto|embedded|URL",
        help="Container engine: auto takes the one that answers, embedded starts one where none answers, "
        "a URL such as unix:///var/run/docker.sock or tcp://host:2375 names one",
        default="auto",
    ),
    Setting(
        name="image_map",
        field="image_map",
        parse=values.image_mapping,
        metavar="OLD=NEW",
        kind="args",
        help="Use the image NEW where a file says OLD, which may be a glob. May be repeated; the first that "
        "matches counts, those of the command line before those of the ini file",
        default="images as written",
    ),
    Setting(
        name="pull",
        field="pull",
        parse=values.choice("a pull policy", "always", "missing", "never"),
        metavar="always|missing|never",
        help="When images are pulled",
        default="missing",
    ),
    Setting(
        name="report",
        field="report_dir",
        parse=values.path,
        metavar="DIR",
        help="Write the report (report.html, report.json, trace.otlp.json) into this folder",
        default="no report is written",
        optional=True,
    ),
    Setting(
        name="keep",
        field="keep",
        parse=values.choice("a choice of what to keep", "never", "failed"),
        metavar="never|failed",
        help="Whether containers of failed scenarios stay, to be looked at",
        default="never",
    ),
    Setting(
        name="pool",
        field="pool",
        parse=values.choice("a way to pool containers", "proven", "inside", "off"),
        metavar="proven|inside|off",
        help="Whether a container serves another scenario of the same specification: proven means only if "
        "it is shown to be unchanged, from outside; inside also asks programs in it, for trusted scenarios",
        default="proven",
    ),
    Setting(
        name="spans",
        field="collect_spans",
        parse=values.on_off,
        metavar="on|off",
        help="Record OpenTelemetry spans of the run, and receive those of programs in the containers",
        default="on",
    ),
    Setting(
        name="otlp_endpoint",
        field="otlp_endpoint",
        parse=values.text,
        metavar="URL",
        help="Send the run's trace to this OTLP/HTTP collector at the end, such as http://localhost:4318",
        default="OTEL_EXPORTER_OTLP_ENDPOINT, if it is set",
        optional=True,
    ),
    Setting(
        name="show_workers",
        field="show_workers",
        parse=values.switch,
        kind="bool",
        flag=True,
        help="Show what each worker is at, and what waits: below pytest's own output on a terminal; in a log "
        "a line for whatever takes long",
        default="false",
    ),
    Setting(
        name="slow_after",
        field="slow_after_s",
        parse=values.positive_duration,
        help="When --clnrm-show-workers writes to a log: after how long something that waits or runs "
        "is told, in seconds; again each time that it has doubled",
        default="30",
    ),
    Setting(
        name="files",
        field="files",
        parse=values.text,
        kind="args",
        help="Globs of the names of scenario files. A file named on the command line is always collected",
        default="*.clnrm.toml",
    ),
    Setting(
        name="default_image",
        field="default_image",
        parse=values.text,
        help="Image of the container for steps that name no service",
        default="alpine:latest",
    ),
    Setting(
        name="strict",
        field="strict",
        parse=values.switch,
        kind="bool",
        help="Whether a claim of a file that is not checked is an error rather than a warning",
        default="false",
    ),
    Setting(
        name="builder",
        field="builder",
        parse=values.choice("a builder", "engine", "buildkit"),
        help="What builds images: engine (the engine's own builder, under the service's limits) or buildkit "
        "(by the command docker buildx, which limits neither memory, CPUs nor processes)",
        default="engine",
    ),
    Setting(
        name="max_context",
        field="max_context_bytes",
        parse=values.size,
        help="The largest context of a build, as it is sent to the engine: 512 means MB, 1g works too",
        default="1g",
    ),
    Setting(
        name="max_memory",
        field="max_memory_bytes",
        parse=values.container_memory,
        help="The most memory that a file may ask for, for one container: 1024 means MB, 1g works too",
        default="no cap",
        optional=True,
    ),
    Setting(
        name="max_cpu",
        field="max_cpus",
        parse=values.cpus,
        help="The most CPUs that a file may ask for, for one container",
        default="no cap",
        optional=True,
    ),
    Setting(
        name="max_pids",
        field="max_pids",
        parse=values.count,
        help="The most processes that a file may ask for, for one container",
        default="no cap",
        optional=True,
    ),
    Setting(
        name="max_gpus",
        field="max_gpus",
        parse=values.count_or_none,
        help="The most GPUs that a file may ask for, for one container; 0 allows none",
        default="no cap",
        optional=True,
    ),
    Setting(
        name="max_timeout",
        field="max_timeout_s",
        parse=values.positive_duration,
        help="The longest time limit that a file may ask for, for one scenario, in seconds; 90s works too",
        default="no cap",
        optional=True,
    ),
    Setting(
        name="max_scenario_containers",
        field="max_scenario_containers",
        parse=values.count,
        help="How many containers one scenario, or one Python test, may have",
        default="no cap",
        optional=True,
    ),
    Setting(
        name="max_disk",
        field="max_disk_bytes",
        parse=values.size,
        help="How much each container of a scenario may write into its own layer; a scenario that is found "
        "to have written more fails: 512 means MB, 10g works too",
        default="10g",
    ),
    Setting(
        name="max_log",
        field="max_log_bytes",
        parse=values.size,
        help="How much of each container's output the engine keeps, the end of it: 30 means MB, 1g works too",
        default="30m",
    ),
    Setting(
        name="allow_bridge",
        field="allow_bridge",
        parse=values.switch,
        kind="bool",
        help='Whether scenario files may have a network with a way out: network = "bridge", '
        "and ports, which need it",
        default="true",
    ),
    Setting(
        name="allow_ports",
        field="allow_ports",
        parse=values.switch,
        kind="bool",
        help="Whether scenario files may publish ports",
        default="true",
    ),
    Setting(
        name="allow_build",
        field="allow_build",
        parse=values.switch,
        kind="bool",
        help="Whether scenario files may build images",
        default="true",
    ),
    Setting(
        name="allow_volumes",
        field="allow_volumes",
        parse=values.switch,
        kind="bool",
        help="Whether scenario files may mount files of the host",
        default="true",
    ),
    Setting(
        name="allow_mounts",
        field="allow_mounts",
        parse=values.path,
        kind="args",
        help="Folders and files outside rootdir that scenario files may mount",
        default="none",
    ),
    Setting(
        name="allow_writable",
        field="allow_writable",
        parse=values.path,
        kind="args",
        help="Folders below which volumes of scenario files may be writable",
        default="none",
    ),
    Setting(
        name="env",
        field="env_allowed",
        parse=values.text,
        kind="args",
        help="Names of environment variables that scenario files may read",
        default="none",
    ),
    Setting(
        name="secrets",
        field="secrets",
        parse=values.text,
        kind="args",
        help="Names of variables whose values are shown nowhere",
        default="none",
    ),
    Setting(
        name="scheduler",
        field="scheduler",
        parse=values.choice("a scheduler", "strict", "xdist"),
        help="How items go to xdist's workers: strict or xdist (strictly by priority, or as xdist does)",
        default="strict",
    ),
    Setting(
        name="pool_size",
        field="pool_size",
        parse=values.count,
        help="How many scenarios' containers each worker keeps for the next ones, at most; they count as "
        "running ones do, but give way to whatever waits for room",
        default="1",
    ),
    Setting(
        name="ledger_dir",
        field="ledger_dir",
        parse=values.path,
        help="Folder in which runs on this host share what they have reserved",
        default="the user's runtime folder",
        optional=True,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and ini key of :data:`SETTINGS`.

    No default is given to pytest: a default on the command line would hide what the ini file says.
    """
    group = parser.getgroup("clnrm", "clnrm (scenario files in containers)")
    for setting in SETTINGS:
        about = f"{setting.help} (default: {setting.default})"
        if setting.option:
            group.addoption(
                setting.option,
                dest=setting.ini,
                default=None,
                **_action(setting),
                # argparse formats help texts with the % operator.
                help=about.replace("%", "%%"),
            )
            about = f"As {setting.option} (default: {setting.default})"
        parser.addini(setting.ini, about, type=setting.kind, default=None)


def options_to_repeat(config: pytest.Config) -> list[str]:
    """Return what the command line has to say again for a scenario to run as it did."""
    given = config.option
    words = [f"--{name}={value}" for name, value in (("rootdir", given.rootdir),) if value]
    words += [f"--config-file={value}" for value in (given.inifilename,) if value]
    # pytest keeps switches such as --strict-markers there too.
    words += [f"-o{value}" for value in given.override_ini or () if value.startswith("clnrm_")]
    for setting in SETTINGS:
        value = getattr(given, setting.ini, None) if setting.name in _OF_A_SCENARIO else None
        if value is not None:
            words += [f"{setting.option}={each}" for each in (value if isinstance(value, list) else [value])]
    return words


def _action(setting: Setting) -> dict[str, Any]:
    if setting.flag:
        return {"action": "store_true"}
    return {"action": "append" if setting.kind == "args" else "store", "metavar": setting.metavar}
