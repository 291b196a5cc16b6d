"""The trace of a whole run, made by the controller at its end: merged, written, sent to a collector."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.span import AttributeValue
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.merge.collector import SpanCollector
    from pytest_clnrm.telemetry.merge.merged_trace import MergedTrace

TRACE_FILE = "trace.otlp.json"
SESSION_WORKER = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrace:
    """The merged spans of a run.

    :param trace: all of them.
    :param lines: what a user should know of the merge, a sentence each.
    """

    trace: MergedTrace
    lines: tuple[str, ...]

    def collector(self) -> SpanCollector:
        """Return all spans of the run, each with the name of its scenario; "" for the session's own."""
        from pytest_clnrm.telemetry.merge.collector import SpanCollector, from_span

        collector = SpanCollector()
        for each in self.trace.spans(sys.maxsize):
            file, _, name = each.scenario.partition("::")
            collector.collect_span(from_span(each.span, name or file))
        return collector


def complete_crashed(results: Mapping[str, dict[str, Any]], trace: MergedTrace) -> None:
    """Complete the results of scenarios whose worker died, from the spans that it had recorded.

    :param results: the data of all results, by node id.
    """
    crashed = {nodeid: result for nodeid, result in results.items() if result["outcome"] == "crashed"}
    if not crashed:
        return
    runner, workload = trace.counts()
    for each in trace.unfinished():
        if each.span.name != "clnrm.scenario" or each.scenario not in crashed:
            continue
        span, attributes = each.span, each.span.attributes
        started = datetime.fromtimestamp(span.start_ns / 1e9, tz=timezone.utc)
        crashed[each.scenario].update(
            worker=each.worker,
            started=started.isoformat(timespec="microseconds"),
            duration_s=(span.end_ns - span.start_ns) / 1e9,
            file=str(attributes["code.file.path"]),
            line=attributes["code.line.number"],
            priority=str(attributes["clnrm.priority"]),
            spans={"runner": runner[each.scenario], "workload": workload[each.scenario]},
        )


def merge_spans(
    runtime: Runtime,
    *,
    start_s: float,
    failed: bool,
    attributes: Mapping[str, AttributeValue],
    directory: Path | None,
) -> RunTrace | None:
    """Merge what all processes of the run recorded and received; None if there is nothing.

    The session's span has the ids that the workers were given as their parent.

    :param start_s: when the session began, seconds since the epoch.
    :param directory: where trace.otlp.json is written, None for nowhere.
    :raises OSError: if a file cannot be read or written.
    """
    folder = runtime.spans_folder()
    if folder is None or not folder.is_dir():
        return None
    from pytest_clnrm.telemetry.merge.merged_trace import MergedTrace
    from pytest_clnrm.telemetry.record.recorder import Recorder
    from pytest_clnrm.telemetry.record.resource import resource_attributes

    recorder = Recorder(
        folder,
        SESSION_WORKER,
        resource_attributes("controller", os.environ),
        os.environ.get("TRACEPARENT"),
        first=runtime.traceparent,
    )
    recorder.add(
        "clnrm.session",
        None,
        int(start_s * 1e9),
        recorder.now_ns(),
        attributes,
        error="tests failed" if failed else "",
    )
    recorder.close()
    trace = MergedTrace(folder)
    lines = [recorder.off_reason] if recorder.off_reason else []
    if directory is not None:
        written = trace.write(directory / TRACE_FILE)
        if written.incomplete:
            lines.append(f"{written.incomplete} spans were still running when their worker died")
        if written.torn:
            lines.append(f"{written.torn} records of spans were cut off and are left out")
    lines += _forward(runtime, trace)
    return RunTrace(trace=trace, lines=tuple(lines))


def _forward(runtime: Runtime, trace: MergedTrace) -> list[str]:
    """Send the trace to a collector if one is named; return why it was not sent whole."""
    from pytest_clnrm.telemetry.merge.forward import forward, target_of

    target = target_of(runtime.settings.otlp_endpoint, os.environ)
    if target is None:
        return []
    problem = forward(trace.groups(), target)
    return [f"the trace was not sent whole: {problem}"] if problem else []
