"""What tests of the cluster engine share: an API server of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clnrm_testing.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Return an API server."""
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()
