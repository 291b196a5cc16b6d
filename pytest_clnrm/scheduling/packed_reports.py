"""Test reports on their way from a worker to the controller, each as one value.

execnet packs and unpacks dicts and lists value by value in Python. For a report with a scenario's result that
takes the controller longer than all that becomes of the report there. :mod:`marshal` does it in C, and keeps
tuples apart from lists as execnet does. It must not read what strangers wrote; a worker is none.

pytest keeps all reports to the end of the run. Short texts that are equal are one object there, as the worker
interns them and :mod:`marshal` tells of each text whether it was: of twenty thousand results the keys alone
would take hundreds of megabytes otherwise.
"""

from __future__ import annotations

import marshal
from typing import Any

import pytest

from pytest_clnrm.names import PACKED_REPORT
from pytest_clnrm.scheduling.parking import interactor_of
from pytest_clnrm.util.same_texts import with_same_texts

# That of Python 3.4, which all later ones read: a worker's Python need not be the controller's.
_VERSION = 4


class PackingWorker:
    """Plugin of a worker: packs what xdist sends of each test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Come between xdist's plugin and its channel: what other plugins make of a report stays as it is."""
        interactor = interactor_of(session.config)
        send = interactor.sendevent

        def send_packed(name: str, **given: Any) -> None:
            if name == "testreport":
                given["data"] = packed(given["data"])
            send(name, **given)

        interactor.sendevent = send_packed


def packed(data: dict[str, Any]) -> dict[str, Any]:
    """Return *data* as what :func:`unpack` takes; as it is if there is more in it than builtins.

    Then it is for xdist to say what is wrong with it.
    """
    try:
        return {PACKED_REPORT: marshal.dumps(with_same_texts(data), _VERSION)}
    except ValueError:
        return data


def unpack(data: dict[str, Any]) -> None:
    """Turn *data* into what :func:`packed` was given."""
    data.update(marshal.loads(data.pop(PACKED_REPORT)))  # noqa: S302 (of our own worker)
