"""Ready-made containers: a method for each preset, and arguments over what it says."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from pytest_clnrm.items.container_arguments import service_of
from pytest_clnrm.items.presets import Presets
from pytest_clnrm.model.policy import Policy
from pytest_clnrm.model.service import Service
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.scenario.presets.library import names
from pytest_clnrm.scenario.presets.users import NO_PRESETS, UsersPresets
from pytest_clnrm.scenario.sources import Sources

DOCS = Path(__file__).parents[3] / "docs"


def made(users: UsersPresets = NO_PRESETS, **given: object) -> Service:
    """Return the service of the arguments of ``container(...)``."""
    source = Sources("/", LoadOptions(rootdir="/"))
    return service_of(None, "db", given, source=source, policy=Policy(), presets=users)


def test_each_preset_has_a_method() -> None:
    """Editors know them by these, and the docs name them."""
    methods = [name for name, _ in inspect.getmembers(Presets, inspect.isfunction) if name[0] != "_"]
    ours = [name.replace("-", "_") for name in names(NO_PRESETS)]
    assert sorted(ours) == [each for each in methods if each not in {"container", "preset"}]
    fixtures, files = ((DOCS / f"{name}.md").read_text("utf-8") for name in ("fixtures", "scenario-format"))
    assert [each for each in ours if f"{each}()`" not in fixtures] == []
    assert [each for each in names(NO_PRESETS) if f"| `{each}` |" not in files] == []


def test_arguments_win_over_a_preset() -> None:
    """Limits and variables one by one."""
    service = made(preset="postgres", env={"POSTGRES_DB": "orders"}, cpu=2)
    assert service.image == "postgres:17"
    assert service.limits.memory_bytes == 256 << 20
    assert service.limits.cpus == 2
    assert service.url_at("127.0.0.1", 40001) == "postgresql://test:test@127.0.0.1:40001/orders"


@pytest.mark.parametrize(
    ("users", "given", "told"),
    [
        ("", {"preset": "redsi"}, r"preset='redsi': there is no preset \"redsi\".*did you mean \"redis\"\?"),
        ("", {"preset": 1}, "preset=1: expected text"),
        ("", {"preset": "redis", "ports": [0]}, r"ports=\[0\]: 0 is no port"),
        ("[mine]\nimage = 1", {"preset": "mine"}, "image=.*expected text"),
        ("[mine]\npreset = 1", {"preset": "mine"}, r"\.clnrm/presets\.toml:2:1: mine\.preset: expected text"),
        ("", {"env": {"A": "b"}}, "image=None: it is the reference of an image"),
    ],
)
def test_mistakes(users: str, given: dict[str, object], told: str) -> None:
    """What is wrong is told in the words of Python, but where it stands in a file."""
    with pytest.raises(ValueError, match=told):
        made(UsersPresets("/.clnrm/presets.toml", users), **given)
