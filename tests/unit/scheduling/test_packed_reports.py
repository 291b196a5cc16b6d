"""Test reports as one value on their way."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.names import PACKED_REPORT
from pytest_clnrm.scheduling.packed_reports import PackingWorker, packed, unpack

DATA: dict[str, Any] = {
    "location": ("test_a.py", 1, "test_a"),
    "sections": [("call", "caf\u00e9 \udc80")],
    "longrepr": None,
    "duration": 0.1 + 0.2,
    "wide": 1 << 70,
    "raw": b"\xff",
}


class WorkerInteractor:
    """What xdist registers in a worker."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def sendevent(self, name: str, **given: Any) -> None:
        """Note what would be sent."""
        self.sent.append((name, given))


def test_arrives_as_it_was() -> None:
    """All builtins are what they were: tuples are tuples. What was added on the way stays."""
    data = packed(DATA)
    assert list(data) == [PACKED_REPORT]
    data["added"] = 1
    unpack(data)
    assert data == {**DATA, "added": 1}
    assert type(data["location"]) is tuple


def test_equal_short_texts_arrive_as_one() -> None:
    """Keys and values of two reports, which have their own copies of each, are the same objects."""
    reports = []
    for _ in range(2):
        data = packed(json.loads('{"clnrm": {"some key": ["some value"]}}'))
        unpack(data)
        reports.append(data["clnrm"])
    (key, value), (other_key, other_value) = (next(iter(each.items())) for each in reports)
    assert key is other_key
    assert value[0] is other_value[0]


@pytest.mark.parametrize("value", [object(), type("Text", (str,), {})("text")])
def test_what_is_no_builtin_is_left_to_xdist(value: object) -> None:
    """Such a report is sent as it would be without us."""
    data = {"user_properties": [("key", value)]}
    assert packed(data) is data


def test_reports_of_tests_alone_are_packed() -> None:
    """All else that a worker sends stays as xdist made it."""
    interactor = WorkerInteractor()
    config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugins=lambda: [object(), interactor]))
    session: Any = SimpleNamespace(config=config)
    PackingWorker().pytest_runtestloop(session)
    interactor.sendevent("testreport", data=dict(DATA))
    interactor.sendevent("collectreport", data=dict(DATA))
    interactor.sendevent("logstart", nodeid="a", location=("a", 1, "a"))
    (_, report), *others = interactor.sent
    assert list(report["data"]) == [PACKED_REPORT]
    assert others == [
        ("collectreport", {"data": DATA}),
        ("logstart", {"nodeid": "a", "location": ("a", 1, "a")}),
    ]
