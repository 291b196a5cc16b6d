"""Settings as pytest itself hands them on: help, header, ini formats, errors, workers."""

from __future__ import annotations

import pytest
from clnrm_testing.requirements import needs_xdist

from pytest_clnrm.session.lazy import settings_of
from pytest_clnrm.settings.settings import SETTINGS

MIB = 1024**2


@pytest.fixture(autouse=True)
def _no_addopts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's own options out of the runs."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def test_help(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options stand in a group of their own; each and each ini key has its help and default."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = pytester.runpytest("--help").stdout.str()
    # Older versions of pytest wrap at hyphens: compare without any blank.
    group = shown.partition("\nclnrm (scenario files in containers):\n")[2]
    helped = "".join(group.split())
    for setting in SETTINGS:
        about = f"{setting.help} (default: {setting.default})"
        if setting.option:
            shown = setting.option if setting.flag else f"{setting.option}={setting.metavar}"
            assert "".join(f"{shown}{about}".split()) in helped
            about = f"As {setting.option} (default: {setting.default})"
        assert "".join(f"{setting.ini} ({setting.kind}): {about}".split()) in helped


def test_header(pytester: pytest.Pytester) -> None:
    """The header says engine, limits and cap."""
    result = pytester.runpytest("--clnrm-memory=1g", "--clnrm-cpu=2", "--clnrm-max-containers=1")
    result.stdout.fnmatch_lines(
        ["clnrm: engine auto, each container 1024 MB and 2.0 CPUs, at most 1 container, 300 s a scenario"]
    )


NATIVE = """
[tool.pytest]
clnrm_memory = 256
clnrm_cpu = 0.5
clnrm_timeout = "90s"
clnrm_strict = true
clnrm_files = ["*.a", "*.b"]
"""
OLD_STYLE = """
[tool.pytest.ini_options]
clnrm_memory = 256
clnrm_cpu = "0.5"
clnrm_timeout = "90s"
clnrm_strict = true
clnrm_files = "*.a *.b"
"""
INI = """
[pytest]
clnrm_memory = 256
clnrm_cpu = 0.5
clnrm_timeout = 90s
clnrm_strict = true
clnrm_files =
    *.a
    *.b
"""
native_only = pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="[tool.pytest] is pytest 9's")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("pyproject.toml", NATIVE, marks=native_only),
        ("pyproject.toml", OLD_STYLE),
        ("pytest.ini", INI),
    ],
    ids=["native", "old-style", "ini"],
)
def test_ini_formats(pytester: pytest.Pytester, name: str, text: str) -> None:
    """Native, quoted and plain values mean the same, and no warning is given."""
    (pytester.path / name).write_text(text, encoding="utf-8")
    settings = settings_of(pytester.parseconfig())
    assert (settings.memory_bytes, settings.cpus, settings.timeout_s) == (256 * MIB, 0.5, 90.0)
    assert (settings.strict, settings.files) == (True, ("*.a", "*.b"))
    assert settings.origin("memory_bytes") == f"{name}:3: clnrm_memory"


@native_only
def test_native_value_of_the_wrong_type(pytester: pytest.Pytester) -> None:
    """A native value that is wrong is our own error, with file and line."""
    pytester.makepyprojecttoml('[tool.pytest]\nclnrm_memory = [512]\nclnrm_strict = "perhaps"\n')
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: pyproject.toml:2: clnrm_memory: [[]512[]] is not a size: a whole number of MB such as*",
            "pyproject.toml:3: clnrm_strict: 'perhaps' is not a switch: true or false",
        ]
    )


def test_precedence(pytester: pytest.Pytester) -> None:
    """Each source gives way to the one before it, and hides nothing it does not name."""
    (pytester.path / ".clnrm").mkdir()
    (pytester.path / ".clnrm" / "config.toml").write_text(
        "[executor]\nmax_concurrent_containers = 3\nscenario_timeout_ms = 3000\ncontainer_cpu_limit = 3\n"
    )
    pytester.makeini("[pytest]\nclnrm_timeout = 2\nclnrm_cpu = 2\nclnrm_keep = failed\n")
    settings = settings_of(pytester.parseconfig("--clnrm-cpu=1", "-o", "clnrm_keep=never"))
    assert (settings.cpus, settings.timeout_s, settings.max_containers) == (1.0, 2.0, 3)
    assert (settings.keep, settings.priority) == ("never", "normal")


def test_usage_error(pytester: pytest.Pytester) -> None:
    """Wrong values are one error that names option, key and file, and no test runs."""
    pytester.makepyfile("def test_it(): raise SystemExit('must not run')")
    (pytester.path / ".clnrm").mkdir()
    (pytester.path / ".clnrm" / "config.toml").write_text("[executor]\nworker_cuont = 3\n")
    pytester.makeini("[pytest]\nclnrm_scheduler = fair\n")
    result = pytester.runpytest("--clnrm-timeout=soon", "-o", "clnrm_strict=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: .clnrm/config.toml:2:1: executor.worker_cuont: is not known; *did you mean worker_c*",
            "    worker_cuont = 3",
            "    ^",
            "--clnrm-timeout: 'soon' is not a time: a number of seconds such as 90, or text*",
            "-o clnrm_strict: 'maybe' is not a switch: true or false",
            "tox.ini:2: clnrm_scheduler: 'fair' is not a scheduler: strict or xdist",
        ]
    )
    result.stdout.no_fnmatch_line("*must not run*")


def test_config_file_syntax_error(pytester: pytest.Pytester) -> None:
    """A config file that is not TOML is one error with line and column."""
    (pytester.path / ".clnrm").mkdir()
    (pytester.path / ".clnrm" / "config.toml").write_text("[executor]\nenabled = yes\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: .clnrm/config.toml:2:11: *", "    enabled = yes", "              ^"])


@needs_xdist
def test_workers_hold_the_same(pytester: pytest.Pytester) -> None:
    """Every worker of xdist holds settings equal to the controller's, relative folders included."""
    (pytester.path / ".clnrm").mkdir()
    (pytester.path / ".clnrm" / "config.toml").write_text('[executor.priorities]\nslow = "low"\n')
    pytester.makeini("[pytest]\nclnrm_allow_mounts = data\nclnrm_env = CI\n")
    pytester.makeconftest(
        """
        from pytest_clnrm.session.lazy import settings_of

        def pytest_configure(config):
            config.clnrm_test = repr(sorted(vars(settings_of(config)).items()))

        def pytest_configure_node(node):
            node.workerinput["clnrm_test"] = node.config.clnrm_test
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_same(pytestconfig, n):
            assert pytestconfig.workerinput["clnrm_test"] == pytestconfig.clnrm_test
            assert "PosixPath" in pytestconfig.clnrm_test
        """
    )
    result = pytester.runpytest_subprocess(
        "-n2", "--clnrm-report=out", "--clnrm-image-map=a=b", "--clnrm-memory=1g"
    )
    result.assert_outcomes(passed=4)
