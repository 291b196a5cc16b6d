// What page_data.py wrote, as objects. Times are microseconds since the session's start.

const written = JSON.parse(byId("data").textContent);
const texts = written.texts;
const allTexts = (indexes) => indexes.map((index) => texts[index]);

const BAD = ["failed", "error", "crashed"];
const OUTCOME_ORDER = ["failed", "error", "crashed", "passed", "xpassed", "xfailed", "skipped"];
const PRIORITY_ORDER = ["high", "normal", "low"];

function readFailure(row) {
  const [message, where, step, details, kind] = allTexts(row);
  return {message, where, step, details, kind};
}

function readStep(row) {
  const [name, service, outcome, command, start, length, exitCode, attempts, stdout, stderr, failures] = row;
  return {
    name: texts[name], service: texts[service], outcome: texts[outcome], command: texts[command], start, duration: length, exitCode, attempts,
    stdout: texts[stdout], stderr: texts[stderr], failures: failures.map(readFailure),
  };
}

function readContainer(row) {
  const [id, name, service, image, reuse, memory, peak, cpus, reused, prepared, oomKilled, exitCode, logs, spans, timeline] = row;
  return {
    id: texts[id], name: texts[name], service: texts[service], image: texts[image], reuse: texts[reuse],
    memory, peak, cpus, reused, prepared, oomKilled, exitCode, logs: texts[logs], spans: texts[spans], timeline: texts[timeline],
  };
}

function readArtifact([service, path, file, size, cut]) {
  return {service: texts[service], path: texts[path], file: texts[file], size, cut};
}

function readAttempt([failures, steps, containers, artifacts]) {
  return {
    failures: failures.map(readFailure), steps: steps.map(readStep), containers: containers.map(readContainer),
    artifacts: artifacts.map(readArtifact),
  };
}

function readSource([where, first, ...lines]) {
  return [texts[where], {first, lines: allTexts(lines)}];
}

function readScenario(row, index) {
  const [nodeid, name, file, priority, outcome, worker, line, attempts, start, length, wait, tags, last, unchecked, notes,
    spanCounts, earlier, isFlaky, shard, counted, reproduce, sources, past, output] = row;
  return {
    index, nodeid: texts[nodeid], name: texts[name], file: texts[file], priority: texts[priority],
    outcome: texts[outcome], worker: texts[worker], line, attempts, start, duration: length, wait,
    tags: allTexts(tags), ...readAttempt(last), unchecked: allTexts(unchecked), notes: allTexts(notes),
    earlier: earlier.map(([began, took, ...attempt]) => ({start: began === "" ? null : began, duration: took, ...readAttempt(attempt)})),
    isFlaky, shard, outcomes: new Set([texts[outcome], ...allTexts(counted), ...(isFlaky ? ["flaky"] : [])]),
    reproduce: texts[reproduce], sources: new Map(sources.map(readSource)),
    history: past && {outcomes: texts[past[0]], durations: past.slice(1)},
    output: output.map(allTexts),
    recorded: spanCounts[0] + spanCounts[1], spans: [], bad: BAD.includes(texts[outcome]),
  };
}

function readSpans(columns, scenarios) {
  const {sources} = columns;
  const above = []; // the last span of each depth: the parents of what follows
  let start = 0;
  return columns.name.map((name, index) => {
    const [scenario, worker, service, kind, status, origin, incomplete] = sources[columns.source[index]];
    start += columns.start[index];
    const depth = columns.depth[index];
    const span = {
      index, name: texts[name], start, duration: columns.duration[index], depth, worker, service, kind, status,
      ours: origin === "runner", incomplete: Boolean(incomplete), failed: status === "error",
      scenario: typeof scenario === "number" ? scenarios[scenario] : null,
      parent: depth ? above[depth - 1] : null, children: 0,
    };
    above[depth] = span;
    if (span.parent) span.parent.children += 1;
    if (span.scenario) span.scenario.spans.push(span);
    return span;
  });
}

function readAttributes([keys, ...values]) {
  if (keys === undefined) return [];
  return written.spans.keys[keys].map((key, index) => [key, written.spans.values[values[index]]]);
}

// The rest of a span, read when it is looked at; null if there was no room for it.
function spanDetails(span) {
  const row = written.spans.details[span.index];
  if (!row) return null;
  const {values} = written.spans;
  const [id, trace, resource, attributes = [], message = "", events = [], links = []] = row;
  return {
    id, trace: values[trace], resource: Object.entries(values[resource]), attributes: readAttributes(attributes), message,
    events: events.map(([name, offset, ...rest]) => ({name: values[name], offset, attributes: readAttributes(rest)})),
    links,
  };
}

const scenarios = written.scenarios.map(readScenario);
const spans = readSpans(written.spans, scenarios);

// Where a scenario stands for a reader: its message, or its file.
function cause(scenario) {
  if (scenario.failures.length) return scenario.failures[0].message;
  return scenario.bad ? scenario.outcome : "";
}
