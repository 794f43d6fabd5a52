// Text as people see it: the small part of Markdown that messages have, times, sizes. Every piece
// becomes a text node or an element made here; nothing is ever parsed as HTML.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/// An address that may be followed, or null: only the web's own schemes.
export function safeUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/// A link to elsewhere, or plain text where the address is not one of the web.
export function link(address, ...children) {
  const href = safeUrl(address);
  if (!href) return el("span", {}, ...children);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = "B";
  while (size >= 1024 && units.length) {
    size /= 1024;
    unit = units.shift();
  }
  return `${size.toFixed(size < 10 ? 2 : 1)} ${unit}`;
}

const DAY_S = 86400;

export function relative(seconds, now = Date.now() / 1000) {
  const away = Math.round(seconds - now);
  const steps = [["year", 365 * DAY_S], ["month", 30 * DAY_S], ["day", DAY_S], ["hour", 3600], ["minute", 60]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, length] of steps) {
    if (Math.abs(away) >= length) return words.format(Math.trunc(away / length), unit);
  }
  return Math.abs(away) < 10 ? "just now" : words.format(away, "second");
}

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

/// A `<t:seconds:style>` as an element; the relative style is kept current by `tick`.
export function stamp(seconds, style = "f") {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return document.createTextNode(`<t:${seconds}>`);
  const full = new Intl.DateTimeFormat(undefined, STYLES.F).format(date);
  const node = el("time", { datetime: date.toISOString(), title: full });
  if (style === "R") {
    node.dataset.relative = String(seconds);
    node.textContent = relative(seconds);
  } else {
    node.textContent = new Intl.DateTimeFormat(undefined, STYLES[style] ?? STYLES.f).format(date);
  }
  return node;
}

export function tick(root = document) {
  for (const node of root.querySelectorAll("time[data-relative]")) {
    const text = relative(Number(node.dataset.relative));
    if (node.textContent !== text) node.textContent = text;
  }
}

// Longer marks go first. Each rule: pattern, and what its match becomes.
const RULES = [
  [/\\([\\`*_~|>#\-[\]()<])/, (m) => m[1]],
  [/```(?:[a-z0-9_+-]*\n)?([\s\S]+?)```/i, (m) => el("pre", {}, el("code", {}, m[1].replace(/\n$/, "")))],
  [/``([^`]+)``|`([^`\n]+)`/, (m) => el("code", {}, m[1] ?? m[2])],
  [/<t:(-?\d{1,17})(?::([tTdDfFR]))?>/, (m) => stamp(Number(m[1]), m[2])],
  [/<@[!&]?(\d+)>/, (m, names) => el("span", { class: "mention" }, `@${names.of(m[1])}`)],
  [/<#(\d+)>/, (m, names) => names.channel(m[1])],
  [/<\/([^:>]+):\d+>/, (m) => el("span", { class: "mention" }, `/${m[1]}`)],
  [/<a?:(\w+):\d+>/, (m) => `:${m[1]}:`],
  [/\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/, (m, names) => link(m[2], inline(m[1], names))],
  [/<?(https?:\/\/[^\s<>]*[^\s<>.,:;"')\]])>?/, (m) => link(m[1], m[1])],
  [/\*\*\*([\s\S]+?)\*\*\*/, (m, names) => el("b", {}, el("i", {}, inline(m[1], names)))],
  [/\*\*([\s\S]+?)\*\*/, (m, names) => el("b", {}, inline(m[1], names))],
  [/__([\s\S]+?)__/, (m, names) => el("u", {}, inline(m[1], names))],
  [/~~([\s\S]+?)~~/, (m, names) => el("s", {}, inline(m[1], names))],
  [/\|\|([\s\S]+?)\|\|/, (m, names) => spoiler(inline(m[1], names))],
  [/\*(?!\s)([^*\n]+?)\*|(?<![\w])_(?!\s)([^_\n]+?)_(?![\w])/, (m, names) => el("i", {}, inline(m[1] ?? m[2], names))],
];

function spoiler(content) {
  const node = el("button", { type: "button", class: "spoiler", "aria-label": "Spoiler: show" }, content);
  node.addEventListener("click", () => {
    node.classList.add("shown");
    node.removeAttribute("aria-label");
  });
  return node;
}

function inline(text, names) {
  const out = document.createDocumentFragment();
  let rest = text;
  while (rest) {
    let first = null;
    for (const [pattern, make] of RULES) {
      const match = pattern.exec(rest);
      if (match && (!first || match.index < first.match.index)) first = { match, make };
    }
    if (!first) break;
    out.append(rest.slice(0, first.match.index), first.make(first.match, names));
    rest = rest.slice(first.match.index + first.match[0].length);
  }
  out.append(rest);
  return out;
}

/// A whole text: lines that are headings, quotes, lists or small print, and what is in them.
export function markdown(text, names) {
  const out = document.createDocumentFragment();
  // Fenced code keeps its lines together.
  for (const part of String(text).split(/(```[\s\S]+?```)/)) {
    if (part.startsWith("```")) out.append(inline(part, names));
    else lines(out, part, names);
  }
  return out;
}

function lines(out, text, names) {
  let plain = [];
  const flush = () => {
    if (plain.length) out.append(inline(plain.join("\n"), names));
    plain = [];
  };
  const block = (node) => {
    flush();
    out.append(node);
  };
  for (const line of text.split("\n")) {
    const heading = /^(#{1,3})\s+(.+)/.exec(line);
    const list = /^\s*[-*]\s+(.+)/.exec(line);
    if (heading) block(el("h4", {}, inline(heading[2], names)));
    else if (line.startsWith("-# ")) block(el("div", { class: "sub" }, inline(line.slice(3), names)));
    else if (line.startsWith("> ")) block(el("blockquote", {}, inline(line.slice(2), names)));
    else if (list) block(el("ul", {}, el("li", {}, inline(list[1], names))));
    else plain.push(line);
  }
  flush();
}
