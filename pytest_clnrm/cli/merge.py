"""``clnrm merge``: one report of the reports of several shards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_clnrm.cli.command import EXITS, command, say
from pytest_clnrm.util.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_clnrm.report.merge import ShardReport
    from pytest_clnrm.telemetry.merge.merged_trace import MergedSpan

NOT_WHOLE = 3


@command(
    "merge",
    examples=[
        ("merge shard-1 shard-2 shard-3 -o merged", "Three machines' reports, each in its folder."),
        ("merge shards/* -o merged", "All that CI has gathered in one folder."),
    ],
    exits={
        **EXITS,
        0: "merged, and all shards are there; whether tests have failed, the report says",
        1: "not merged: no shard's report could be read, or they are of different numbers of shards",
        NOT_WHOLE: "merged, but a shard is missing, unfinished, doubled, of other files or divided otherwise",
    },
)
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the merged report there.",
)
def merge(*, folders: tuple[Path, ...], output: Path) -> int:
    """Make one report of those of all shards of a run.

    Each DIR is what --clnrm-report has named on a machine with --clnrm-shard. The merged folder has
    report.html, report.json, trace.otlp.json, the artifacts, history.json for the next run's --clnrm-history,
    and junit.xml where each DIR has one (--junitxml=DIR/junit.xml).
    """
    if output.resolve() in {each.resolve() for each in folders}:
        raise click.UsageError(f"-o {output}: it is one of the folders that are merged")
    from pytest_clnrm.errors import ClnrmError
    from pytest_clnrm.report.merge import NoReportError, chosen, read_shard

    found, problems = [], []
    for folder in folders:
        try:
            found.append(read_shard(folder))
        except NoReportError as error:  # noqa: PERF203 # the others go on
            problems.append(str(error))
    if not found:
        raise ClnrmError("no report of a shard:\n" + "\n".join(problems))
    try:
        reports, wrong = chosen(found)
    except NoReportError as error:
        raise ClnrmError(str(error)) from None
    try:
        output.mkdir(parents=True, exist_ok=True)
        problems = _write(reports, [*problems, *wrong], output)
    except OSError as error:
        raise ClnrmError(f"{error.filename or output}: {error.strerror or error}") from None
    for problem in problems:
        say(f"clnrm: {problem}")
    say(f"{counted(len(reports), 'shard')} merged: {output / 'report.html'}")
    return NOT_WHOLE if problems else 0


def _write(reports: Sequence[ShardReport], problems: list[str], output: Path) -> list[str]:
    """Write all files; return what is wrong with the merged report.

    :raises OSError: if one cannot be written.
    """
    from pytest_clnrm.report.html_report import write_html
    from pytest_clnrm.report.json_report import write_json
    from pytest_clnrm.report.merge import merged_document

    spans = _write_trace(reports, problems, output)
    _write_history(reports, problems, output)
    _write_junit(reports, problems, output)
    _copy_artifacts((each.folder for each in reports), output)
    document = merged_document(reports, problems)
    write_json(output / "report.json", document)
    write_html(output / "report.html", document, spans)
    found: list[str] = document["session"]["problems"]
    return found


def _write_trace(reports: Iterable[ShardReport], problems: list[str], output: Path) -> Sequence[MergedSpan]:
    """Write trace.otlp.json, unless no shard has recorded spans; return what of it is to be shown."""
    from pytest_clnrm.report.html_report import MAX_SPANS
    from pytest_clnrm.report.page_data import lane_of
    from pytest_clnrm.telemetry.merge.shard_traces import MergedShards, NoTraceError, ShardTrace

    reports, traces = list(reports), []
    for each in reports:
        path = each.folder / "trace.otlp.json"
        try:
            if path.exists():
                traces.append(ShardTrace(each.number, each.name, path))
        except NoTraceError as error:
            problems.append(str(error))
    target = output / "trace.otlp.json"
    if not traces:
        target.unlink(missing_ok=True)
        return ()
    merged = MergedShards(
        traces,
        start_ns=int(min(each.start for each in reports).timestamp() * 1e9),
        end_ns=int(max(each.end for each in reports).timestamp() * 1e9),
        failed=any(each.document["session"]["exit_status"] for each in reports),
    )
    merged.write(target)
    return merged.spans(MAX_SPANS, lane_of)


def _write_history(reports: Iterable[ShardReport], problems: list[str], output: Path) -> None:
    from pytest_clnrm.history.records import History, merged
    from pytest_clnrm.history.store import HistoryError, bytes_of, read_history
    from pytest_clnrm.util.files import write_whole

    history = History()
    for each in reports:
        try:
            history = merged(history, read_history(each.folder / "history.json"))
        except HistoryError as error:  # noqa: PERF203 # the others go on
            problems.append(str(error))
    write_whole(output / "history.json", bytes_of(history))


def _write_junit(reports: Sequence[ShardReport], problems: list[str], output: Path) -> None:
    """Write junit.xml if the shards have one; that some have none is told."""
    from pytest_clnrm.report.junit import NoJUnitError, merged_junit
    from pytest_clnrm.util.files import write_whole

    paths = [each.folder / "junit.xml" for each in reports]
    there = [each for each in paths if each.exists()]
    target = output / "junit.xml"
    target.unlink(missing_ok=True)
    if not there:
        return
    problems += [f"{each}: not there, so junit.xml lacks its tests" for each in paths if each not in there]
    texts = []
    for each in there:
        try:
            text = each.read_bytes()
            merged_junit([text])
            texts.append(text)
        except NoJUnitError as error:  # noqa: PERF203 # the others go on
            problems.append(f"{each}: {error}")
    if texts:
        write_whole(target, merged_junit(texts))


def _copy_artifacts(folders: Iterable[Path], output: Path) -> None:
    """Copy the files that scenarios have kept, in place of those of an earlier merge."""
    from pytest_clnrm.names import ARTIFACTS_FOLDER, ARTIFACTS_MARK

    target = output / ARTIFACTS_FOLDER
    if (target / ARTIFACTS_MARK).is_file():
        shutil.rmtree(target)
    for folder in folders:
        source = folder / ARTIFACTS_FOLDER
        if (source / ARTIFACTS_MARK).is_file():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=_links)


def _links(folder: str, names: list[str]) -> list[str]:
    """Return what of a folder is a link: a run keeps none, and it would lead out of the folder."""
    return [name for name in names if Path(folder, name).is_symlink()]
