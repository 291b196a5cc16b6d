// Why something failed: the message, lines of the project's file, what was expected beside what was got, and
// the spans that it names.

const DIFFERENCE_HEAD = /^--- .*\n\+\+\+ .*$/m;

// Texts as they are, or a unified difference in two columns with the lines around it.
function outputBlock(text) {
  const shown = readable(text).replace(/\n+$/, "");
  const head = DIFFERENCE_HEAD.exec(shown);
  if (!head) return element("pre", {tabindex: "0"}, shown);
  const before = shown.slice(0, head.index).trimEnd();
  const [names, ...rest] = [shown.slice(head.index, head.index + head[0].length), ...shown.slice(head.index + head[0].length + 1).split("\n")];
  const end = rest.findIndex((line) => !/^[-+ @\\]/.test(line) && line !== "");
  const compared = end < 0 ? rest : rest.slice(0, end);
  const behind = end < 0 ? "" : rest.slice(end).join("\n");
  return element("div", {},
    before ? element("p.muted", {}, before) : null,
    differenceTable(names.split("\n").map((line) => line.slice(4)), compared),
    behind ? element("pre", {tabindex: "0"}, behind) : null);
}

// Lines that were taken out stand beside those that came in their place.
function differenceTable([left, right], compared) {
  const rows = [];
  let taken = [];
  let come = [];
  const put = () => {
    for (let at = 0; at < Math.max(taken.length, come.length); at += 1) rows.push(changedRow(taken[at], come[at]));
    taken = [];
    come = [];
  };
  for (const line of compared) {
    if (line.startsWith("-")) taken.push(line.slice(1));
    else if (line.startsWith("+")) come.push(line.slice(1));
    else {
      put();
      const same = line.startsWith("@@") ? "⋯" : line.slice(1);
      rows.push(element("tr", {}, element("td", {}, same), element("td.again", {}, same)));
    }
  }
  put();
  return element("div.difference", {tabindex: "0", role: "region", "aria-label": "Difference"}, element("table", {},
    element("thead", {}, element("tr", {}, element("th", {scope: "col"}, left), element("th", {scope: "col"}, right))),
    element("tbody", {}, rows)));
}

function changedRow(taken, come) {
  let [from, end] = [0, 0];
  if (taken !== undefined && come !== undefined) {
    const most = Math.min(taken.length, come.length);
    while (from < most && taken[from] === come[from]) from += 1;
    while (end < most - from && taken[taken.length - 1 - end] === come[come.length - 1 - end]) end += 1;
  }
  const cell = (text, kind) => (text === undefined
    ? element("td.none")
    : element(`td.${kind}`, {}, text.slice(0, from), element("mark", {}, text.slice(from, text.length - end)), end ? text.slice(-end) : ""));
  return element("tr", {}, cell(taken, "minus"), cell(come, "plus"));
}

// The lines around a place, the one that is meant marked.
function sourceBlock(where, source) {
  const at = Number(where.slice(where.lastIndexOf(":") + 1));
  const width = String(source.first + source.lines.length).length;
  const block = element("pre.source", {tabindex: "0", "aria-label": `Lines of ${readable(where)}`});
  source.lines.forEach((line, index) => {
    const number = source.first + index;
    const shown = `${number === at ? ">" : " "} ${String(number).padStart(width)} │ ${readable(line)}`;
    block.append(number === at ? element("span.at", {}, shown) : shown, "\n");
  });
  return block;
}

// Spans that a failure is about: that of its step, and those whose names it quotes or begins a line with.
const NAMED_SPANS = 4;

function spansNamed(scenario, failure) {
  const told = `${failure.message}\n${failure.details}`;
  const quoted = new Set([failure.step, ...[...told.matchAll(/'([^'\n]+)'/g)].map((match) => match[1])]);
  const lines = failure.details.split("\n").map((line) => line.trim());
  const isNamed = (span) => {
    if (span.ours) return span.name !== "clnrm.scenario" && quoted.has(subjectOf(span));
    return quoted.has(span.name) || lines.some((line) => line === span.name || line.startsWith(`${span.name}:`));
  };
  const found = new Map();
  for (const span of scenario.spans.filter(isNamed).sort((a, b) => b.failed - a.failed)) {
    const key = `${span.name} ${subjectText(span)}`;
    if (!found.has(key)) found.set(key, span);
  }
  return [...found.values()].slice(0, NAMED_SPANS);
}

function spanLinks(scenario, failure, pick) {
  const named = spansNamed(scenario, failure);
  if (!named.length) return null;
  return element("p.spanlinks", {}, named.length === 1 ? "Its span: " : "Its spans: ", named.map((span) => {
    const button = element("button.link", {type: "button"}, [subjectText(span), span.ours ? "" : span.service].filter(Boolean).map(readable).join(" · "), ` (${duration(span.duration)})`);
    button.addEventListener("click", () => pick(span));
    return button;
  }));
}

function causeCard(scenario, failure, pick) {
  const source = scenario.sources.get(failure.where);
  const inStep = failure.step && !failure.message.includes(`'${failure.step}'`) ? `step ${failure.step}` : "";
  const tone = ["skipped", "xfailed"].includes(scenario.outcome) ? ".is-expected" : failure.kind === "error" ? ".is-error" : "";
  return element(`div.cause${tone}`, {},
    element("p.message", {}, readable(failure.message)),
    failure.where || failure.step ? element("p.where", {}, [failure.where, inStep].filter(Boolean).map(readable).join(" · ")) : null,
    source ? sourceBlock(failure.where, source) : null,
    failure.details ? outputBlock(failure.details) : null,
    pick ? spanLinks(scenario, failure, pick) : null);
}

// A command that is to be run elsewhere, with a button that copies it.
function commandLine(command) {
  const code = element("code", {}, readable(command));
  const button = element("button", {type: "button"}, "Copy");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(command);
    } catch {
      // Where pages in files may not use the clipboard, the selection is copied.
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return element("div.command", {}, code, button);
}
