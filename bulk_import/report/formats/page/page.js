"use strict";
// The report is data: it reaches the page as text nodes and attribute values only, never as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const OPERATION = "GetParametersForImport"; // the scarcest quota: it paces a lane
  const DAY = 86400000;
  const ORDER = ["failed", "not_attempted", "unproved", "deleted", "reimported", "imported", "corrected", "unchanged"]; // failures first
  const DETAILS = { material_not_compared: "not compared with the source: specify `key_material_id` in the manifest" };
  const PROOFS = { hmac: "by HMAC", public_key: "by public key", material_id: "by material ID", none: "no proof" };

  // ---- reading the data ------------------------------------------------------------------------------------------
  const data = JSON.parse($("report").textContent);
  const { fields, tables } = data.results;
  const results = data.results.rows.map((row) => {
    const result = {};
    fields.forEach((name, i) => { result[name] = name in tables ? tables[name][row[i]] : row[i]; });
    result.start = Date.parse(result.started_at); // NaN if there is none
    result.end = Date.parse(result.finished_at);
    result.sent = result.attempts ? result.end - 1000 * (result.verification_seconds || 0) : NaN; // before the verification
    result.day = result.valid_to ? new Date(result.valid_to).toISOString().slice(0, 10) : "";
    result.ok = result.status !== "failed" && result.status !== "not_attempted";
    result.unproved = result.ok && result.proof === "none";
    return result;
  });
  delete data.results; // the rows are in `results` now: at 100,000 targets without a second copy, and searched texts, it takes 45 MB less
  // What a search looks through. It is made by the first search, because most pages are read without one.
  const searched = (result) => result.text ??= [result.id, result.key_id, result.key_arn, result.account, result.region, result.status,
    result.key_spec, result.code, result.message, result.key_material_id, ...result.request_ids.map((entry) => entry[1])]
    .join("\n").toLowerCase();
  const byLane = new Map();
  for (const result of results) {
    const key = result.account + "/" + result.region;
    if (!byLane.has(key)) byLane.set(key, []);
    byLane.get(key).push(result);
  }

  // ---- making elements and words ---------------------------------------------------------------------------------
  function make(space, name, attributes, children) {
    const element = space ? document.createElementNS(space, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "onclick") element.addEventListener("click", value);
      else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : String(value));
    }
    element.append(...children.filter((child) => child != null && child !== false));
    return element;
  }
  const el = (name, attributes, ...children) => make(null, name, attributes, children);
  const svg = (name, attributes, ...children) => make(SVG, name, attributes, children);
  const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: "#icon-" + name }));

  const count = (n) => n.toLocaleString("en");
  const plural = (n, noun) => count(n) + " " + noun + (n === 1 ? "" : "s");
  const words = (status) => (status === "unproved" ? "OK, unproved" : status.replace("_", " "));
  // What is between backticks is code.
  const ticks = (text) => String(text || "").split("`").map((part, i, parts) =>
    (i % 2 && i < parts.length - 1 ? el("code", {}, part) : i % 2 ? "`" + part : part));
  const instant = (text) => (text ? text.slice(0, 10) + " " + text.slice(11, 19) + " UTC" : "");
  const date = (day) => new Date(day + "T00:00:00Z")
    .toLocaleDateString("en-GB", { timeZone: "UTC", day: "numeric", month: "long", year: "numeric" });
  function duration(seconds) {
    if (!(seconds >= 0)) return "";
    if (seconds === 0) return "0 s";
    if (seconds < 9.95) return seconds.toFixed(1) + " s";
    const whole = Math.round(seconds);
    if (whole < 60) return whole + " s";
    if (whole < 3600) return Math.floor(whole / 60) + " min " + (whole % 60) + " s";
    return Math.floor(whole / 3600) + " h " + Math.floor((whole % 3600) / 60) + " min";
  }

  // ---- pages of a list -------------------------------------------------------------------------------------------
  // Only one page of rows is ever in the document: that is what keeps 10,000 targets quick.
  function pager(nav, sizes, noun, show) {
    const state = { page: 0, size: sizes[0], total: 0 };
    const button = (name, step) => el("button", { type: "button", class: "plain", onclick: () => go(step()) }, name);
    const last = () => Math.max(0, Math.ceil(state.total / state.size) - 1);
    const first = button("First", () => 0);
    const previous = button("Previous", () => state.page - 1);
    const next = button("Next", () => state.page + 1);
    const end = button("Last", last);
    const place = el("span", { role: "status" });
    const size = el("select", {}, ...sizes.map((n) => el("option", { value: n }, count(n))));
    size.addEventListener("change", () => { state.size = Number(size.value); go(0); });
    const label = el("label", {}, noun + " per page", size);
    function go(page) {
      state.page = Math.min(Math.max(0, page), last());
      const from = state.page * state.size;
      const held = document.activeElement;
      first.disabled = previous.disabled = state.page === 0;
      next.disabled = end.disabled = state.page === last();
      if (held && held.disabled && nav.contains(held)) [previous, next].find((b) => !b.disabled)?.focus();
      place.textContent = "Page " + count(state.page + 1) + " of " + count(last() + 1);
      show(from, Math.min(from + state.size, state.total));
    }
    return (total) => {
      state.total = total;
      if (total <= sizes[0]) nav.replaceChildren();
      else if (!nav.firstChild) nav.append(first, previous, place, next, end, el("span", { class: "gap" }), label);
      go(0);
    };
  }

  // ---- targets: filter, search, order ----------------------------------------------------------------------------
  const form = $("filters");
  const SELECTS = ["status", "account", "region", "code", "proof"];
  const KEYS = [...SELECTS, "q", "day", "sort"];
  const names = { status: words, proof: (proof) => PROOFS[proof] || proof };

  function fillSelect(name) {
    const tally = new Map();
    for (const result of results) {
      if (result[name] != null) tally.set(result[name], (tally.get(result[name]) || 0) + 1);
      if (name === "status" && result.unproved) tally.set("unproved", (tally.get("unproved") || 0) + 1);
    }
    const values = [...tally.keys()].sort((a, b) =>
      name === "status" ? ORDER.indexOf(a) - ORDER.indexOf(b) : name === "code" ? tally.get(b) - tally.get(a) : a < b ? -1 : 1);
    $(name).append(el("option", { value: "" }, "All"), ...values.map((value) =>
      el("option", { value }, (names[name] ? names[name](value) : value) + " (" + count(tally.get(value)) + ")")));
    $(name).disabled = values.length === 0;
  }

  const never = (value, worst) => (Number.isNaN(value) ? worst : value);
  const sorts = {
    "": (a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || a.index - b.index,
    manifest: (a, b) => a.index - b.index,
    started: (a, b) => never(a.start, Infinity) - never(b.start, Infinity) || a.index - b.index,
    longest: (a, b) => never(b.end - b.start, -1) - never(a.end - a.start, -1) || a.index - b.index,
    expiry: (a, b) => (a.day || "9999") < (b.day || "9999") ? -1 : (a.day || "9999") > (b.day || "9999") ? 1 : a.index - b.index,
  };
  // Infinity - Infinity is NaN, which falls through to the manifest's order.

  let shown = [];
  let saying;
  function apply() {
    const terms = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = SELECTS.filter((name) => $(name).value).map((name) => [name, $(name).value]);
    const day = $("day").value;
    shown = results.filter((result) =>
      wanted.every(([name, value]) => (value === "unproved" && name === "status" ? result.unproved : result[name] === value)) && (!day || result.day === day) &&
      terms.every((term) => searched(result).includes(term)));
    shown.sort(sorts[$("sort").value] || sorts[""]);
    turn(shown.length);
    for (const button of document.querySelectorAll("button.count")) {
      button.setAttribute("aria-pressed", String($("status").value === button.dataset.status));
    }
    // Updated when typing pauses, so that a screen reader does not read it after each letter.
    clearTimeout(saying);
    saying = setTimeout(() => {
      $("found").textContent = shown.length === results.length
        ? plural(results.length, "target")
        : count(shown.length) + " of " + plural(results.length, "target") + (shown.length ? "" : ": nothing matches. Clear a filter.");
    }, 200);
    remember();
  }

  // The filter is part of the address, so that it can be sent to a colleague.
  function remember() {
    const set = KEYS.filter((key) => $(key).value).map((key) => [key, $(key).value]);
    const hash = set.length ? "#" + new URLSearchParams(set) : location.hash.includes("=") ? "#targets" : location.hash;
    if (hash !== location.hash) history.replaceState(null, "", hash || "#");
  }
  function recall() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const key of KEYS) if (given.has(key)) $(key).value = given.get(key);
    for (const name of [...SELECTS, "sort"]) if ($(name).selectedIndex < 0) $(name).value = "";
  }

  function only(filters) {
    form.reset();
    for (const [name, value] of Object.entries(filters)) $(name).value = value;
    apply();
    $("targets").scrollIntoView();
    $("targets").focus({ preventScroll: true });
  }

  const turn = pager($("pages"), [25, 100, 500], "Targets", (from, to) => {
    $("rows").tBodies[0].replaceChildren(...shown.slice(from, to).map(row));
  });

  function story(result) {
    if (result.code) return [el("b", {}, result.code), el("span", { class: "sub" }, ...ticks(result.message))];
    if (result.proof === "none") return [el("span", { class: "unproved" }, icon("unproved")), "no proof",
      el("span", { class: "sub" }, ...ticks(DETAILS[result.detail] || result.detail))];
    return [result.proof ? "proved " + (PROOFS[result.proof] || result.proof) : ""];
  }

  function row(result) {
    const control = el("button", { type: "button", class: "link disclosure", "aria-expanded": "false",
      onclick: () => toggle(line, control, result) }, result.id);
    const line = el("tr", {},
      el("th", { scope: "row" }, control, el("span", { class: "sub" }, result.key_id),
        el("span", { class: "sub narrow" }, result.account + " " + result.region)),
      el("td", { class: "status " + result.status }, icon(result.status), words(result.status),
        result.code ? el("span", { class: "sub tight" }, result.code) : null),
      el("td", { class: "roomy nowrap" }, result.account),
      el("td", { class: "roomy nowrap" }, result.region),
      el("td", { class: "spacious" }, result.key_spec || ""),
      el("td", { class: "what" }, ...story(result)),
      el("td", { class: "roomy nowrap" }, result.day || (result.ok ? "never" : "")),
      el("td", { class: "spacious number" }, duration((result.end - result.start) / 1000)));
    return line;
  }

  function toggle(line, control, result) {
    const open = control.getAttribute("aria-expanded") === "true";
    control.setAttribute("aria-expanded", String(!open));
    line.classList.toggle("open", !open);
    if (open) line.nextElementSibling.remove();
    else line.after(el("tr", { class: "detail" }, el("td", { colspan: 8 }, details(result))));
  }

  function details(result) {
    const list = el("dl", { class: "facts " + result.status });
    const fact = (name, ...values) => {
      const kept = values.filter((value) => value != null && value !== "");
      if (kept.length) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, ...kept)));
    };
    const code = (value) => value && el("code", {}, value);
    fact("Error", result.code && result.code + (result.operation ? " from " + result.operation : ""));
    fact("Message", ...ticks(result.message));
    fact("What to do", ...ticks(result.advice));
    if (result.code) fact("Retryable", result.retryable ? "yes" : "no");
    fact("Changed", result.changed == null ? "unknown" : result.changed ? "yes, an import took effect" : "no");
    fact("Key", code(result.key_arn || result.key_id));
    fact("Lane", result.account + " in " + result.region);
    fact("Key spec, state", [result.key_spec, result.key_state].filter(Boolean).join(", "));
    fact("Material ID", code(result.key_material_id));
    if (result.materials.length) {
      fact("Materials, oldest first", el("ul", {}, ...result.materials.map((one) => el("li", {},
        [one.name, one.state || "unknown", one.import_state, one.valid_to ? "until " + instant(one.valid_to) : "",
          one.proof === "none" ? "no proof" : "proved"].filter(Boolean).join(", ") + " ", code(one.key_material_id)))));
    }
    fact("Expiry", result.valid_to ? instant(result.valid_to) : result.ok ? "never" : "");
    fact("Wrapped with", [result.wrapping_algorithm, result.wrapping_key_spec].filter(Boolean).join(", "));
    if (result.verified != null) {
      fact("Verification", (result.verified ? "verified" : "not verified") + ", " + plural(result.reads, "read") + ", " +
        result.consecutive + " consecutive; " + (result.proof === "none" ? "no proof" : "proved " + (PROOFS[result.proof] || result.proof)) +
        (result.round_trip == null ? "" : "; round trip " + (result.round_trip ? "done" : "failed")) +
        (result.detail ? "; " : ""), ...ticks(result.detail));
    }
    fact("Import attempts", String(result.attempts));
    fact("From, to", [instant(result.started_at), instant(result.finished_at)].filter(Boolean).join(", "));
    fact("Request IDs", result.request_ids.length
      ? el("ul", {}, ...result.request_ids.map(([operation, id]) => el("li", {}, operation + " ", code(id)))) : null);
    return list;
  }

  // ---- lanes -----------------------------------------------------------------------------------------------------
  const begins = results.map((result) => result.start).filter((value) => !Number.isNaN(value));
  const ends = results.map((result) => result.end).filter((value) => !Number.isNaN(value));
  const least = (values, otherwise) => values.reduce((a, b) => Math.min(a, b), otherwise);
  const most = (values, otherwise) => values.reduce((a, b) => Math.max(a, b), otherwise);
  const zero = begins.length ? least(begins, Infinity) : 0;
  const span = Math.max(1, most(ends, zero) - zero) / 1000;

  const lanes = data.lanes.map((lane) => {
    const mine = byLane.get(lane.account + "/" + lane.region) || [];
    const calls = lane.calls[OPERATION] || 0;
    const quota = lane.quota[OPERATION] || 0;
    const floor = quota && calls > 1 ? (calls - 1) / quota : 0;
    const sent = mine.map((result) => result.sent).filter((value) => !Number.isNaN(value));
    const importing = sent.length > 1 ? (most(sent, 0) - least(sent, Infinity)) / 1000 : 0; // without the last verification
    const held = Object.values(lane.throttled).reduce((a, b) => a + b, 0);
    // A lane has no duration if the run was killed before it ended.
    return { ...lane, duration_seconds: lane.duration_seconds || 0, mine, calls, quota, floor, held, imports: sent.length,
      rate: importing ? (sent.length - 1) / importing : 0, failed: mine.filter((result) => result.status === "failed").length };
  });
  const longest = lanes.reduce((a, b) => (!a || b.duration_seconds > a.duration_seconds ? b : a), null);
  lanes.sort((a, b) => b.failed - a.failed || b.held - a.held || b.duration_seconds - a.duration_seconds);

  function lanesStory() {
    if (!longest) return "No lane was started.";
    const failing = lanes.filter((lane) => lane.failed).length, throttled = lanes.filter((lane) => lane.held).length;
    const text = plural(lanes.length, "lane") + (lanes.length > 1 ? " ran at the same time: " : ": ") + count(failing) + " with failures, " + count(throttled) +
      " with throttled calls. The longest, " + longest.account + "/" + longest.region + ", took " + duration(longest.duration_seconds) + ". ";
    if (!longest.floor) return text;
    return text + "Its quota of " + longest.quota + " " + OPERATION + " per second allows no less than " + duration(longest.floor) +
      " for " + plural(longest.calls, "call") + ".";
  }

  // Above the line, a column's height is the share of the quota that imports used in its slice of time; below, how targets ended.
  const WIDTH = 1000, MIDDLE = 24, TOP = 18, DEPTH = 14;
  function strip(lane) {
    const rate = lane.quota || 1;
    const slice = Math.max(span / 160, Math.min(4 / rate, span / 40));
    const slices = Math.ceil(span / slice + 1e-9);
    const sent = new Array(slices).fill(0);
    const ended = Object.fromEntries(ORDER.map((status) => [status, new Array(slices).fill(0)]));
    const at = (time) => Math.min(slices - 1, Math.max(0, Math.floor((time - zero) / 1000 / slice)));
    for (const result of lane.mine) {
      if (!Number.isNaN(result.sent)) sent[at(result.sent)] += 1;
      if (!Number.isNaN(result.end)) ended[result.status][at(result.end)] += 1;
    }
    const full = Math.max(1, rate * slice);
    const step = WIDTH / (span / slice);
    const rects = [];
    const bar = (kind, i, y, height) => rects.push(
      svg("rect", { class: kind, x: (i * step).toFixed(2), y: y.toFixed(2), width: (step * 0.8).toFixed(2), height: height.toFixed(2) }));
    for (let i = 0; i < slices; i += 1) {
      const high = Math.min(1.25, sent[i] / full) * TOP;
      if (high) bar("sent", i, MIDDLE - high, high);
      const fine = ["imported", "reimported", "corrected", "deleted", "unchanged"].filter((status) => ended[status][i]);
      const all = fine.reduce((sum, status) => sum + ended[status][i], 0);
      let low = 0;
      for (const status of fine) {
        const height = (ended[status][i] / all) * Math.min(1, all / full) * DEPTH * 0.75;
        bar(status, i, MIDDLE + low, height);
        low += height;
      }
      if (ended.failed[i]) bar("failed", i, MIDDLE + low, DEPTH - low + 2);
    }
    const line = (kind, y) => svg("line", { class: kind, x1: 0, x2: WIDTH, y1: y, y2: y });
    return svg("svg", { viewBox: "0 0 " + WIDTH + " 40", preserveAspectRatio: "none", role: "img",
      "aria-label": "Pacing: " + rateText(lane) + "; " + plural(lane.failed, "failure") },
      ...rects, lane.quota ? line("quota", MIDDLE - TOP) : null, line("middle", MIDDLE));
  }

  function rateText(lane) {
    if (!lane.imports) return "no import";
    const quota = lane.quota ? "quota " + lane.quota + "/s" : "";
    return plural(lane.imports, "import") + (lane.rate ? ", " + lane.rate.toFixed(2) + "/s" + (quota && " (" + quota + ")") : quota && ", " + quota);
  }

  const turnLanes = pager($("lane-pages"), [12, 50, 200], "Lanes", (from, to) => {
    $("lane-rows").tBodies[0].replaceChildren(...lanes.slice(from, to).map((lane) => el("tr", {},
      el("th", { scope: "row" },
        el("button", { type: "button", class: "link", onclick: () => only({ account: lane.account, region: lane.region }) },
          lane.account, el("span", { class: "hidden" }, " in "), el("span", { class: "sub" }, lane.region)),
        el("span", { class: "sub narrow" }, plural(lane.targets, "target") + ", " + duration(lane.duration_seconds)),
        lane.failed ? el("span", { class: "sub failed" }, icon("failed"), count(lane.failed) + " failed") : null,
        lane.held ? el("span", { class: "sub held" }, icon("warning"), "throttled " + plural(lane.held, "time")) : null),
      el("td", { class: "number roomy" }, count(lane.targets)),
      el("td", { class: "number roomy" }, duration(lane.duration_seconds)),
      el("td", { class: "spacious" }, rateText(lane)),
      el("td", { class: "strip" }, strip(lane)))));
  });

  // ---- expiry ----------------------------------------------------------------------------------------------------
  function calendar() {
    const days = new Map();
    for (const result of results) if (result.day) days.set(result.day, (days.get(result.day) || 0) + 1);
    const sorted = [...days.keys()].sort();
    const total = [...days.values()].reduce((a, b) => a + b, 0);
    const none = results.filter((result) => result.ok && !result.day).length;
    if (!total) {
      $("expiry-story").textContent = none ? "The material of " + plural(none, "target") + " never expires." : "No expiry is known.";
      return;
    }
    const near = Date.parse(data.run.finished_at || data.run.started_at) + 30 * DAY;
    const soon = results.filter((result) => result.day && Date.parse(result.valid_to) < near).length;
    $("expiry-story").textContent = "The material of " + plural(total, "target") + " expires, first on " + date(sorted[0]) + "; " +
      count(soon) + " within 30 days of the run. " + count(none) + " never " + (none === 1 ? "expires" : "expire") +
      ". Press a day to see its targets.";
    const top = most([...days.values()], 0);
    const months = [...new Set(sorted.map((day) => day.slice(0, 7)))];
    $("calendar").replaceChildren(...months.map((month) => monthTable(month, days, top)));
  }

  function monthTable(month, days, top) {
    const first = new Date(month + "-01T00:00:00Z");
    const length = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
    const lead = (first.getUTCDay() + 6) % 7; // Monday first
    const cells = Array.from({ length: lead }, () => el("td", {}));
    let sum = 0;
    for (let n = 1; n <= length; n += 1) {
      const day = month + "-" + String(n).padStart(2, "0");
      const due = days.get(day);
      sum += due || 0;
      cells.push(el("td", {}, due
        ? el("button", { type: "button", class: due * 2 > top ? "many" : "", "aria-label": date(day) + ": " + plural(due, "target") + " expire" + (due === 1 ? "s" : ""),
          onclick: () => only({ day }) }, String(n), el("b", {}, count(due)))
        : el("span", {}, String(n))));
    }
    while (cells.length % 7) cells.push(el("td", {}));
    const weeks = [];
    for (let i = 0; i < cells.length; i += 7) weeks.push(el("tr", {}, ...cells.slice(i, i + 7)));
    const title = first.toLocaleDateString("en-GB", { timeZone: "UTC", month: "long", year: "numeric" });
    const heads = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
      .map((name) => el("th", { scope: "col", abbr: name }, name.slice(0, 2)));
    return el("table", { class: "month" }, el("caption", {}, title, " ", el("span", { class: "muted" }, plural(sum, "target"))),
      el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...weeks));
  }

  // ---- copying ---------------------------------------------------------------------------------------------------
  const quoted = (text) => (/^[A-Za-z0-9._/:@%+=,-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");
  const unique = (values) => [...new Set(values)];

  // The run's own command for these targets. Options of one kind are alternatives, different kinds are combined: it may select a few more.
  function command(targets) {
    const words = ["bulk-import", data.run.command, quoted(data.run.manifest)];
    const kinds = { id: "--only-id", account: "--only-account", region: "--only-region" };
    let chosen = results;
    for (const [name, option] of Object.entries(kinds)) {
      const values = unique(targets.map((result) => result[name]));
      const kept = chosen.filter((result) => values.includes(result[name]));
      if (kept.length === chosen.length) continue;
      chosen = kept;
      words.push(...values.flatMap((value) => [option, quoted(value)]));
    }
    return [words.join(" "), "a command that selects " + plural(chosen.length, "target")];
  }

  function ids(targets) {
    const all = targets.flatMap((result) => result.request_ids.map((entry) => entry[1]));
    return [all.join("\n"), plural(all.length, "request ID")];
  }

  const COLUMNS = ["id", "account", "region", "key_id", "key_arn", "status", "changed", "key_spec", "key_state", "valid_to",
    "key_material_id", "proof", "detail", "attempts", "started_at", "finished_at", "code", "operation", "message", "advice"];
  // A cell that a spreadsheet would take for a formula begins with an apostrophe: https://owasp.org/www-community/attacks/CSV_Injection
  function cell(value) {
    const text = value == null ? "" : /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value);
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }
  function csv(targets) {
    const lines = [COLUMNS, ...targets.map((result) => COLUMNS.map((name) => result[name]))].map((row) => row.map(cell).join(","));
    return [lines.join("\r\n") + "\r\n", "CSV of " + plural(targets.length, "target")];
  }

  const copies = { command, ids, csv };
  async function copy(button) {
    const { code, status } = button.dataset;
    const targets = code ? results.filter((result) => result.code === code && result.status === status) : shown;
    const [text, said] = copies[button.dataset.copy](targets);
    $("copied").textContent = (await put(text)) ? "Copied " + said + "." : "The browser refused to copy.";
  }
  async function put(text) {
    try {
      await navigator.clipboard.writeText(text); // absent on a page that came by http://
      return true;
    } catch {
      const field = el("textarea", { class: "hidden", "aria-hidden": "true" });
      field.value = text;
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      return done;
    }
  }

  // ---- start -----------------------------------------------------------------------------------------------------
  SELECTS.forEach(fillSelect);
  recall();
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  addEventListener("hashchange", () => { if (location.hash.includes("=")) { form.reset(); recall(); apply(); } });
  for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copy(button));
  for (const button of document.querySelectorAll("button.count, button.link[data-code]")) {
    button.addEventListener("click", () => {
      const { status, code } = button.dataset;
      const pressed = button.getAttribute("aria-pressed") === "true";
      only(pressed ? {} : code ? { code, status } : { status });
      if (pressed) button.focus();
    });
  }
  apply();
  $("lanes-story").textContent = lanesStory();
  $("axis").append(...[0, 0.25, 0.5, 0.75, 1].map((part) => el("span", {}, duration(part * span))));
  turnLanes(lanes.length);
  calendar();
})();
