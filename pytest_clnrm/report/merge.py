"""One report of the reports of several shards, and what is wrong with it. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from pytest_clnrm.report.json_report import REPORT_FORMAT, report_document
from pytest_clnrm.report.page_data import page_data

NOTHING_RAN = 5
"""pytest's exit status of a run without tests, which says nothing beside another one."""

_SHOWN = 12
_MOST = 9999


class NoReportError(Exception):
    """A folder has no report of a shard; the message says why."""


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What one shard has reported.

    :param folder: where it was found.
    :param document: that of :func:`pytest_clnrm.report.json_report.report_document`, with ``session.shard``.
    """

    folder: Path
    document: Mapping[str, Any]

    @property
    def shard(self) -> Mapping[str, Any]:
        """Return which of how many it is, and what was divided."""
        found: Mapping[str, Any] = self.document["session"]["shard"]
        return found

    @property
    def number(self) -> int:
        """Return which one it is, from 1."""
        return int(self.shard["number"])

    @property
    def name(self) -> str:
        """Return what it is called: ``2/3``."""
        return f"{self.number}/{self.shard['of']}"

    @property
    def start(self) -> datetime:
        """Return when it began."""
        return datetime.fromisoformat(self.document["session"]["started"])

    @property
    def end(self) -> datetime:
        """Return when it ended."""
        return self.start + timedelta(seconds=self.document["session"]["duration_s"])


def read_shard(folder: Path) -> ShardReport:
    """Return the report in a folder.

    :raises NoReportError: if there is none of a shard.
    """
    path = folder / "report.json"
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise NoReportError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise NoReportError(f"{path}: no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != REPORT_FORMAT:
        raise NoReportError(f"{path}: no report of the form {REPORT_FORMAT}")
    report = ShardReport(folder, document)
    try:
        _check(report)
    except NoReportError as error:
        raise NoReportError(f"{path}: {error}") from None
    except _DAMAGED as error:
        raise NoReportError(f"{path}: a damaged report: {error!r}") from None
    return report


_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What comes of values of other types, and of keys that are not there."""


def _check(report: ShardReport) -> None:
    """Look at all that merging needs of a report, which somebody may have changed.

    :raises NoReportError: if it is none of a shard; one of :data:`_DAMAGED` if it is broken.
    """
    page_data(report.document, ())
    session = report.document["session"]
    if "shard" not in session:
        raise NoReportError("the report of a whole run, without --clnrm-shard")
    if not 1 <= report.number <= int(report.shard["of"]) <= _MOST:
        raise NoReportError(f"{report.name} is no shard")
    # Each of these fails for what is no time, or no number.
    _ = report.end - datetime.now(timezone.utc)
    _ = Counter(session.get("counts", {})).total() + session["workers"] + session["exit_status"]
    _ = int(report.shard.get("tests") or 0) + _told(report)["max_containers"]


def chosen(reports: Iterable[ShardReport]) -> tuple[list[ShardReport], list[str]]:
    """Return one report of each shard that is there, by number, and what is wrong with them.

    Of one that is there twice the one that began last counts: its job was run again.

    :raises NoReportError: if they are of divisions into different numbers of shards.
    """
    problems: list[str] = []
    found: dict[int, ShardReport] = {}
    for each in sorted(reports, key=lambda report: (report.number, report.start, str(report.folder))):
        first = next(iter(found.values()), each)
        if each.shard["of"] != first.shard["of"]:
            raise NoReportError(
                f"{first.folder} is shard {first.name}, and {each.folder} is shard {each.name}: all have to "
                "be of one number of shards"
            )
        if each.number in found:
            earlier = found[each.number].folder
            problems.append(
                f"shard {each.name} is there twice: {each.folder}, which began last, counts, "
                f"and not {earlier}"
            )
        found[each.number] = each
    kept = [found[number] for number in sorted(found)]
    return kept, [*problems, *_missing(kept), *map(_not_run, filter(_not_run, kept)), *_differences(kept)]


def _not_run(report: ShardReport) -> str:
    """Return that a shard has ended before all of its tests had run, "" if it has not."""
    ran = len(report.document["scenarios"]) + len(report.document.get("tests", ()))
    tests = int(report.shard.get("tests") or 0)
    return f"shard {report.name} has run {ran} of its {tests} tests" if ran < tests else ""


def _missing(reports: Sequence[ShardReport]) -> list[str]:
    of = int(reports[0].shard["of"])
    there = {each.number for each in reports}
    gone = [f"{number}/{of}" for number in range(1, of + 1) if number not in there]
    if not gone:
        return []
    return [f"{_shards(gone)} missing: what would have run there is not in this report"]


def _shards(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"shard {shown} is" if len(names) == 1 else f"shards {shown}{more} are"


def _differences(reports: Sequence[ShardReport]) -> list[str]:
    """Return in what the shards differ that all of a run have in common."""
    problems = []
    unknown = [each.name for each in reports if not each.shard.get("collection")]
    if unknown:
        problems.append(f"{_shards(unknown)} of a run that ended before its tests were divided")
    commits = _groups(reports, "commit")
    if len(commits) > 1:
        problems.append(f"the shards are of different commits: {_listed(commits)}")
    collections = _groups(reports, "collection")
    if len(collections) > 1:
        counts = _groups(reports, "all_tests")
        told = f" ({_listed(counts)} tests)" if len(counts) > 1 else ""
        problems.append(
            f"the shards have collected different tests{told}: some may be in no shard, or in two; all need "
            "the same files, options and environment"
        )
    elif len(_groups(reports, "division")) > 1:
        problems.append(
            "the shards have divided the same tests differently: some may be in no shard, or in two; all "
            "need the same file of --clnrm-history"
        )
    return problems


def _groups(reports: Iterable[ShardReport], key: str) -> dict[str, list[str]]:
    """Return the values that shards have under a key, and which of them have it."""
    groups: dict[str, list[str]] = {}
    for each in reports:
        if each.shard.get(key):
            groups.setdefault(str(each.shard[key]), []).append(each.name)
    return groups


def _listed(groups: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{value} of {' and '.join(names)}" for value, names in groups.items())


def merged_document(reports: Sequence[ShardReport], problems: Sequence[str]) -> dict[str, Any]:
    """Return the document of report.json of the whole run.

    What a file that could not be collected, or was skipped as a whole, has in each shard, it has once.

    :param reports: one of each shard, as :func:`chosen` returns them.
    :param problems: what else is wrong.
    """
    counts: Counter[str] = Counter()
    for each in reports:
        counts.update(each.document["session"].get("counts", {}))
    homes: dict[str, int] = {}
    twice: list[str] = []
    rows: dict[str, list[dict[str, Any]]] = {"scenarios": [], "tests": []}
    for each in reports:
        mine = set()
        for kind, found in rows.items():
            for row in each.document.get(kind, ()):
                nodeid = row["nodeid"]
                mine.add(nodeid)
                if nodeid not in homes:
                    found.append({**row, "shard": each.number})
                elif not row["started"]:
                    # No item, but a file of which nothing was collected.
                    counts[row["outcome"]] -= 1
                else:
                    found.append({**row, "shard": each.number})
                    twice.append(nodeid)
        homes.update((nodeid, each.number) for nodeid in mine)
    if twice:
        noun = "test was" if len(twice) == 1 else "tests were"
        problems = [*problems, f"{len(twice)} {noun} run by two shards, the first of them {twice[0]}"]
    for found in rows.values():
        found.sort(key=lambda row: (_end(row), row["nodeid"]))
    session = _session(reports, counts, problems)
    return report_document(session, rows["scenarios"], rows["tests"])


def _end(row: Mapping[str, Any]) -> float:
    started = row["started"]
    return datetime.fromisoformat(started).timestamp() + row["duration_s"] if started else 0.0


def _session(
    reports: Sequence[ShardReport], counts: Mapping[str, int], problems: Sequence[str]
) -> dict[str, Any]:
    sessions = [each.document["session"] for each in reports]
    start, end = min(each.start for each in reports), max(each.end for each in reports)
    statuses = {each["exit_status"] for each in sessions}

    def all_of(key: str, join: Callable[[Iterable[Any]], Any]) -> Any:
        given = [each[key] for each in sessions if each.get(key)]
        return join(given) if given else sessions[0].get(key)

    return {
        "id": sessions[0]["id"],
        "started": start.isoformat(timespec="microseconds"),
        "duration_s": (end - start).total_seconds(),
        # The worst: what was interrupted or broken before what has failed.
        "exit_status": max(statuses - {NOTHING_RAN}, default=NOTHING_RAN),
        "workers": sum(each["workers"] for each in sessions),
        "engine": all_of("engine", lambda given: ", ".join(dict.fromkeys(given))),
        "max_containers": all_of("max_containers", max),
        "memory_budget_bytes": all_of("memory_budget_bytes", max),
        "counts": {outcome: count for outcome, count in counts.items() if count},
        "commit": next(iter(_groups(reports, "commit")), ""),
        "shards": [_told(each) for each in reports],
        "problems": list(problems),
    }


def _told(report: ShardReport) -> dict[str, Any]:
    """Return what the merged report tells of a shard."""
    session = report.document["session"]
    own = ("id", "started", "duration_s", "exit_status", "workers", "engine", "max_containers")
    return {**{key: session[key] for key in own}, **report.shard}
