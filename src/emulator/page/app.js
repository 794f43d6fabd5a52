// The page: channels, the messages of one, and what the chosen person does.

import { article } from "./message.js";
import { commands } from "./command.js";
import { bytes, el, tick } from "./text.js";

const $ = (id) => document.getElementById(id);
const PAGE = 50;
const THREADS_SHOWN = 8;
const KINDS = { 0: "#", 2: "♪", 5: "!", 15: "≡" };

const state = { me: null, channel: null, overview: null, messages: [], shown: new Map(), unread: new Set(), whole: new Set(), more: false, atEnd: true };

/// Asks the emulator; what it refuses is thrown as an error with its sentence.
async function ask(path, options = {}) {
  const answer = await fetch(`/_control/${path}`, { ...options, credentials: "omit" });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.error ?? `the emulator answered ${answer.status}`);
  return body;
}

/// A person acts in the channel that is open. Files go along as `files[n]`.
function act(deed, body, files = []) {
  const path = `people/${state.me}/channels/${state.channel}/${deed}`;
  if (!files.length) {
    const headers = { "content-type": "application/json" };
    return ask(path, { method: "POST", headers, body: JSON.stringify(body) });
  }
  const form = new FormData();
  form.append("payload_json", JSON.stringify(body));
  files.forEach((file, at) => form.append(`files[${at}]`, file));
  return ask(path, { method: "POST", body: form });
}

let noticeEnds = 0;
function notice(text, kind = "") {
  $("notice").textContent = text;
  $("notice").className = kind;
  clearTimeout(noticeEnds);
  if (text) noticeEnds = setTimeout(() => notice(""), 12000);
}

/// Tells what came of an interaction; a modal is opened.
function told(outcome) {
  if (outcome.state === "nobody") notice("No application is connected, so nobody heard this.", "bad");
  else if (outcome.state === "waiting") notice("The application did not respond in time.", "bad");
  else if (outcome.answer?.modal) modals.open(outcome.interaction, outcome.answer.modal);
  else notice("");
}

const world = {
  of: (id) => state.overview?.people.find((one) => one.id === id)?.name
    ?? state.overview?.roles.find((one) => one.id === id)?.name ?? id,
  channel(id) {
    const found = places().find((one) => one.id === id);
    if (!found) return el("span", { class: "mention" }, `#${id ?? "unknown"}`);
    return el("button", { type: "button", class: "mention", onclick: () => open(id) }, `#${found.name}`);
  },
  open: (id) => open(id),
  options(menu) {
    const of = (list) => list.map((one) => ({ value: one.id, label: one.name }));
    const { people, roles } = state.overview;
    return { 5: of(people), 6: of(roles), 7: of([...people, ...roles]), 8: of(places()) }[menu.type] ?? menu.options ?? [];
  },
  async press(node, message, customId, values) {
    node.disabled = true;
    try {
      told(await act("clicks", { message: message.id, custom_id: customId, values }));
    } catch (error) {
      notice(error.message, "bad");
    }
    node.disabled = false;
    refresh();
  },
};

const { palette, modals } = commands({ state, act, notice, told, world, places });

function places() {
  return state.overview ? [...state.overview.channels, ...state.overview.threads] : [];
}

// The side: who, and where.

async function overview() {
  const all = await ask("people");
  const people = all.filter((one) => !one.bot);
  const kept = localStorage.getItem("me");
  const wanted = state.me ?? kept;
  state.me = people.find((one) => one.id === wanted)?.id ?? people[0]?.id;
  state.overview = await ask(`people/${state.me}/overview`);
  const me = $("me");
  if (document.activeElement !== me) {
    me.replaceChildren(...people.map((one) => el("option", { value: one.id, selected: one.id === state.me }, one.username)));
  }
  const { guild, applications, attachment_bytes_max: max } = state.overview;
  $("guild").textContent = guild.name;
  document.title = `${guild.name} · ods emulator`;
  $("state").textContent = `Bot ${applications ? "online" : "offline"} · files up to ${bytes(max)}`;
  if (!places().some((one) => one.id === state.channel)) {
    const first = state.overview.channels.find((one) => one.type === 0 || one.type === 5);
    state.channel = location.hash.slice(1) || null;
    if (!places().some((one) => one.id === state.channel)) state.channel = first?.id ?? null;
  }
  side();
  head();
}

function side() {
  const focused = document.activeElement?.dataset?.place;
  const { channels, threads } = state.overview;
  const groups = channels.filter((one) => one.type === 4);
  const texts = channels.filter((one) => one.type !== 4);
  const nav = $("channels");
  const list = (parent) => el("ul", {}, texts.filter((one) => (one.parent_id ?? null) === parent).map((one) => entry(one, threads)));
  const parts = [list(null)];
  for (const group of groups) parts.push(el("h3", {}, group.name), list(group.id));
  nav.replaceChildren(...parts);
  if (focused) nav.querySelector(`[data-place="${CSS.escape(focused)}"]`)?.focus();
}

function entry(channel, threads) {
  const item = el("li", {}, row(channel, KINDS[channel.type] ?? "#", null));
  const own = threads.filter((one) => one.parent_id === channel.id);
  if (!own.length) return item;
  const inner = own.filter((one) => !one.thread_metadata.archived || one.id === state.channel);
  const some = state.whole.has(channel.id) ? own : inner.slice(0, THREADS_SHOWN);
  if (!some.some((one) => one.id === state.channel)) some.push(...own.filter((one) => one.id === state.channel));
  const rows = some.map((one) => el("li", {}, row(one, "↳", one.message_count)));
  if (own.length > some.length) {
    const all = () => {
      state.whole.add(channel.id);
      side();
    };
    const text = `All ${own.length} threads`;
    rows.push(el("li", {}, el("button", { type: "button", onclick: all }, el("span", { class: "label" }, text))));
  }
  item.append(el("ul", {}, rows));
  return item;
}

function row(place, mark, count) {
  return el("button", {
    type: "button", "data-place": place.id, "aria-current": place.id === state.channel ? "page" : null,
    class: state.unread.has(place.id) && place.id !== state.channel ? "unread" : "", onclick: () => open(place.id),
  }, el("span", { class: "mark", "aria-hidden": "true" }, mark), el("span", { class: "label" }, place.name),
  count ? el("span", { class: "count", title: "messages" }, String(count)) : null);
}

function head() {
  const place = places().find((one) => one.id === state.channel);
  $("name").textContent = place ? place.name : "No channel";
  const parent = places().find((one) => one.id === place?.parent_id);
  const about = place?.thread_metadata ? `Thread in ${parent?.name ?? "a channel"}` : place?.topic;
  $("topic").textContent = about ?? "";
  $("text").placeholder = place ? `Message ${place.name} · / for commands` : "";
}

async function open(id) {
  state.channel = id;
  state.unread.delete(id);
  state.messages = [];
  state.shown.clear();
  history.replaceState(null, "", `#${id}`);
  drawer(false);
  palette.close();
  $("log").replaceChildren(el("p", { class: "middle" }, "…"));
  side();
  head();
  await refresh();
  $("log").scrollTop = $("log").scrollHeight;
}

// The messages.

async function load(before, limit) {
  const query = before ? `before=${before}&limit=${limit}` : `limit=${limit}`;
  return ask(`people/${state.me}/channels/${state.channel}/messages?${query}`);
}

let running = null;
let again = false;
/// Looks at the open channel anew; calls while it looks become one more look.
function refresh() {
  if (running) {
    again = true;
    return running;
  }
  running = look().finally(() => {
    running = null;
    if (again) {
      again = false;
      refresh();
    }
  });
  return running;
}

async function look(wanted = Math.max(PAGE, state.messages.length)) {
  const { channel, me } = state;
  if (!channel) return;
  const found = [];
  try {
    while (found.length < wanted) {
      const limit = Math.min(100, wanted - found.length);
      const page = await load(found.at(-1)?.id, limit);
      found.push(...page);
      state.more = page.length === limit;
      if (!state.more) break;
    }
  } catch (error) {
    if (channel === state.channel) $("log").replaceChildren(el("p", { class: "middle" }, `This channel cannot be shown: ${error.message}`));
    return;
  }
  if (channel !== state.channel || me !== state.me) return;
  state.messages = found.reverse();
  draw();
}

/// Puts the messages on the page; those that did not change keep their elements.
function draw() {
  const log = $("log");
  const { atEnd } = state;
  const active = log.contains(document.activeElement) ? document.activeElement : null;
  const place = active && [active.closest("article")?.dataset.id, active.dataset.key];
  const nodes = [];
  const shown = new Map();
  if (state.more) nodes.push(el("button", { type: "button", class: "button earlier", onclick: earlier }, "Earlier messages"));
  let before = null;
  let day = "";
  for (const message of state.messages) {
    const date = new Date(message.timestamp).toLocaleDateString(undefined, { dateStyle: "long" });
    if (date !== day) {
      nodes.push(el("div", { class: "day" }, date));
      before = null;
      day = date;
    }
    const key = JSON.stringify([message, before?.id, before?.author.id]);
    const known = state.shown.get(message.id);
    const node = known?.key === key ? known.node : article(message, before, world);
    shown.set(message.id, { key, node });
    nodes.push(node);
    before = message;
  }
  if (!state.messages.length) nodes.push(el("p", { class: "middle" }, "Nothing has been said here yet."));
  state.shown = shown;
  // Only what differs is touched, so that focus and selections stay.
  nodes.forEach((node, at) => {
    if (log.childNodes[at] !== node) log.insertBefore(node, log.childNodes[at] ?? null);
  });
  while (log.childNodes.length > nodes.length) log.lastChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (active && !active.isConnected && place[0] && place[1]) {
    const node = shown.get(place[0])?.node;
    node?.querySelector(`[data-key="${CSS.escape(place[1])}"]`)?.focus();
  }
  tick(log);
}

async function earlier() {
  const log = $("log");
  const below = log.scrollHeight - log.scrollTop;
  await look(state.messages.length + PAGE);
  log.scrollTop = log.scrollHeight - below;
}

// What is written.

function picked() {
  const input = $("files");
  $("picked").replaceChildren(...[...input.files].map((file) => {
    const drop = () => {
      const rest = new DataTransfer();
      [...input.files].filter((one) => one !== file).forEach((one) => rest.items.add(one));
      input.files = rest.files;
      picked();
    };
    return el("button", { type: "button", "aria-label": `Take away ${file.name}`, onclick: drop }, `${file.name} · ${bytes(file.size)} ×`);
  }));
}

function grow() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
}

async function send(event) {
  event.preventDefault();
  const text = $("text");
  if (palette.isOpen()) return palette.take();
  const files = [...$("files").files];
  if (!text.value.trim() && !files.length) return;
  const content = text.value;
  text.value = "";
  grow();
  try {
    await act("messages", { content }, files);
    $("files").value = "";
    picked();
    notice("");
  } catch (error) {
    text.value = content;
    grow();
    notice(error.message, "bad");
  }
  await refresh();
  $("log").scrollTop = $("log").scrollHeight;
}

function drawer(show) {
  $("side").classList.toggle("open", show);
  $("menu").setAttribute("aria-expanded", String(show));
}

// What happens meanwhile.

let pending = { guild: false, channel: false };
let soon = 0;
function news(event) {
  const { channels, guild, missed } = JSON.parse(event.data);
  for (const id of channels) if (id !== state.channel) state.unread.add(id);
  pending.channel ||= missed || channels.includes(state.channel);
  pending.guild ||= missed || guild || channels.some((id) => id !== state.channel);
  soon ||= setTimeout(catchUp, 120);
}

async function catchUp() {
  const { guild, channel } = pending;
  pending = { guild: false, channel: false };
  soon = 0;
  try {
    if (guild) await overview();
    if (channel) await refresh();
  } catch {
    // The stream tells when the emulator is back.
  }
}

function listen() {
  const stream = new EventSource("/_control/events");
  let lost = false;
  stream.onmessage = news;
  stream.onopen = () => {
    if (lost) {
      notice("");
      overview().then(refresh);
    }
    lost = false;
  };
  stream.onerror = () => {
    lost = true;
    notice("The emulator does not answer; waiting for it.", "bad");
  };
}

async function start() {
  $("composer").addEventListener("submit", send);
  $("files").addEventListener("change", picked);
  $("text").addEventListener("input", () => {
    grow();
    palette.typed($("text").value);
  });
  $("text").addEventListener("keydown", (event) => {
    if (palette.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("composer").requestSubmit();
    }
  });
  $("menu").addEventListener("click", () => drawer(!$("side").classList.contains("open")));
  document.addEventListener("keydown", (event) => event.key === "Escape" && drawer(false));
  $("me").addEventListener("change", async () => {
    state.me = $("me").value;
    localStorage.setItem("me", state.me);
    $("me").blur();
    palette.close();
    await overview();
    await open(state.channel);
  });
  addEventListener("hashchange", () => {
    const id = location.hash.slice(1);
    if (id !== state.channel && places().some((one) => one.id === id)) open(id);
  });
  // Whoever reads the end goes on reading the end, also when a form takes its room.
  const log = $("log");
  log.addEventListener("scroll", () => {
    state.atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  });
  new ResizeObserver(() => {
    if (state.atEnd) log.scrollTop = log.scrollHeight;
  }).observe(log);
  setInterval(tick, 5000);
  await overview();
  if (state.channel) await open(state.channel);
  listen();
  document.body.dataset.ready = "true";
}

start().catch((error) => notice(error.message, "bad"));
