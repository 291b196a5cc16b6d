// What is shown of the selected scenario: its cause first.

function factList(entries) {
  return element("dl.list-of-facts", {}, entries
    .filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function titled(title, ...children) {
  return element("section", {"aria-label": title}, element("h3", {}, title), ...children);
}

function stepBlock(step, open) {
  const facts = [
    step.exitCode === null ? "" : `exit ${step.exitCode}`,
    step.attempts > 1 ? `${step.attempts} attempts` : "",
    step.outcome === "not run" ? "not run" : duration(step.duration),
  ].filter(Boolean).join(" · ");
  const streams = [["stdout", step.stdout], ["stderr", step.stderr]].filter(([, text]) => text);
  const command = step.command.trim();
  return element("details", {open},
    element("summary", {}, icon(step.outcome),
      element("span", {}, element("span.name", {}, readable(step.name)), " ", element("span.muted", {}, readable(step.service))),
      element("span.side", {}, facts)),
    command && command !== step.name ? [element("p.stream", {}, "command"), outputBlock(command)] : null,
    streams.length ? streams.flatMap(([name, text]) => [element("p.stream", {}, name), outputBlock(text)])
      : element("p.muted", {}, step.outcome === "not run" ? "It was not run." : "It printed nothing."));
}

function containerBlock(container, open) {
  const share = container.peak === null ? null : container.peak / container.memory;
  const meter = share === null ? "" : element("span.meter", {"aria-hidden": "true"}, element(`i${share > 0.9 ? ".high" : ""}`));
  if (share !== null) meter.firstChild.style.width = `${Math.min(100, share * 100)}%`;
  return element("details", {open},
    element("summary.bare", {},
      element("span", {}, element("span.name", {}, readable(container.service)), " ", element("span.muted", {}, readable(container.image))),
      element("span.side", {}, container.oomKilled ? element("strong.failed", {}, "out of memory") : "")),
    factList([
      ["memory", element("span", {}, `${container.peak === null ? "limit" : `${bytes(container.peak)} of`} ${bytes(container.memory)}`, meter)],
      ["CPUs", String(container.cpus)],
      ["exit code", container.exitCode === null ? "" : String(container.exitCode)],
      ["reused", container.reused ? "yes" : ""],
      ["prepared", container.prepared ? "yes" : ""],
      ["reuse", readable(container.reuse)],
      ["name", element("span.id", {}, readable(container.name))],
      ["id", element("span.id", {}, readable(container.id).slice(0, 12))],
      ["times", readable(container.timeline)],
    ]),
    container.logs ? [element("p.stream", {}, "logs"), outputBlock(container.logs)] : null,
    container.spans ? [element("p.stream", {}, "spans"), outputBlock(container.spans)] : null);
}

// Files lie beside this page; "./" keeps a name from being read as an address of another kind.
function artifactList(artifacts) {
  return element("ul.plainlist", {}, artifacts.map((artifact) => {
    const href = `./${artifact.file.split("/").map(encodeURIComponent).join("/")}`;
    return element("li", {},
      element("a", {href, target: "_blank", rel: "noopener noreferrer"}, element("code", {}, readable(artifact.path))), " ",
      element("span.muted", {}, `${readable(artifact.service)} · ${artifact.size < 1024 ? counted(artifact.size, "byte") : bytes(artifact.size)}${artifact.cut ? " · cut" : ""}`));
  }));
}

function lines(items) {
  return element("ul.plainlist", {}, items.map((item) => element("li", {}, element("code", {}, readable(item)))));
}

function heading(scenario) {
  const link = element("a", {href: `#${encodeURIComponent(scenario.nodeid)}`, title: "Link to this scenario"}, readable(scenario.nodeid));
  return [
    element("h2", {}, element("span.name", {}, readable(scenario.name)),
      scenario.isFlaky ? element("span.pill.flaky", {}, "flaky") : "", element(`span.pill.${scenario.outcome}`, {}, scenario.outcome)),
    element("p.id", {}, link),
    factList([
      ["duration", duration(scenario.duration)],
      ["waited", scenario.wait >= 1e5 ? duration(scenario.wait) : ""],
      ["started", scenario.start === null ? "" : `+${duration(scenario.start)}`],
      ["worker", readable(scenario.worker)], ["priority", readable(scenario.priority)],
      ["earlier report", scenario.before ? `${readable(scenario.before.outcome)} in ${duration(scenario.before.duration)}` : ""],
      ["attempts", scenario.attempts > 1 ? String(scenario.attempts) : ""],
      ["file", scenario.line ? `${readable(scenario.file)}:${scenario.line}` : readable(scenario.file)],
      ["tags", scenario.tags.length ? element("span", {}, scenario.tags.flatMap((tag) => [element("span.tag.name", {}, readable(tag)), " "])) : ""],
    ]),
  ];
}

// Failures of steps are among the attempt's own as well; each is shown once.
function allFailures(attempt) {
  const found = new Map();
  for (const failure of [...attempt.failures, ...attempt.steps.flatMap((step) => step.failures)]) {
    found.set(JSON.stringify(failure), failure);
  }
  return [...found.values()];
}

// What one attempt shows. `whole` is for paper: everything is open. `pick` shows a span.
function attemptSections(scenario, attempt, {whole = false, pick = null} = {}) {
  const failures = allFailures(attempt);
  const blamed = new Set(failures.map((failure) => failure.step).filter(Boolean));
  const isOpen = (step) => whole || ["failed", "error", "timeout"].includes(step.outcome) || blamed.has(step.name);
  const opens = (container) => whole || (failures.length > 0 && Boolean(container.logs || container.oomKilled));
  return [
    failures.length ? titled(attempt.outcome === "skipped" ? "Reason" : failures.length === 1 ? "Cause" : "Causes", ...failures.map((each) => causeCard(scenario, each, pick))) : null,
    scenario.reproduce ? titled("Run it again", commandLine(scenario.reproduce)) : null,
    attempt.steps.length ? titled("Steps", ...attempt.steps.map((step) => stepBlock(step, isOpen(step)))) : null,
    attempt.containers.length ? titled("Containers", ...attempt.containers.map((each) => containerBlock(each, opens(each)))) : null,
    attempt.artifacts.length ? titled("Artifacts", artifactList(attempt.artifacts)) : null,
  ].filter(Boolean);
}

function sections(scenario) {
  return [
    ...scenario.output.map(([name, text]) => titled(readable(name), outputBlock(text))),
    scenario.unchecked.length ? titled("Claimed by the file, but not checked", lines(scenario.unchecked)) : null,
    scenario.notes.length ? titled("Notes", lines(scenario.notes)) : null,
    pastSection(scenario),
  ].filter(Boolean);
}

// A button an attempt; it opens on the last one that failed, of which one wants to know why.
function attempts(scenario, pick) {
  const all = [...scenario.earlier.map((each) => ({...each, outcome: "failed"})), {...scenario, pick}];
  const place = element("div.attempt");
  const buttons = all.map((attempt, index) => element("button", {type: "button"}, icon(attempt.outcome), ` Attempt ${index + 1} ${attempt.outcome} · ${duration(attempt.duration)}`));
  const show = (shown) => {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === shown)));
    place.replaceChildren(...attemptSections(scenario, all[shown], {pick}));
    scrollToEnds(place);
  };
  buttons.forEach((button, index) => button.addEventListener("click", () => show(index)));
  show(scenario.bad ? all.length - 1 : all.length - 2);
  return [element("div.attempts", {role: "group", "aria-label": "Attempts"}, buttons), place];
}

// The end of an output is what says why.
function scrollToEnds(place) {
  for (const block of place.querySelectorAll("details[open] pre")) block.scrollTop = block.scrollHeight;
}

class Details {
  constructor() {
    this.element = byId("details");
    this.tree = null;
  }

  show(scenario) {
    this.tree = null;
    if (!scenario) {
      this.element.replaceChildren(element("p.hint", {}, scenarios.length ? "Select a scenario." : "No scenario ran."));
      return;
    }
    const pick = (span) => {
      this.tree.pick(span);
      this.tree.element.scrollIntoView({block: "center"});
    };
    const parts = [
      ...heading(scenario),
      ...(scenario.earlier.length ? attempts(scenario, pick) : attemptSections(scenario, scenario, {pick})),
      ...sections(scenario),
    ];
    if (scenario.spans.length) {
      this.tree = new SpanTree(scenario);
      const hidden = scenario.recorded - scenario.spans.length;
      parts.push(titled(`Spans (${scenario.spans.length.toLocaleString("en")})`, this.tree.element,
        hidden > 0 ? element("p.muted", {}, `${counted(hidden, "more span")} in trace.otlp.json.`) : null));
    }
    this.element.replaceChildren(...parts.filter(Boolean));
    scrollToEnds(this.element);
    if (this.tree) this.tree.open();
  }

  missing(nodeid) {
    this.tree = null;
    this.element.replaceChildren(element("p.hint", {role: "alert"}, `This report has no scenario ${readable(nodeid)}.`));
  }
}
