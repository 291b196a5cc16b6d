// All spans of a scenario in a small picture, of which a part is chosen that the tree below shows at large.

const MINIMAP_HEIGHT = 44;
const LEAST_PART = 1e-5; // of the whole

class Minimap {
  // `whole` is {from, to} in microseconds; onChange() is called when `view`, a part of it, has changed.
  constructor(spans, whole, onChange) {
    this.spans = spans;
    this.whole = whole;
    this.view = {...whole};
    this.onChange = onChange;
    this.marked = null;
    this.canvas = element("canvas", {"aria-hidden": "true"});
    this.range = element("span.muted", {role: "status"});
    const button = (name, text, title) => {
      const made = element("button", {type: "button", title, "aria-label": `Spans: ${title.toLowerCase()}`}, text);
      made.addEventListener("click", () => this.command(name));
      return made;
    };
    this.element = element("div.minimap", {},
      element("div.bar", {role: "group", "aria-label": "Zoom of the spans"}, this.range, element("div.tools", {},
        button("out", "−", "Zoom out (-)"), button("in", "+", "Zoom in (+)"), button("all", "All", "All spans (0)"), button("span", "Span", "The selected span (.)"))),
      this.canvas);
    this.draw = eachFrame(() => this.drawNow());
    new ResizeObserver(this.draw).observe(this.canvas);
    this.drag();
    this.tell();
  }

  get length() {
    return this.view.to - this.view.from;
  }

  mark(span) {
    this.marked = span;
    this.draw();
  }

  command(name) {
    const middle = this.marked ? this.marked.start + this.marked.duration / 2 : (this.view.from + this.view.to) / 2;
    if (name === "in") this.zoom(1 / 1.6, middle);
    else if (name === "out") this.zoom(1.6, middle);
    else if (name === "all") this.show(this.whole.from, this.whole.to);
    else if (this.marked) this.show(this.marked.start - this.marked.duration * 0.05, this.marked.start + this.marked.duration * 1.05);
  }

  // Zooms so that `time` stays where it is, or comes into sight.
  zoom(factor, time) {
    const length = this.length * factor;
    const share = Math.min(1, Math.max(0, (time - this.view.from) / this.length));
    this.show(time - length * share, time + length * (1 - share));
  }

  show(from, to) {
    const all = this.whole.to - this.whole.from;
    const length = Math.min(all, Math.max(all * LEAST_PART, to - from));
    const start = Math.min(this.whole.to - length, Math.max(this.whole.from, (from + to - length) / 2));
    this.view = {from: start, to: start + length};
    this.tell();
    this.draw();
    this.onChange();
  }

  tell() {
    this.range.textContent = `${duration(this.view.from - this.whole.from)} – ${duration(this.view.to - this.whole.from)}`;
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoom(Math.exp(event.deltaY / 200), (this.view.from + this.view.to) / 2);
  }

  timeAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.whole.from + (Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))) * (this.whole.to - this.whole.from);
  }

  // Dragging chooses a part; a click moves the one that is chosen there, two clicks choose all.
  drag() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      from = this.timeAt(event);
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = this.timeAt(event);
      if (Math.abs(to - from) > (this.whole.to - this.whole.from) / 100) this.show(Math.min(from, to), Math.max(from, to));
    });
    this.canvas.addEventListener("pointerup", (event) => {
      const to = this.timeAt(event);
      if (from !== null && Math.abs(to - from) <= (this.whole.to - this.whole.from) / 100) this.show(to - this.length / 2, to + this.length / 2);
      from = null;
    });
    this.canvas.addEventListener("dblclick", () => this.command("all"));
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), {passive: false});
  }

  drawNow() {
    const {clientWidth} = this.canvas;
    if (!clientWidth) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(MINIMAP_HEIGHT * ratio);
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const x = (time) => ((time - this.whole.from) / (this.whole.to - this.whole.from)) * clientWidth;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const height = MINIMAP_HEIGHT / this.spans.length;
    this.spans.forEach((span, index) => {
      context.fillStyle = colour(span === this.marked ? "text" : span.ours && span.name === "clnrm.scenario" && !span.failed ? "stop" : colourOf(span));
      context.fillRect(x(span.start), index * height, Math.max(1, x(span.start + span.duration) - x(span.start)), Math.max(1, Math.min(6, height - 0.5)));
    });
    context.fillStyle = colour("shade");
    context.fillRect(0, 0, x(this.view.from), MINIMAP_HEIGHT);
    context.fillRect(x(this.view.to), 0, clientWidth, MINIMAP_HEIGHT);
    context.strokeStyle = colour("accent");
    context.strokeRect(x(this.view.from) + 0.5, 0.5, Math.max(2, x(this.view.to) - x(this.view.from) - 1), MINIMAP_HEIGHT - 1);
  }
}
