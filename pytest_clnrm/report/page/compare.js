// An earlier report.json beside this one: what fails now, what no longer does, what became slower.

const SLOWER = 1.5; // times as long, and at least by
const SLOWER_US = 5e5;
const CHANGES = {broken: "newly failing", fixed: "fixed", slower: "slower", faster: "faster", added: "new", gone: "gone"};

// The rows of a report.json by node id; an Error says what is wrong with it.
function earlierRows(text) {
  let report;
  try {
    report = JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
  if (!report || report.format !== written.format) throw new Error(`it is no report of the form ${written.format}`);
  const all = [report.scenarios, report.tests].flat();
  if (!report.session || all.some((row) => !row || typeof row.nodeid !== "string" || typeof row.outcome !== "string" || typeof row.duration_s !== "number")) {
    throw new Error("it is damaged");
  }
  return {session: report.session, rows: new Map(all.map((row) => [row.nodeid, {outcome: row.outcome, duration: row.duration_s * 1e6}]))};
}

function changeOf(scenario, before) {
  if (!before) return "added";
  const wasBad = BAD.includes(before.outcome);
  if (scenario.bad !== wasBad) return scenario.bad ? "broken" : "fixed";
  const ran = scenario.start !== null && scenario.outcome === before.outcome;
  if (ran && scenario.duration > before.duration * SLOWER && scenario.duration - before.duration > SLOWER_US) return "slower";
  if (ran && before.duration > scenario.duration * SLOWER && before.duration - scenario.duration > SLOWER_US) return "faster";
  return "";
}

class Comparison {
  // onChange() is called whenever what is compared, or is to be shown of it, has changed.
  constructor(onChange) {
    this.onChange = onChange;
    this.earlier = null;
    this.only = "";
    this.place = byId("compared");
    const input = byId("earlier");
    byId("compare").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files.length) this.read(input.files[0]);
      input.value = "";
    });
    // Otherwise the browser would show the file in place of this page.
    addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.read(event.dataTransfer.files[0]);
    });
  }

  async read(file) {
    try {
      this.earlier = earlierRows(await file.text());
    } catch (error) {
      this.earlier = null;
      this.tell(element("p.problem", {role: "alert"}, `${readable(file.name)} cannot be compared: ${error.message}.`));
      this.changed();
      return;
    }
    this.only = "";
    for (const scenario of scenarios) {
      scenario.before = this.earlier.rows.get(scenario.nodeid) || null;
      scenario.change = changeOf(scenario, scenario.before);
    }
    this.show();
    this.changed();
  }

  changed() {
    if (!this.earlier) {
      this.only = "";
      for (const scenario of scenarios) scenario.change = scenario.before = undefined;
    }
    this.onChange();
  }

  show() {
    const counts = {};
    for (const scenario of scenarios) if (scenario.change) counts[scenario.change] = (counts[scenario.change] || 0) + 1;
    const here = new Set(scenarios.map((scenario) => scenario.nodeid));
    const gone = [...this.earlier.rows.keys()].filter((nodeid) => !here.has(nodeid));
    const {session} = this.earlier;
    const buttons = Object.keys(CHANGES).filter((change) => counts[change]).map((change) => {
      const button = element(`button.chip.${change}`, {type: "button", "aria-pressed": "false"}, element("b", {}, counts[change]), ` ${CHANGES[change]}`);
      button.addEventListener("click", () => {
        this.choose(this.only === change ? "" : change, button);
        this.onChange();
      });
      return button;
    });
    const close = element("button.plain", {type: "button"}, "Close");
    close.addEventListener("click", () => {
      this.earlier = null;
      this.tell();
      this.changed();
    });
    this.tell(
      element("p.muted", {}, `Compared with run ${readable(String(session.id))} of ${readable(String(session.started).slice(0, 19).replace("T", " "))}`, " ", close),
      element("div.outcomes", {}, buttons.length ? buttons : element("span.muted", {}, "Nothing has changed.")),
      gone.length ? element("details", {}, element("summary.bare", {}, `${gone.length} gone`), lines(gone)) : null,
    );
  }

  // Shows only what has changed in one way, "" for all.
  choose(change, chosen = null) {
    this.only = change;
    for (const button of this.place.querySelectorAll("[aria-pressed]")) button.setAttribute("aria-pressed", String(button === chosen && change !== ""));
  }

  tell(...parts) {
    this.place.replaceChildren(...parts.filter(Boolean));
    this.place.hidden = !parts.length;
  }

  // What is said of a scenario in a word or two; "" if there is nothing to say.
  badge(scenario) {
    if (!scenario.change) return "";
    const difference = scenario.before ? scenario.duration - scenario.before.duration : 0;
    const text = {slower: `+${duration(difference)}`, faster: `−${duration(-difference)}`}[scenario.change] || CHANGES[scenario.change];
    return element(`span.pill.${scenario.change}`, {}, text);
  }
}
