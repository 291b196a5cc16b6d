"""A folder with scenario files, loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions


@dataclass(frozen=True)
class Project:
    """A rootdir.

    :param root: with its links resolved.
    """

    root: Path

    def write(self, text: str | bytes, name: str = "orders.clnrm.toml") -> str:
        """Write a scenario file and return its path."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def load(
        self, text: str | bytes, name: str = "orders.clnrm.toml", **options: Any
    ) -> tuple[Scenario, ...]:
        """Return the scenarios of a file with that text."""
        return load(self.write(text, name), LoadOptions(rootdir=str(self.root), **options))

    def one(self, text: str | bytes, **options: Any) -> Scenario:
        """Return the only scenario of a file with that text."""
        (scenario,) = self.load(text, **options)
        return scenario

    def refuse(self, text: str | bytes, name: str = "orders.clnrm.toml", **options: Any) -> list[str]:
        """Return the mistakes of a file with that text, the file called FILE."""
        with pytest.raises(ScenarioFileError) as caught:
            self.load(text, name, **options)
        return [mistake.render("FILE") for mistake in caught.value.mistakes]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return an empty rootdir."""
    return Project(tmp_path.resolve())


@pytest.fixture
def head() -> Callable[[list[str]], list[str]]:
    """Return a function that gives the first line of each mistake."""
    return lambda mistakes: [each.partition("\n")[0] for each in mistakes]
