// What earlier runs have shown of an item: a bar a run, this one last.

const LETTERS = {p: "passed", f: "failed", s: "skipped"};

function runsOf(scenario) {
  const past = scenario.history;
  if (!past) return [];
  const earlier = [...past.outcomes].map((letter, index) => ({outcome: LETTERS[letter], ms: past.durations[index]}));
  const now = scenario.bad ? "failed" : scenario.outcome === "skipped" ? "skipped" : "passed";
  return [...earlier, {outcome: now, ms: scenario.duration / 1000, isNow: true}];
}

function spark(scenario, height) {
  const runs = runsOf(scenario);
  if (!runs.length) return null;
  const longest = Math.max(1, ...runs.map((run) => run.ms || 0));
  return element("span.spark", {"aria-hidden": "true"}, runs.map((run) => {
    const bar = element(`i.${run.outcome}${run.isNow ? ".now" : ""}`, {title: `${run.isNow ? "this run: " : ""}${run.outcome}${run.ms === null ? "" : ` in ${duration(run.ms * 1000)}`}`});
    bar.style.height = `${Math.max(2, Math.round(((run.ms || 0) / longest) * height))}px`;
    return bar;
  }));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function pastSection(scenario) {
  const earlier = runsOf(scenario).filter((run) => !run.isNow);
  if (!earlier.length) return null;
  const failed = earlier.filter((run) => run.outcome === "failed").length;
  const times = earlier.filter((run) => run.outcome === "passed" && run.ms !== null).map((run) => run.ms * 1000);
  const lastRuns = earlier.length === 1 ? "the run before" : `the ${earlier.length} runs before`;
  const told = [
    failed ? `failed in ${earlier.length === 1 ? lastRuns : `${failed} of ${lastRuns}`}` : `never failed in ${lastRuns}`,
    times.length ? `median ${duration(median(times))}` : "",
    scenario.start === null ? "" : `now ${duration(scenario.duration)}`,
  ].filter(Boolean).join(" · ");
  return titled("Earlier runs", element("p.past", {}, spark(scenario, 32), element("span", {}, told)));
}
