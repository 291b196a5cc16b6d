// What the text filter looks at: all that a scenario says, and attributes of its spans.

// Words, those in quotation marks whole: status "GET /orders" http.route="/a b"
function wordsOf(text) {
  return [...text.toLowerCase().matchAll(/(?:[^\s"]|"[^"]*"?)+/g)].map(([word]) => word.replaceAll('"', "")).filter(Boolean);
}

// Made when it is first asked for.
function searchable(scenario) {
  if (scenario.text === undefined) {
    const attempts = [scenario, ...scenario.earlier];
    const failures = attempts.flatMap((attempt) => [...attempt.failures, ...attempt.steps.flatMap((step) => step.failures)]);
    scenario.text = [
      scenario.nodeid, scenario.name, scenario.worker, ...scenario.tags, ...scenario.unchecked, ...scenario.notes,
      ...failures.flatMap((failure) => [failure.message, failure.where, failure.details]),
      ...attempts.flatMap((attempt) => [
        ...attempt.steps.flatMap((step) => [step.name, step.service, step.command, step.stdout, step.stderr]),
        ...attempt.artifacts.map((artifact) => artifact.path),
        ...attempt.containers.flatMap((container) => [container.name, container.image, container.logs, container.spans]),
      ]),
      ...scenario.output.map(([, text]) => text),
      ...scenario.spans.map((span) => span.name),
    ].join("\n").toLowerCase();
  }
  return scenario.text;
}

// The attributes of a span and its resource as key=value, in lower case.
function pairsOf(span) {
  if (span.pairs === undefined) {
    const details = spanDetails(span) || {attributes: [], resource: []};
    const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
    span.pairs = new Set([...details.attributes, ...details.resource].map(([key, value]) => `${key}=${text(value)}`.toLowerCase()));
  }
  return span.pairs;
}

// A word holds where the text has it; one with "=" also where a span has that attribute with that value.
function holds(scenario, word) {
  return searchable(scenario).includes(word) || (word.includes("=") && scenario.spans.some((span) => pairsOf(span).has(word)));
}

function isHit(span, words) {
  return words.some((word) => word.includes("=") && pairsOf(span).has(word));
}
