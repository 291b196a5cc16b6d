// A list of which only the rows in sight exist, however long it is. Its element scrolls.

class Rows {
  // make(item, index) gives a row's element; `height` is that of each row in pixels.
  constructor(scroller, height, make) {
    this.scroller = scroller;
    this.height = height;
    this.make = make;
    this.items = [];
    this.instead = "";
    this.inner = element("div", {role: "presentation"});
    scroller.replaceChildren(this.inner);
    const draw = eachFrame(() => this.draw());
    scroller.addEventListener("scroll", draw, {passive: true});
    new ResizeObserver(draw).observe(scroller);
  }

  // `instead` is said where there is no item.
  show(items, instead = "") {
    this.items = items;
    this.instead = instead;
    this.inner.style.height = `${Math.max(items.length, instead ? 1 : 0) * this.height}px`;
    this.draw();
  }

  draw() {
    if (!this.items.length) {
      this.inner.replaceChildren(this.instead ? element("p.note", {}, this.instead) : "");
      return;
    }
    const {scrollTop, clientHeight} = this.scroller;
    const first = Math.max(0, Math.floor(scrollTop / this.height) - 4);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / this.height) + 4);
    this.inner.replaceChildren(
      ...this.items.slice(first, last).map((item, offset) => {
        const row = this.make(item, first + offset);
        row.style.top = `${(first + offset) * this.height}px`;
        row.style.height = `${this.height}px`;
        return row;
      }),
    );
  }

  reveal(index) {
    const {scrollTop, clientHeight} = this.scroller;
    const top = index * this.height;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.scroller.scrollTop = top + this.height - clientHeight;
    this.draw();
  }

  get page() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 1);
  }
}

// The row that a key moves to, null if the key moves nothing.
function movedBy(key, index, count, page) {
  const moves = {
    ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: count - 1,
  };
  if (!(key in moves) || !count) return null;
  return Math.min(count - 1, Math.max(0, moves[key]));
}
