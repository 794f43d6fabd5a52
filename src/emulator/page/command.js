// Commands: the list that "/" opens, the form of one, completions; and modals.

import { el } from "./text.js";

const $ = (id) => document.getElementById(id);
const [SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT] = Array.from({ length: 11 }, (_, at) => at + 1);
/// A pause in typing, after which completions are asked for.
const PAUSE_MS = 160;

/// Every command as one line: its words, what it does, its options.
function flat(commands) {
  const out = [];
  const walk = (words, description, options, id) => {
    const nested = (options ?? []).filter((one) => one.type === SUBCOMMAND || one.type === GROUP);
    if (!nested.length) out.push({ words, description, options: options ?? [], id });
    for (const one of nested) walk([...words, one.name], one.description, one.options, id);
  };
  for (const one of commands.filter((each) => each.type === 1)) walk([one.name], one.description, one.options, one.id);
  return out;
}

export function commands({ state, act, notice, told, world }) {
  let matches = [];
  let chosen = 0;

  const text = $("text");
  const list = $("palette");
  const form = $("command");

  function isOpen() {
    return !list.hidden;
  }

  function close() {
    list.hidden = true;
    text.setAttribute("aria-expanded", "false");
    text.removeAttribute("aria-activedescendant");
    form.hidden = true;
    $("composer").hidden = false;
  }

  function typed(value) {
    if (!value.startsWith("/") || value.includes("\n")) {
      if (isOpen()) close();
      return;
    }
    const wanted = value.slice(1).trim().toLowerCase();
    matches = flat(state.overview.commands).filter((one) => one.words.join(" ").includes(wanted));
    chosen = 0;
    draw();
  }

  function draw() {
    const options = matches.map((one, at) => {
      const node = el("div", { role: "option", id: `command-${at}`, "aria-selected": String(at === chosen) },
        el("b", {}, `/${one.words.join(" ")}`), el("span", {}, one.description));
      node.addEventListener("mousedown", (event) => {
        event.preventDefault();
        chosen = at;
        take();
      });
      return node;
    });
    if (!options.length) options.push(el("p", { class: "quiet" }, "No such command. Applications register them when they start."));
    list.replaceChildren(...options);
    list.hidden = false;
    text.setAttribute("aria-expanded", "true");
    text.setAttribute("aria-activedescendant", `command-${chosen}`);
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  /// Keys while the list is open; says whether it took the key.
  function key(event) {
    if (!isOpen()) return false;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (steps[event.key] && matches.length) chosen = (chosen + steps[event.key] + matches.length) % matches.length;
    else if (event.key === "Tab" || event.key === "Enter") take();
    else if (event.key === "Escape") {
      close();
      event.preventDefault();
      return true;
    } else return false;
    event.preventDefault();
    if (isOpen()) draw();
    return true;
  }

  function take() {
    const one = matches[chosen];
    if (!one) return;
    text.value = "";
    close();
    if (one.options.length) show(one);
    else run(one, {}, []);
  }

  function show(one) {
    const fields = one.options.map((option) => field(one, option));
    const send = el("button", { type: "submit", class: "send" }, "Run");
    const cancel = el("button", { type: "button", class: "button", onclick: () => leave() }, "Cancel");
    form.replaceChildren(
      el("h3", {}, `/${one.words.join(" ")}`), el("p", { class: "quiet" }, one.description),
      el("div", { class: "fieldset" }, fields.map((each) => each.node)), el("div", { class: "row" }, send, cancel));
    form.onsubmit = (event) => {
      event.preventDefault();
      const { options, files } = values(fields);
      run(one, options, files, send);
    };
    // No value is returned: `false` would keep every key from the fields.
    form.onkeydown = (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) leave();
    };
    form.hidden = false;
    $("composer").hidden = true;
    form.querySelector("input, select")?.focus();
    current = fields;
  }

  let current = [];
  function values(fields) {
    const options = {};
    const files = [];
    for (const each of fields) {
      if (each.file) {
        if (each.input.files[0]) options[each.name] = files.push(each.input.files[0]) - 1;
      } else if (each.input.value !== "") options[each.name] = each.input.dataset.value ?? each.input.value;
    }
    return { options, files };
  }

  function leave() {
    close();
    text.focus();
  }

  async function run(one, options, files, button) {
    if (button) button.disabled = true;
    notice(`/${one.words.join(" ")} …`);
    try {
      const outcome = await act("commands", { command: [one.id, ...one.words.slice(1)].join(" "), options }, files);
      leave();
      told(outcome);
    } catch (error) {
      notice(error.message, "bad");
    }
    if (button) button.disabled = false;
  }

  function field(one, option) {
    const id = `option-${option.name}`;
    const common = { id, name: option.name, required: option.required, autocomplete: "off", "aria-describedby": `${id}-hint` };
    const choose = (rows) => el("select", common, el("option", { value: "" }, option.required ? "Choose" : "–"),
      rows.map(([value, label]) => el("option", { value }, label)));
    const of = (type) => world.options({ type }).map((each) => [each.value, each.label]);
    let input;
    if (option.choices?.length) input = choose(option.choices.map((each) => [each.value, each.name]));
    else if (option.type === BOOLEAN) input = choose([["true", "yes"], ["false", "no"]]);
    else if (option.type === USER) input = choose(of(5));
    else if (option.type === ROLE) input = choose(of(6));
    else if (option.type === MENTIONABLE) input = choose(of(7));
    else if (option.type === CHANNEL) input = choose(of(8));
    else if (option.type === ATTACHMENT) input = el("input", { ...common, type: "file" });
    else if (option.type !== STRING && !option.autocomplete) {
      const step = option.type === INTEGER ? "1" : "any";
      input = el("input", { ...common, type: "number", step, min: option.min_value, max: option.max_value });
    } else input = el("input", { ...common, type: "text", maxlength: option.max_length });
    const label = option.required ? option.name : `${option.name} (optional)`;
    const node = el("div", { class: "field" }, el("label", { for: id }, label), input, el("div", { class: "hint", id: `${id}-hint` }, option.description));
    if (option.autocomplete) complete(one, option, input, node);
    return { node, input, name: option.name, file: option.type === ATTACHMENT };
  }

  /// Offers what the application thinks of while one types.
  function complete(one, option, input, node) {
    const box = el("div", { class: "options", role: "listbox", id: `${input.id}-list`, hidden: true, "aria-label": `Choices for ${option.name}` });
    node.append(box);
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-controls", box.id);
    input.setAttribute("aria-expanded", "false");
    let rows = [];
    let at = -1;
    let timer = 0;
    let asked = 0;
    const hide = () => {
      box.hidden = true;
      at = -1;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    };
    const pick = (row) => {
      input.value = row.name;
      input.dataset.value = row.value;
      hide();
    };
    const mark = () => {
      [...box.children].forEach((child, index) => child.setAttribute("aria-selected", String(index === at)));
      if (at >= 0) input.setAttribute("aria-activedescendant", `${box.id}-${at}`);
      box.children[at]?.scrollIntoView({ block: "nearest" });
    };
    const ask = async () => {
      const number = ++asked;
      const { options } = values(current);
      options[option.name] = input.value;
      const body = { command: [one.id, ...one.words.slice(1)].join(" "), options, focused: option.name };
      const outcome = await act("completions", body).catch(() => null);
      if (number !== asked || document.activeElement !== input) return;
      rows = outcome?.answer?.choices ?? [];
      at = -1;
      box.replaceChildren(...rows.map((row, index) => {
        const child = el("div", { role: "option", id: `${box.id}-${index}`, "aria-selected": "false" }, row.name);
        child.addEventListener("mousedown", (event) => {
          event.preventDefault();
          pick(row);
        });
        return child;
      }));
      box.hidden = rows.length === 0;
      input.setAttribute("aria-expanded", String(rows.length > 0));
    };
    const later = () => {
      delete input.dataset.value;
      clearTimeout(timer);
      timer = setTimeout(ask, PAUSE_MS);
    };
    input.addEventListener("input", later);
    input.addEventListener("focus", later);
    input.addEventListener("blur", hide);
    input.addEventListener("keydown", (event) => {
      if (box.hidden) return;
      const steps = { ArrowDown: 1, ArrowUp: -1 };
      if (steps[event.key]) at = (at + steps[event.key] + rows.length) % rows.length;
      else if (event.key === "Enter" && at >= 0) pick(rows[at]);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
      mark();
    });
  }

  // Modals: a dialog of text fields and choices.

  const dialog = $("modal");

  function open(interaction, modal) {
    const inputs = [];
    const node = (one, label, description) => {
      if (one.type === 10) return el("p", {}, one.content);
      if (one.type === 1) return el("div", {}, one.components.map((child) => node(child, child.label)));
      if (one.type === 18) return node(one.component, one.label, one.description);
      const id = `modal-${inputs.length}`;
      const common = { id, required: one.required !== false, placeholder: one.placeholder };
      let input;
      if (one.type === 4) {
        const bounds = { minlength: one.min_length, maxlength: one.max_length };
        input = one.style === 2 ? el("textarea", { ...common, ...bounds, rows: 4 }) : el("input", { ...common, ...bounds, type: "text" });
        input.value = one.value ?? "";
      } else {
        const many = (one.max_values ?? 1) > 1;
        const options = world.options(one).map((each) => el("option", { value: each.value, selected: each.default }, each.label));
        input = el("select", { id, required: common.required, multiple: many }, many ? [] : el("option", { value: "" }, one.placeholder || "Choose"), options);
      }
      inputs.push({ input, one });
      return el("div", { class: "field" }, el("label", { for: id }, label ?? one.custom_id), input, description ? el("div", { class: "hint" }, description) : null);
    };
    const fields = modal.components.map((one) => node(one));
    const wrong = el("p", { role: "alert", class: "quiet" });
    const cancel = el("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel");
    const inner = el("form", {}, el("h3", {}, modal.title), el("div", { class: "fieldset" }, fields), wrong,
      el("div", { class: "row" }, el("button", { type: "submit", class: "send" }, "Send"), cancel));
    inner.addEventListener("submit", async (event) => {
      event.preventDefault();
      const filled = {};
      for (const { input, one } of inputs) {
        filled[one.custom_id] = one.type === 4 ? input.value : [...input.selectedOptions].map((each) => each.value).filter(Boolean);
      }
      try {
        const outcome = await act("modals", { interaction, values: filled });
        dialog.close();
        told(outcome);
      } catch (error) {
        wrong.textContent = error.message;
      }
    });
    dialog.replaceChildren(inner);
    dialog.setAttribute("aria-label", modal.title);
    dialog.showModal();
  }

  return { palette: { isOpen, close, typed, key, take }, modals: { open } };
}
