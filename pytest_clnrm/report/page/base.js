// Elements and texts. Nothing here or later makes markup from text.

const byId = (id) => document.getElementById(id);

// element("p.note", {title: "..."}, "text", otherElement, ...)
function element(kind, attributes, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

// Colours that a terminal would show are left out. Other control characters, separators of lines and what turns
// the direction of writing are shown as what they are.
const COLOUR_CODES = /\u001b\[[0-9;]*m/g;
const PLAIN = /^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$/;
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

function readable(text) {
  // Nearly all texts are, and a large run has a hundred thousand of them.
  if (PLAIN.test(text)) return text;
  return text
    .replace(/\r\n/g, "\n")
    .replace(COLOUR_CODES, "")
    .replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function duration(microseconds) {
  const size = Math.abs(microseconds);
  if (size < 1000) return `${Math.round(microseconds)} µs`;
  if (size < 1e6) return `${(microseconds / 1e3).toFixed(size < 1e4 ? 1 : 0)} ms`;
  if (size < 6e7) return `${(microseconds / 1e6).toFixed(size < 1e7 ? 2 : 1)} s`;
  if (size < 3.6e9) return `${Math.floor(microseconds / 6e7)} min ${Math.floor((microseconds % 6e7) / 1e6)} s`;
  return `${Math.floor(microseconds / 3.6e9)} h ${Math.floor((microseconds % 3.6e9) / 6e7)} min`;
}

function bytes(count) {
  if (count >= 2 ** 30) return `${+(count / 2 ** 30).toFixed(2)} GB`;
  if (count >= 2 ** 20) return `${+(count / 2 ** 20).toFixed(1)} MB`;
  return `${Math.round(count / 1024)} KB`;
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

const ICONS = {
  passed: "✓", failed: "✗", error: "!", crashed: "†", skipped: "–", xfailed: "–", xpassed: "✓", timeout: "✗", "not run": "–",
};

function icon(outcome) {
  return element(`span.icon.${outcome.replace(" ", "-")}`, {role: "img", "aria-label": outcome}, ICONS[outcome] || "?");
}

// Calls `draw` at most once a frame.
function eachFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
