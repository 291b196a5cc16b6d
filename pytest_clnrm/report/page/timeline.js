// The timeline: a lane a worker, drawn on a canvas of the size that is in sight. The element around it scrolls
// as any other: an empty element in it is as wide as the run at the present zoom.

// Beside workers' names stand those of their shards, if there are several.
const [GUTTER, LABEL_CHARACTERS] = written.session.shards ? [124, 14] : [58, 6];
const AXIS = 22;
const FIRST_ROW = 18;
const ROW = 12;
const LANE_GAP = 8;
const LEAST_HEIGHT = 120;
const FOLDED_SHARE = 0.05; // of the run: less of it before and after its items is simply shown
const MAX_WIDTH = 8e6; // browsers give up on elements that are wider than some ten million pixels

class Timeline {
  constructor(onPick) {
    this.scroller = byId("lanes");
    this.canvas = byId("canvas");
    this.extent = byId("extent");
    this.context = this.canvas.getContext("2d");
    this.tip = byId("tip");
    this.onPick = onPick;
    this.lanes = laneItems();
    this.scroller.closest("section").hidden = !this.lanes.length;
    this.selected = null;
    this.visible = null; // a set of scenarios, null for all
    this.measure();
    this.legend();
    this.draw = eachFrame(() => this.drawNow());
    this.listen();
  }

  // Where lanes lie, from when to when the run went, and from when to when there was something in its lanes.
  // A workload's clock may be anywhere: it does not count.
  measure() {
    let top = AXIS + 4;
    let [from, to] = [Infinity, -Infinity];
    for (const lane of this.lanes) {
      lane.top = top;
      lane.height = FIRST_ROW + (lane.rows.length - 1) * ROW;
      top += lane.height + LANE_GAP;
      for (const item of [...lane.waits, ...lane.rows.flat()]) {
        if (item.span && !item.span.ours) continue;
        from = Math.min(from, item.start);
        to = Math.max(to, item.end);
      }
    }
    this.busy = {from: Math.min(from, to), to};
    this.whole = {from: Math.min(0, from), to: Math.max(written.session.duration_s * 1e6, to)};
    this.height = Math.max(top, AXIS + 40);
    // Where something failed, its cause is to be seen at once; the corner makes the lanes higher.
    const share = scenarios.some((scenario) => scenario.bad) ? 0.2 : 0.44;
    this.scroller.style.height = `${Math.min(this.height + 14, Math.max(LEAST_HEIGHT, innerHeight * share))}px`;
    this.scroller.style.maxHeight = `${this.height + 14}px`;
    const around = this.whole.to - this.whole.from - (to - from);
    const button = byId("fold");
    button.hidden = !(around > FOLDED_SHARE * (this.whole.to - this.whole.from));
    button.textContent = `Start-up ${duration(from - this.whole.from)}`;
    button.title = `Show what lies before the first test and, ${duration(this.whole.to - to)}, after the last one`;
    this.fold(!button.hidden);
  }

  // The time before the first item and after the last one is left out, or shown.
  fold(folded) {
    const margin = folded ? (this.busy.to - this.busy.from) / 50 : 0;
    const range = folded ? {from: Math.max(this.whole.from, this.busy.from - margin), to: Math.min(this.whole.to, this.busy.to + margin)} : this.whole;
    this.from = range.from;
    this.length = Math.max(1000, range.to - range.from);
    byId("fold").setAttribute("aria-pressed", String(!folded));
  }

  legend() {
    const used = new Set(this.lanes.flatMap((lane) => [...lane.waits, ...lane.rows.slice(1).flat()]).map((item) => item.colour));
    const workload = [...used].some((colour) => colour.startsWith("span-"));
    byId("legend").replaceChildren(
      ...Object.entries(MEANINGS)
        .filter(([colour]) => used.has(colour) || (colour === "span-0" && workload))
        .map(([colour, meaning]) => {
          const sample = element("i");
          sample.style.background = `var(--${colour})`;
          return element("li", {}, sample, meaning);
        }),
    );
  }

  listen() {
    const {scroller} = this;
    scroller.addEventListener("scroll", () => { this.hideTip(); this.draw(); }, {passive: true});
    new ResizeObserver(() => this.resize()).observe(scroller);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.palette = null; this.draw(); });
    scroller.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 200), event.clientX);
    }, {passive: false});
    scroller.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const known = {"+": "in", "=": "in", "-": "out", 0: "all", ".": "scenario"}[event.key];
      if (!known) return;
      event.preventDefault();
      this.command(known);
    });
    byId("fold").addEventListener("click", () => {
      this.fold(byId("fold").getAttribute("aria-pressed") === "true");
      this.command("all");
    });
    this.drag();
    this.canvas.addEventListener("pointerleave", () => this.hideTip());
    this.canvas.addEventListener("click", (event) => {
      const item = this.dragged ? null : this.itemAt(event);
      if (item && item.scenario) this.onPick(item.scenario, item.span);
    });
    this.canvas.addEventListener("dblclick", (event) => {
      const item = this.itemAt(event);
      if (item) this.fit(item.start, item.end);
    });
    for (const button of document.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.command(button.dataset.zoom));
    }
  }

  // With a mouse, lanes are moved by dragging them; touching scrolls by itself.
  drag() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (event.pointerType === "mouse" && event.button === 0) {
        from = {x: event.clientX, y: event.clientY, left: this.scroller.scrollLeft, top: this.scroller.scrollTop};
      }
    });
    addEventListener("pointermove", (event) => {
      if (!from) {
        if (event.target === this.canvas) this.showTip(event);
        return;
      }
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (Math.abs(dx) + Math.abs(dy) > 4) this.dragged = true;
      if (!this.dragged) return;
      this.hideTip();
      this.scroller.classList.add("dragged");
      this.scroller.scrollTo(from.left - dx, from.top - dy);
    });
    addEventListener("pointerup", () => {
      from = null;
      this.scroller.classList.remove("dragged");
    });
  }

  command(name) {
    if (name === "in") this.zoom(1.6);
    else if (name === "out") this.zoom(1 / 1.6);
    else if (name === "all") this.fit(this.from, this.from + this.length);
    else if (this.selected && this.selected.start !== null) {
      this.fit(this.selected.start - this.selected.wait, this.selected.start + this.selected.duration);
    }
  }

  get width() {
    return Math.max(50, this.scroller.clientWidth - GUTTER - 12);
  }

  // Pixels a microsecond, within what shows the whole run and what an element can hold.
  bounded(scale) {
    return Math.min(MAX_WIDTH / this.length, Math.max(this.width / this.length, scale));
  }

  setScale(scale) {
    this.scale = this.bounded(scale);
    this.extent.style.width = `${Math.floor(GUTTER + this.length * this.scale + 10)}px`;
    this.extent.style.height = `${this.height}px`;
  }

  zoom(factor, clientX) {
    const middle = clientX === undefined ? this.width / 2 : clientX - this.scroller.getBoundingClientRect().left - GUTTER;
    const time = this.timeAt(middle);
    this.setScale(this.scale * factor);
    this.scroller.scrollLeft = (time - this.from) * this.scale - middle;
    this.draw();
  }

  fit(start, end) {
    const length = Math.max(20, end - start);
    this.setScale((this.width / length) * (length >= this.length ? 1 : 0.9));
    this.scroller.scrollLeft = ((start + end) / 2 - this.from) * this.scale - this.width / 2;
    this.draw();
  }

  timeAt(x) {
    return this.from + (x + this.scroller.scrollLeft) / this.scale;
  }

  resize() {
    const {clientWidth, clientHeight} = this.scroller;
    if (!clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const whole = this.scale === undefined || this.scale * this.length <= this.shownWidth + 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.canvas.style.width = `${clientWidth}px`;
    this.canvas.style.height = `${clientHeight}px`;
    this.shownWidth = this.width;
    this.setScale(whole ? 0 : this.scale);
    this.drawNow();
  }

  colour(name) {
    if (!this.palette) {
      const style = getComputedStyle(document.documentElement);
      this.palette = new Proxy({}, {
        get: (known, key) => (known[key] = known[key] || style.getPropertyValue(`--${key}`).trim() || "#888"),
      });
    }
    return this.palette[name];
  }

  drawNow() {
    const {context, scroller} = this;
    if (this.scale === undefined) return;
    const ratio = this.canvas.width / scroller.clientWidth;
    const view = {
      width: scroller.clientWidth, height: scroller.clientHeight, top: scroller.scrollTop,
      from: this.timeAt(0), to: this.timeAt(scroller.clientWidth - GUTTER),
    };
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.colour("card");
    context.fillRect(0, 0, view.width, view.height);
    context.textBaseline = "middle";
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, view.width, view.height);
    context.clip();
    const ticks = this.ticks(view);
    context.fillStyle = this.colour("line");
    for (const {x} of ticks) context.fillRect(x, AXIS, 1, view.height);
    for (const lane of this.lanes) this.drawLane(lane, view);
    context.fillStyle = this.colour("card");
    context.fillRect(0, 0, view.width, AXIS);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = this.colour("muted");
    for (const {x, label} of ticks) if (x < view.width - 36) context.fillText(label, x + 4, AXIS / 2 + 1);
    context.restore();
    this.drawGutter(view);
  }

  drawGutter(view) {
    const {context} = this;
    context.font = "600 12px system-ui, sans-serif";
    for (const lane of this.lanes) {
      const y = lane.top - view.top;
      if (y + lane.height < AXIS || y > view.height) continue;
      context.fillStyle = this.colour("text");
      context.fillText(shortened(readable(lane.worker), LABEL_CHARACTERS), 12, Math.max(AXIS + 8, y + FIRST_ROW / 2));
    }
    context.fillStyle = this.colour("card");
    context.fillRect(0, 0, GUTTER, AXIS);
    context.fillStyle = this.colour("line");
    context.fillRect(0, AXIS, view.width, 1);
    context.fillRect(GUTTER - 1, 0, 1, view.height);
  }

  ticks(view) {
    const wanted = (view.to - view.from) / Math.max(2, view.width / 110);
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= wanted);
    const found = [];
    const digits = Math.max(0, -Math.floor(Math.log10(step / 1e6) + 1e-9));
    for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
      const label = step >= 1e6 && Math.abs(time) >= 6e7 ? duration(time) : `${(time / 1e6).toFixed(digits)} s`;
      found.push({x: Math.round(GUTTER + (time - view.from) * this.scale), label});
    }
    return found;
  }

  drawLane(lane, view) {
    const top = lane.top - view.top;
    if (top + lane.height < AXIS || top > view.height) return;
    this.drawRow(lane.waits, top + 6, FIRST_ROW - 10, view, false);
    lane.rows.forEach((row, index) => {
      if (index) this.drawRow(row, top + FIRST_ROW + (index - 1) * ROW, ROW - 2, view, ROW > 10);
      else this.drawRow(row, top, FIRST_ROW - 2, view, true);
    });
  }

  // Items that fall into one pixel are drawn once; failed ones after the others, so that none is hidden.
  drawRow(row, y, height, view, labels) {
    const late = [];
    let drawnTo = -1;
    for (let index = firstEndingAfter(row.latest, view.from); index < row.length; index += 1) {
      const item = row[index];
      if (item.start > view.to) break;
      const left = Math.max(GUTTER - 4, GUTTER + (item.start - view.from) * this.scale);
      const right = Math.min(view.width + 4, GUTTER + (item.end - view.from) * this.scale);
      if (item.colour === "failed" || item.colour === "error" || item.scenario === this.selected) late.push([item, left, right]);
      else if (right > drawnTo + 0.5) {
        this.drawItem(item, Math.max(left, drawnTo), right, y, height, labels);
        drawnTo = Math.max(right, left + 1);
      }
    }
    for (const [item, left, right] of late) this.drawItem(item, left, Math.max(right, left + 2), y, height, labels);
  }

  drawItem(item, left, right, y, height, labels) {
    const {context} = this;
    const width = Math.max(1, right - left - (right - left > 4 ? 1 : 0));
    context.globalAlpha = this.visible && item.scenario && !this.visible.has(item.scenario) ? 0.14 : 1;
    context.fillStyle = this.colour(item.colour);
    context.fillRect(left, y, width, height);
    if (item.span && item.span.incomplete) {
      context.fillStyle = this.colour("card");
      for (let x = left + width - 9; x < left + width && width > 12; x += 4) context.fillRect(x, y, 2, height);
    }
    if (labels && width > 34) {
      context.font = height > 12 ? "600 11px system-ui, sans-serif" : "9.5px system-ui, sans-serif";
      context.fillStyle = this.colour(item.colour.startsWith("bar-") ? "bar-passed-text" : "bar-text");
      context.fillText(shortened(item.label, (width - 8) / (height > 12 ? 7 : 5.8)), left + 4, y + height / 2 + 0.5);
    }
    if (item.scenario && item.scenario === this.selected && !item.span && !item.step && item.colour !== "wait") {
      context.strokeStyle = this.colour("text");
      context.lineWidth = 2;
      context.strokeRect(left, y, width, height);
    }
    context.globalAlpha = 1;
  }

  itemAt(event) {
    const box = this.scroller.getBoundingClientRect();
    const x = event.clientX - box.left - GUTTER;
    const y = event.clientY - box.top + this.scroller.scrollTop;
    if (x < 0 || event.clientY - box.top < AXIS) return null;
    const lane = this.lanes.find((each) => y >= each.top && y < each.top + each.height);
    if (!lane) return null;
    const index = y - lane.top < FIRST_ROW ? 0 : 1 + Math.floor((y - lane.top - FIRST_ROW) / ROW);
    const near = 3 / this.scale;
    const time = this.timeAt(x);
    const hit = (row) => {
      if (!row) return null;
      let best = null;
      for (let at = firstEndingAfter(row.latest, time - near); at < row.length && row[at].start <= time + near; at += 1) {
        if (!best || (row[at].start <= time && row[at].end >= time)) best = row[at];
      }
      return best;
    };
    return hit(lane.rows[index]) || (index === 0 ? hit(lane.waits) : null);
  }

  showTip(event) {
    const item = this.itemAt(event);
    if (!item) {
      this.hideTip();
      return;
    }
    const what = [duration(item.end - item.start)];
    if (item.colour === "wait") what.push("waiting for a reservation");
    else if (item.span) what.push(item.span.ours ? readable(item.span.name) : readable(item.span.service) || "workload", ...(item.span.failed ? ["failed"] : []), ...(item.span.incomplete ? ["incomplete"] : []));
    else what.push(item.step ? `step, ${item.step.outcome}` : item.scenario.outcome);
    this.tip.replaceChildren(
      element("b.name", {}, item.colour === "wait" ? readable(item.scenario.name) : item.label),
      what.join(" · "),
      ...(item.span || item.step ? [element("div.muted.name", {}, item.scenario ? readable(item.scenario.name) : "")] : []),
    );
    this.tip.hidden = false;
    const {offsetWidth, offsetHeight} = this.tip;
    this.tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - offsetWidth - 4))}px`;
    this.tip.style.top = `${event.clientY + 18 + offsetHeight > innerHeight ? event.clientY - offsetHeight - 10 : event.clientY + 18}px`;
  }

  hideTip() {
    this.tip.hidden = true;
  }

  // Marks a scenario, and moves it into sight.
  select(scenario) {
    this.selected = scenario;
    if (this.scale !== undefined && scenario && scenario.start !== null) {
      const middle = (scenario.start + scenario.duration / 2 - this.from) * this.scale;
      const {scrollLeft, scrollTop, clientHeight} = this.scroller;
      if (middle < scrollLeft || middle > scrollLeft + this.width) this.scroller.scrollLeft = middle - this.width / 2;
      const lane = this.lanes.find((each) => each.worker === scenario.worker);
      if (lane && lane.top < scrollTop + AXIS) this.scroller.scrollTop = lane.top - AXIS;
      else if (lane && lane.top + lane.height > scrollTop + clientHeight) this.scroller.scrollTop = lane.top + lane.height - clientHeight;
    }
    this.draw();
  }

  filter(visible) {
    this.visible = visible;
    this.draw();
  }
}

function shortened(text, characters) {
  const limit = Math.floor(characters);
  if (text.length <= limit) return text;
  return limit > 2 ? `${text.slice(0, limit - 1)}…` : "";
}
