// What made the run long: a sentence, and a bar whose parts follow each other from its start to its end.

const STRETCHES = {"start-up": "starting up", wait: "waiting for room for containers", between: "between tests", end: "ending"};

const LEAST_SHARE = 1 / 300; // what is shorter is drawn together with its neighbours

// The stretches as they are drawn; `scenario` is null for what is no single one.
function seenStretches() {
  const whole = written.path[written.path.length - 1][2];
  const found = [];
  for (const [kind, start, end, images, row] of written.path) {
    const last = found[found.length - 1];
    const isShort = end - start < whole * LEAST_SHARE;
    if (isShort && last && last.isShort) Object.assign(last, {length: last.length + end - start, tests: last.tests + (row >= 0), scenario: null, images: 0, kind: "between"});
    else found.push({kind, length: end - start, images, tests: row >= 0 ? 1 : 0, scenario: row < 0 ? null : scenarios[row], isShort});
  }
  return found;
}

function drawPath(onPick) {
  const place = byId("path");
  if (!written.path.length) return;
  place.hidden = false;
  place.replaceChildren(element("p", {}, readable(written.sentence)), element("div.stretches", {role: "group", "aria-label": "The longest chain"},
    seenStretches().map(({kind, length, images, tests, scenario}) => {
      const what = scenario ? readable(scenario.name) : tests ? counted(tests, "test") : STRETCHES[kind];
      const told = `${what}: ${duration(length)}${images ? `, of these ${duration(images)} for images` : ""}`;
      const part = scenario
        ? element(`button.stretch.${scenario.outcome}`, {type: "button", title: told, "aria-label": told}, images ? element("i") : null, element("span", {}, readable(scenario.name)))
        : element(`span.stretch.${tests ? "many" : kind}`, {title: told});
      part.style.flexGrow = String(length);
      if (images) {
        part.firstChild.style.width = `${(images / length) * 100}%`;
        part.lastChild.style.paddingLeft = `calc(${(images / length) * 100}% + 4px)`;
      }
      if (scenario) part.addEventListener("click", () => onPick(scenario));
      return part;
    })));
}
