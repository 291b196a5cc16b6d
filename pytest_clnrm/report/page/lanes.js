// What the timeline shows: the lanes of the workers, and the colours of what happened there.

const MAX_ROWS = 9; // below a scenario's own

// What is drawn: colours by name of a custom property, and their meaning for the legend.
const PHASES = [
  [/^clnrm\.slot\.wait$/, "wait"], [/^clnrm\.image\./, "pull"], [/^clnrm\.container\.stop$/, "stop"],
  [/^clnrm\.container\./, "start"], [/^clnrm\.step$/, "step"],
];
const MEANINGS = {
  wait: "waiting for a reservation", pull: "image", start: "container start", step: "step", stop: "stop",
  "span-0": "spans of the workload",
};
const SERVICE_COLOURS = 6;

function colourOf(span) {
  if (span.failed) return "failed";
  if (span.ours) return (PHASES.find(([pattern]) => pattern.test(span.name)) || [null, "stop"])[1];
  let hash = 0;
  for (const char of span.service) hash = (hash * 31 + char.codePointAt(0)) % 9973;
  return `span-${hash % SERVICE_COLOURS}`;
}

// Items have {start, end, colour, label, scenario, span}; those of a row do not overlap.
function laneItems() {
  const lanes = new Map();
  const lane = (worker) => {
    if (!lanes.has(worker)) lanes.set(worker, {worker, waits: [], rows: [[]], ends: [-Infinity]});
    return lanes.get(worker);
  };
  for (const scenario of scenarios) {
    if (scenario.start === null) continue;
    const to = lane(scenario.worker);
    const item = {start: scenario.start, end: scenario.start + scenario.duration, colour: scenario.bad ? scenario.outcome : `bar-${scenario.outcome}`, label: readable(scenario.name), scenario, span: null};
    to.rows[0].push(item);
    let first = item.start;
    scenario.earlier.forEach((attempt, index) => {
      if (attempt.start === null) return;
      first = Math.min(first, attempt.start);
      to.rows[0].push({...item, start: attempt.start, end: attempt.start + attempt.duration, colour: "failed", label: `${item.label} (attempt ${index + 1})`});
    });
    if (scenario.wait > 0) to.waits.push({...item, start: first - scenario.wait, end: first, colour: "wait", label: "waiting"});
  }
  const below = [];
  for (const span of spans) {
    if (span.name === "clnrm.session" && span.ours) continue;
    if (span.name === "clnrm.scenario" && span.ours && span.scenario) continue;
    if (span.name === "clnrm.slot.wait" && span.ours) continue;
    const label = span.ours ? subjectOf(span) || span.name.replace("clnrm.", "") : span.name;
    if (span.name === "clnrm.scenario" && span.ours) {
      // A Python test: it has containers and spans, but no result in this report.
      const colour = span.failed ? "failed" : "bar-skipped";
      lane(span.worker).rows[0].push({start: span.start, end: span.start + span.duration, colour, label: readable(label.split("::").pop()), scenario: null, span});
      continue;
    }
    below.push({start: span.start, end: span.start + span.duration, colour: colourOf(span), label: readable(label), scenario: span.scenario, span});
  }
  for (const scenario of scenarios) {
    // Without spans of ours, the steps themselves tell when they ran.
    if (scenario.start === null || scenario.spans.some((span) => span.ours)) continue;
    for (const step of scenario.steps) {
      if (step.outcome === "not run") continue;
      const start = scenario.start + step.start;
      below.push({
        start, end: start + step.duration, colour: step.outcome === "passed" ? "step" : "failed",
        label: readable(step.name), scenario, span: null, step,
      });
    }
  }
  below.sort((a, b) => a.start - b.start || (a.span ? a.span.depth : 0) - (b.span ? b.span.depth : 0));
  const rowOf = new Map();
  for (const item of below) {
    const to = lane(item.span ? item.span.worker || (item.scenario ? item.scenario.worker : "") : item.scenario.worker);
    let row = Math.max(1, (item.span && rowOf.get(item.span.parent) || 0) + 1);
    while (row < MAX_ROWS && row < to.rows.length && to.ends[row] > item.start) row += 1;
    row = Math.min(row, MAX_ROWS);
    while (to.rows.length <= row) {
      to.rows.push([]);
      to.ends.push(-Infinity);
    }
    to.rows[row].push(item);
    to.ends[row] = Math.max(to.ends[row], item.end);
    if (item.span) rowOf.set(item.span, row);
  }
  for (const each of lanes.values()) {
    for (const row of [each.waits, ...each.rows]) {
      row.sort((a, b) => a.start - b.start);
      // A search by end finds the first item in sight, also where items of the last row overlap.
      let latest = -Infinity;
      row.latest = row.map((item) => (latest = Math.max(latest, item.end)));
    }
  }
  return [...lanes.values()].sort((a, b) => a.worker.localeCompare(b.worker, "en", {numeric: true}));
}

// What a span of ours is about: its step, container or image; "" if it does not say.
const SUBJECTS = ["clnrm.step.name", "clnrm.service", "container.name", "container.image.name", "test.case.name"];

function subjectOf(span) {
  const known = new Map((spanDetails(span) || {attributes: []}).attributes);
  return String(known.get(SUBJECTS.find((key) => known.has(key))) ?? "");
}

// A span in a few words: ours by what it is about.
function subjectText(span) {
  if (!span.ours) return span.name;
  return [span.name.replace("clnrm.", ""), subjectOf(span)].filter(Boolean).join(" ");
}

function firstEndingAfter(latest, time) {
  let low = 0;
  let high = latest.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (latest[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
