// The tree of a scenario's spans, with a bar for when each ran, and what the selected one says.

class SpanTree {
  constructor(scenario) {
    this.scenario = scenario;
    this.closed = new Set();
    this.scroller = element("div.rows.tree", {role: "tree", tabindex: "0", "aria-label": "Spans"});
    this.picked = element("div.picked", {hidden: true, "aria-live": "polite"});
    this.selected = null;
    this.rows = new Rows(this.scroller, 24, (span) => this.row(span));
    this.scroller.style.height = `${Math.min(scenario.spans.length * 24 + 2, 480)}px`;
    const all = scenario.spans.filter((span) => span.ours);
    const shown = all.length ? all : scenario.spans;
    const from = shown.reduce((least, span) => Math.min(least, span.start), Infinity);
    const to = shown.reduce((most, span) => Math.max(most, span.start + span.duration), -Infinity);
    this.map = new Minimap(scenario.spans, {from, to: Math.max(from + 1, to)}, () => this.open());
    this.element = element("div", {}, this.map.element, this.scroller, this.picked);
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.scroller.addEventListener("wheel", (event) => this.map.wheel(event), {passive: false});
    this.open();
  }

  open() {
    let hiddenBelow = Infinity;
    this.rows.show(this.scenario.spans.filter((span) => {
      if (span.depth > hiddenBelow) return false;
      hiddenBelow = this.closed.has(span) ? span.depth : Infinity;
      return true;
    }));
  }

  row(span) {
    const selected = span === this.selected;
    const twist = element("span.twist", {"aria-hidden": "true"}, span.children ? (this.closed.has(span) ? "▸" : "▾") : "");
    const beside = span.ours ? (span.name === "clnrm.scenario" ? "" : subjectOf(span)) : span.service;
    const label = element("span.label", {}, twist,
      element(`span.name${span.failed ? ".failed" : ""}`, {}, readable(span.ours ? span.name.replace("clnrm.", "") : span.name)),
      element("span.service", {}, readable(beside)));
    label.style.paddingLeft = `${Math.min(span.depth, 24) * 14}px`;
    const bar = element("i");
    const {from, to} = this.map.view;
    bar.style.left = `${((span.start - from) / (to - from)) * 100}%`;
    bar.style.width = `${(span.duration / (to - from)) * 100}%`;
    bar.style.background = `var(--${span.name === "clnrm.scenario" && span.ours && !span.failed ? "stop" : colourOf(span)})`;
    const made = element(`div.span${isHit(span, state.words) ? ".hit" : ""}`, {
      role: "treeitem", id: `span-${span.index}`, "aria-level": span.depth + 1, "aria-selected": String(selected),
      "aria-expanded": span.children ? String(!this.closed.has(span)) : null,
      "aria-label": `${span.name}, ${duration(span.duration)}${span.failed ? ", failed" : ""}`,
    }, label, element("span.track", {"aria-hidden": "true"}, bar),
    element("span.time", {}, duration(span.duration) + (span.incomplete ? " …" : "")));
    made.addEventListener("click", (event) => {
      if (event.target === twist && span.children) this.toggle(span);
      this.pick(span);
    });
    return made;
  }

  toggle(span) {
    if (!this.closed.delete(span)) this.closed.add(span);
    this.open();
  }

  pick(span) {
    for (let parent = span.parent; parent; parent = parent.parent) this.closed.delete(parent);
    this.selected = span;
    this.open();
    this.rows.reveal(this.rows.items.indexOf(span));
    this.scroller.setAttribute("aria-activedescendant", `span-${span.index}`);
    this.picked.hidden = false;
    this.picked.replaceChildren(...describeSpan(span));
    this.map.mark(span);
  }

  key(event) {
    const {items} = this.rows;
    const span = this.selected || items[0];
    const at = items.indexOf(span);
    const to = this.selected ? movedBy(event.key, at, items.length, this.rows.page) : movedBy("Home", 0, items.length, 1);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = {"+": "in", "=": "in", "-": "out", 0: "all", ".": "span"}[event.key];
    if (zoom) this.map.command(zoom);
    else if (event.key === "ArrowRight" && span.children && this.closed.has(span)) this.toggle(span);
    else if (event.key === "ArrowRight" && span.children) this.pick(items[at + 1]);
    else if (event.key === "ArrowLeft" && span.children && !this.closed.has(span)) this.toggle(span);
    else if (event.key === "ArrowLeft" && span.parent) this.pick(span.parent);
    else if ((event.key === "Enter" || event.key === " ") && span.children) this.toggle(span);
    else if (movedBy(event.key, 0, 1, 1) !== null && to !== null) this.pick(items[to]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function attributeTable(caption, entries) {
  if (!entries.length) return null;
  const shown = (value) => readable(typeof value === "string" ? value : JSON.stringify(value));
  return element("table", {}, element("caption", {}, caption),
    element("tbody", {}, entries.map(([key, value]) => element("tr", {}, element("th", {scope: "row"}, readable(key)), element("td", {}, shown(value))))));
}

function describeSpan(span) {
  const details = spanDetails(span);
  const facts = [
    ["start", `+${duration(span.start)}`], ["duration", duration(span.duration)], ["kind", span.kind],
    ["status", span.status + (span.incomplete ? ", incomplete: its recording ended before it did" : "")],
    ["service", readable(span.service)],
  ];
  const parts = [element("h4.name", {}, readable(span.name)), factList(facts)];
  if (!details) {
    parts.push(element("p.muted", {}, "Its attributes are left out here to keep this page small; trace.otlp.json has all of them."));
    return parts;
  }
  if (details.message) parts.push(element("pre", {}, readable(details.message)));
  parts.push(attributeTable("Attributes", details.attributes));
  for (const event of details.events) {
    parts.push(attributeTable(`Event ${readable(event.name)} at +${duration(event.offset)}`, event.attributes)
      || element("p", {}, `Event ${readable(event.name)} at +${duration(event.offset)}`));
  }
  parts.push(attributeTable("Links", details.links.map(([trace, id]) => [id, `trace ${trace}`])));
  parts.push(attributeTable("Resource", details.resource));
  parts.push(attributeTable("Identity", [["span id", details.id], ["trace id", details.trace]]));
  return parts.filter(Boolean);
}
