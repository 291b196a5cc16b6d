// What is selected and filtered, the keys, the address, paper.

const form = byId("filters");
const list = byId("list");
const state = {words: [], outcomes: new Set(), priority: "", tag: "", shard: "", sort: "outcome", selected: null};

const details = new Details();
const timeline = new Timeline((scenario, span) => {
  select(scenario, {address: true});
  if (span && details.tree) details.tree.pick(span);
});
const comparison = new Comparison(() => {
  applyFilters();
  details.show(state.selected);
});
const rows = new Rows(list, 48, (scenario, index) => listRow(scenario, index));

function listRow(scenario, index) {
  const why = cause(scenario);
  const row = element("div.row", {
    role: "option", id: `row-${scenario.index}`, "aria-selected": String(scenario === state.selected),
    "aria-setsize": rows.items.length, "aria-posinset": index + 1, title: readable(scenario.nodeid),
  },
  icon(scenario.outcome), element("span.name", {}, readable(scenario.name)),
  element("span.time", {}, scenario.start === null ? "" : duration(scenario.duration)),
  element("span.second", {},
    element(`span.name${why ? `.${scenario.outcome}` : ".muted"}`, {}, readable(why || scenario.file)),
    comparison.badge(scenario), scenario.isFlaky ? element("span.pill.flaky", {}, "flaky") : "", spark(scenario, 14)));
  row.addEventListener("click", () => {
    select(scenario, {address: true});
    if (matchMedia("(max-width: 820px)").matches) details.element.scrollIntoView();
  });
  return row;
}

const BY_NAME = new Intl.Collator("en", {numeric: true});
const SORTS = {
  outcome: (a, b) => OUTCOME_ORDER.indexOf(a.outcome) - OUTCOME_ORDER.indexOf(b.outcome) || a.index - b.index,
  start: (a, b) => (a.start === null ? Infinity : a.start) - (b.start === null ? Infinity : b.start) || a.index - b.index,
  duration: (a, b) => b.duration - a.duration || a.index - b.index,
  name: (a, b) => BY_NAME.compare(a.name, b.name) || a.index - b.index,
};

function matches(scenario) {
  if (state.outcomes.size && ![...state.outcomes].some((outcome) => scenario.outcomes.has(outcome))) return false;
  if (state.priority && scenario.priority !== state.priority) return false;
  if (state.tag && !scenario.tags.includes(state.tag)) return false;
  if (state.shard && String(scenario.shard) !== state.shard) return false;
  if (comparison.only && scenario.change !== comparison.only) return false;
  return state.words.every((word) => holds(scenario, word));
}

function applyFilters() {
  const found = scenarios.filter(matches);
  const filtered = Boolean(state.words.length || state.outcomes.size || state.priority || state.tag || state.shard || comparison.only);
  byId("shown").textContent = filtered ? `${found.length} of ${scenarios.length}` : String(scenarios.length);
  byId("clear").hidden = !filtered;
  rows.show([...found].sort(SORTS[state.sort]), scenarios.length ? "No scenario matches." : "No scenario ran.");
  timeline.filter(filtered ? new Set(found) : null);
}

// `address`: write the selection into the page's address, so that it can be passed on.
function select(scenario, {address = false} = {}) {
  state.selected = scenario;
  details.show(scenario);
  timeline.select(scenario);
  const index = rows.items.indexOf(scenario);
  if (index >= 0) {
    rows.reveal(index);
    list.setAttribute("aria-activedescendant", `row-${scenario.index}`);
  } else {
    rows.draw();
    list.removeAttribute("aria-activedescendant");
  }
  if (address) history.replaceState(null, "", `#${encodeURIComponent(scenario.nodeid)}`);
}

// The scenario that the address names, written by hand or encoded.
function fromAddress() {
  const raw = location.hash.slice(1);
  if (!raw) return false;
  let decoded = raw;
  try {
    decoded = decodeURIComponent(raw);
  } catch {
    // A lone % in a name that was written by hand.
  }
  const found = scenarios.find((scenario) => scenario.nodeid === raw || scenario.nodeid === decoded);
  if (!found) {
    details.missing(decoded);
    return true;
  }
  if (!matches(found)) form.reset();
  select(found);
  return true;
}

function choices(select, values) {
  select.append(...values.map((value) => element("option", {value}, readable(value))));
  select.closest("label").hidden = values.length < (select.id === "tag" ? 1 : 2);
}

function step(count) {
  const bad = rows.items.filter((scenario) => scenario.bad);
  if (!bad.length) return;
  const at = bad.indexOf(state.selected);
  const next = at < 0 ? (count > 0 ? 0 : bad.length - 1) : (at + count + bad.length) % bad.length;
  select(bad[next], {address: true});
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  state.words = wordsOf(byId("text").value);
  state.priority = byId("priority").value;
  state.tag = byId("tag").value;
  state.shard = byId("shard").value;
  state.sort = byId("sort").value;
  applyFilters();
});
form.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-outcome]");
  if (!chip) return;
  const {outcome} = chip.dataset;
  if (!state.outcomes.delete(outcome)) state.outcomes.add(outcome);
  chip.setAttribute("aria-pressed", String(state.outcomes.has(outcome)));
  applyFilters();
});
form.addEventListener("reset", () => {
  Object.assign(state, {words: [], outcomes: new Set(), priority: "", tag: "", shard: "", sort: "outcome"});
  for (const chip of form.querySelectorAll("[data-outcome]")) chip.setAttribute("aria-pressed", "false");
  comparison.choose("");
  applyFilters();
});

list.addEventListener("keydown", (event) => {
  const at = rows.items.indexOf(state.selected);
  const to = movedBy(event.key, at, rows.items.length, rows.page);
  if (event.key === "Enter") details.element.focus();
  else if (to !== null) select(rows.items[at < 0 ? 0 : to], {address: true});
  else return;
  event.preventDefault();
});

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target.closest("input, select");
  if (event.key === "Escape") {
    timeline.hideTip();
    if (writing && byId("text").value === "") list.focus();
    form.reset();
  } else if (writing) {
    if (event.key === "Enter" || (event.key === "ArrowDown" && writing.id === "text")) {
      event.preventDefault();
      list.focus();
      if (rows.items.length && !rows.items.includes(state.selected)) select(rows.items[0], {address: true});
    }
  } else if (event.key === "/") {
    event.preventDefault();
    byId("text").focus();
    byId("text").select();
  } else if (event.key === "n") step(1);
  else if (event.key === "p") step(-1);
});

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  list.focus();
});
addEventListener("hashchange", fromAddress);

// On paper: each failure in full, then a line a scenario.
addEventListener("beforeprint", () => {
  const bad = scenarios.filter((scenario) => scenario.bad);
  byId("print").replaceChildren(
    ...bad.map((scenario) => element("article", {}, ...heading(scenario), ...attemptSections(scenario, scenario, {whole: true}), ...sections(scenario))),
    element("h2", {}, "All scenarios"),
    element("table", {}, element("tbody", {}, [...scenarios].sort(SORTS.outcome).map((scenario) => element("tr", {},
      element("td", {}, icon(scenario.outcome)), element("td", {}, readable(scenario.nodeid)), element("td", {}, scenario.outcome), element("td", {}, duration(scenario.duration)))))),
  );
  byId("print").hidden = false;
});
addEventListener("afterprint", () => {
  byId("print").hidden = true;
  byId("print").replaceChildren();
});

drawPath((scenario) => select(scenario, {address: true}));
for (const part of document.querySelectorAll("[data-share]")) part.style.flexGrow = part.dataset.share;
const priorities = [...new Set(scenarios.map((scenario) => scenario.priority))];
choices(byId("priority"), priorities.sort((a, b) => PRIORITY_ORDER.indexOf(a) - PRIORITY_ORDER.indexOf(b)));
choices(byId("tag"), [...new Set(scenarios.flatMap((scenario) => scenario.tags))].sort((a, b) => a.localeCompare(b, "en")));
const shards = [...new Set(scenarios.map((scenario) => scenario.shard))].filter((shard) => shard !== null);
choices(byId("shard"), shards.sort((a, b) => a - b).map(String));
applyFilters();
if (!fromAddress()) select(rows.items[0] && rows.items[0].bad ? rows.items[0] : null);
