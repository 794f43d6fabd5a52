// A message as people see it: who, when, text, embeds, files, buttons.

import { bytes, el, link, markdown, safeUrl, stamp } from "./text.js";

const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const PINNED = 6;
const THREAD_CREATED = 18;
const THREAD_STARTER = 21;
const BUTTON_STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger" };
/// Messages of one author within this time are shown under one name.
const TOGETHER_MS = 7 * 60 * 1000;

/// Does this message continue the one before it?
export function continues(message, before) {
  return Boolean(before) && before.author.id === message.author.id && plain(message) && plain(before)
    && !message.referenced_message && !(message.flags & EPHEMERAL) === !(before.flags & EPHEMERAL)
    && !message.interaction
    && new Date(message.timestamp) - new Date(before.timestamp) < TOGETHER_MS;
}

function plain(message) {
  return ![PINNED, THREAD_CREATED, THREAD_STARTER].includes(message.type);
}

/// The element of one message. `world` has the names, and what a click does.
export function article(message, before, world) {
  const more = continues(message, before);
  const whisper = Boolean(message.flags & EPHEMERAL);
  const classes = [more ? "more" : "", whisper ? "whisper" : ""].join(" ").trim();
  const node = el("article", { class: classes, "data-id": message.id, "aria-label": `Message of ${message.author.username}` });
  if (!more) node.append(face(message.author));
  const body = el("div", { class: "body" });
  node.append(body);
  if (!plain(message)) {
    if (!more) node.firstChild.replaceWith(el("span"));
    body.append(system(message, world));
    return node;
  }
  if (!more) body.append(...heading(message, world));
  body.append(...content(message, world));
  if (whisper) {
    body.append(el("p", { class: "note" }, "Only you can see this."));
  }
  return node;
}

function face(author) {
  // Ids of the same day are close together; their colours shall not be.
  const hue = Number(((BigInt(author.id) * 2654435761n) >> 12n) % 360n);
  const node = el("div", { class: "face", "aria-hidden": "true" }, (author.username[0] ?? "?").toUpperCase());
  node.style.background = `hsl(${hue} 32% 45%)`;
  return node;
}

function heading(message, world) {
  const parts = [];
  const about = message.interaction;
  if (about) {
    parts.push(el("div", { class: "reply" }, el("span", {}, `${about.user?.username ?? "Somebody"} used /${about.name}`)));
  } else if (message.referenced_message) {
    const original = message.referenced_message;
    const text = original.content || original.embeds[0]?.title || "a message";
    parts.push(el("div", { class: "reply" }, el("span", {}, `Reply to ${original.author.username}: ${text}`)));
  }
  const time = stamp(Math.floor(new Date(message.timestamp) / 1000), "t");
  const name = el("b", {}, message.author.username);
  parts.push(el("div", { class: "by" }, name, message.author.bot ? el("span", { class: "tag" }, "App") : null, time));
  return parts;
}

function system(message, world) {
  const who = message.author.username;
  if (message.type === PINNED) return el("p", { class: "system" }, `${who} pinned a message to this channel.`);
  if (message.type === THREAD_CREATED) {
    const id = message.message_reference?.channel_id;
    return el("p", { class: "system" }, `${who} started a thread: `, world.channel(id));
  }
  const original = message.referenced_message;
  const box = el("div", { class: "system" }, original ? "This thread began with:" : "The message this thread began with is gone.");
  if (original) box.append(...content({ ...original, components: [] }, world));
  return box;
}

function content(message, world) {
  const parts = [];
  if (message.content) {
    const text = el("div", { class: "md" }, markdown(message.content, world));
    if (message.edited_timestamp) text.append(" ", el("span", { class: "edited" }, "(edited)"));
    parts.push(text);
  }
  if (message.flags & LOADING) {
    parts.push(el("p", { class: "loading" }, `${message.author.username} is thinking…`));
  }
  const shown = new Set();
  for (const one of message.embeds) parts.push(embed(one, message, world, shown));
  for (const one of message.components) parts.push(component(one, message, world, shown));
  const files = message.attachments.filter((one) => !shown.has(one.filename)).map(attachment);
  if (files.length > 2) parts.push(el("div", { class: "packs" }, files));
  else parts.push(...files);
  if (message.reactions?.length) {
    parts.push(el("div", { class: "row" }, message.reactions.map((one) =>
      el("span", { class: "pill" }, `${one.emoji.name} ${one.count}`))));
  }
  if (message.thread) {
    const { id, name, message_count: count } = message.thread;
    const label = `${name} · ${count} ${count === 1 ? "message" : "messages"}`;
    const open = () => world.open(id);
    parts.push(el("div", { class: "thread" },
      el("button", { type: "button", class: "button", onclick: open, "data-key": `thread ${id}` }, `Open thread: ${label}`)));
  }
  return parts;
}

function colour(number) {
  return Number.isInteger(number) && number > 0 && number <= 0xffffff
    ? `#${number.toString(16).padStart(6, "0")}` : null;
}

function embed(one, message, world, shown) {
  const node = el("div", { class: "embed" });
  const stripe = colour(one.color);
  if (stripe) node.style.setProperty("--stripe", stripe);
  if (one.author?.name) node.append(el("div", { class: "author" }, link(one.author.url, one.author.name)));
  if (one.title) node.append(el("div", { class: "title md" }, link(one.url, markdown(one.title, world))));
  if (one.description) node.append(el("div", { class: "md" }, markdown(one.description, world)));
  if (one.fields?.length) {
    node.append(el("dl", { class: "fields" }, one.fields.map((field) =>
      el("div", { class: field.inline ? "inline" : "" },
        el("dt", { class: "md" }, markdown(field.name, world)),
        el("dd", { class: "md" }, markdown(field.value, world))))));
  }
  for (const media of [one.image, one.thumbnail]) {
    if (media?.url) node.append(picture(media.url, message, shown, ""));
  }
  const foot = [];
  if (one.footer?.text) foot.push(one.footer.text);
  if (one.timestamp) foot.push(stamp(Math.floor(new Date(one.timestamp) / 1000), "f"));
  if (foot.length === 2) foot.splice(1, 0, " · ");
  if (foot.length) node.append(el("div", { class: "foot" }, foot));
  return node;
}

/// The part of a signed address that is on this machine: pictures come from nowhere else.
function local(address) {
  try {
    const url = new URL(address, location.href);
    return /^\/(ephemeral-)?attachments\//.test(url.pathname) ? url.pathname + url.search : null;
  } catch {
    return null;
  }
}

function picture(address, message, shown, description) {
  const name = /^attachment:\/\/(.+)$/.exec(address)?.[1];
  const file = name && message.attachments.find((one) => one.filename === name);
  if (file) shown.add(file.filename);
  const source = local(file ? file.url : address);
  if (source) return el("img", { src: source, alt: description, loading: "lazy" });
  return el("div", { class: "note" }, "Picture elsewhere, not loaded: ", link(address, address));
}

function icon() {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 22 26");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", "M3 1.5h10l6 6v17H3zM13 1.5v6h6");
  svg.append(path);
  return svg;
}

function attachment(file) {
  const source = local(file.url);
  const name = source ? el("a", { href: source, download: file.filename }, file.filename) : file.filename;
  const row = el("div", { class: "file" }, icon(), el("div", {}, name, el("span", { class: "quiet" }, bytes(file.size))));
  const isPicture = /^image\/(png|jpeg|gif|webp)$/.test(file.content_type ?? "");
  if (!isPicture || !source) return row;
  const alt = file.description ?? file.filename;
  return el("div", { class: "media" }, el("img", { src: source, alt, loading: "lazy" }), row);
}

/// A component, of the older or the newer kind.
export function component(one, message, world, shown = new Set()) {
  const inner = (list) => (list ?? []).map((child) => component(child, message, world, shown));
  switch (one.type) {
    case 1:
      return el("div", { class: "row" }, inner(one.components));
    case 2:
      return button(one, message, world);
    case 3: case 5: case 6: case 7: case 8:
      return menu(one, message, world);
    case 9:
      return el("div", { class: "section" }, el("div", {}, inner(one.components)), component(one.accessory, message, world, shown));
    case 10:
      return el("div", { class: "md" }, markdown(one.content, world));
    case 11:
      return picture(one.media.url, message, shown, one.description ?? "");
    case 12:
      return el("div", { class: "media" }, one.items.map((item) => picture(item.media.url, message, shown, item.description ?? "")));
    case 13: {
      const name = /^attachment:\/\/(.+)$/.exec(one.file.url)?.[1];
      const file = message.attachments.find((each) => each.filename === name);
      if (file) shown.add(file.filename);
      return file ? attachment(file) : el("p", { class: "note" }, "A file that is not there.");
    }
    case 14:
      return el("hr");
    case 17: {
      const panel = el("div", { class: "panel" }, inner(one.components));
      const stripe = colour(one.accent_color);
      if (stripe) panel.style.setProperty("--stripe", stripe);
      return panel;
    }
    default:
      return el("p", { class: "note" }, `A component this page does not know (type ${one.type}).`);
  }
}

function label(one) {
  const emoji = one.emoji?.id ? null : one.emoji?.name;
  return [emoji, one.label].filter(Boolean).join(" ") || "…";
}

function button(one, message, world) {
  if (one.style === 5) {
    const href = safeUrl(one.url);
    return el("a", { class: "button", href, target: "_blank", rel: "noopener noreferrer" }, `${label(one)} ↗`);
  }
  const style = BUTTON_STYLES[one.style] ?? "secondary";
  const press = (event) => world.press(event.currentTarget, message, one.custom_id);
  return el("button", {
    type: "button", class: `button ${style}`, disabled: one.disabled || one.style === 6, onclick: press, "data-key": one.custom_id,
  }, label(one));
}

function menu(one, message, world) {
  const options = world.options(one);
  const name = one.placeholder || "Choose";
  const many = (one.max_values ?? 1) > 1;
  const chosen = (one.options ?? []).filter((option) => option.default).map((option) => option.value);
  const select = el("select", { "aria-label": name, disabled: one.disabled, multiple: many, "data-key": one.custom_id });
  if (!many) select.append(el("option", { value: "" }, name));
  for (const option of options) {
    select.append(el("option", { value: option.value, selected: chosen.includes(option.value) }, option.label));
  }
  const values = () => [...select.selectedOptions].map((option) => option.value).filter(Boolean);
  if (!many) {
    select.addEventListener("change", () => values().length && world.press(select, message, one.custom_id, values()));
    return select;
  }
  const choose = () => world.press(select, message, one.custom_id, values());
  return el("div", { class: "row" }, select, el("button", { type: "button", class: "button", onclick: choose }, "Choose"));
}
