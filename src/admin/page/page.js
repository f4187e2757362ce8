// The page of interlock: shows each state that /api/events sends, and asks for one conflict at a time.
import { count, element, many, span, text } from "/page/dom.js";
import { Graph } from "/page/graph.js";
import { timeline } from "/page/timeline.js";

const $ = (id) => document.getElementById(id);

const graph = new Graph($("graph"));
$("graph").addEventListener("told", ({ detail }) => {
  text($("graph-note"), detail);
  $("graph-note").hidden = !detail;
});
let state = null;
let chosen = null; // key of the pattern, or null
let shown = null; // number of the conflict on the right

// ## The state

function show(next) {
  const { status } = next;
  // After an upgrade, the page that belongs to the new version.
  if (state && state.status.version !== status.version) return location.reload();
  state = next;
  const action = $("action");
  action.textContent = status.action;
  action.className = `badge ${status.action}`;
  $("version").textContent = `interlock ${status.version}, up ${span(status.uptime_seconds * 1000)}`;
  $("redact").textContent = status.redact ? "literals are redacted" : "literals are shown (redact = false)";
  effect(status);
  now(next);
  holds(next.holds);
  patterns(next.conflicts);
}

function effect(status) {
  const missed = status.deadlocks_foreseen + status.deadlocks_missed;
  const tiles = [
    ["Conflicts averted", status.averted, status.rejected ? `${count(status.rejected)} of them rejected` : "by holding a statement", status.averted > 0 && "good"],
    ["Server deadlocks", missed, missed ? `${count(status.deadlocks_foreseen)} of them foreseen` : "none", missed > 0 && "bad"],
    ["Held now", status.held, status.held === 1 ? "statement" : "statements", status.held > 0 && "warn"],
    ["Holds so far", status.holds, status.holds ? `${span((status.held_seconds * 1000) / status.holds)} on average` : "none", false],
    ["Conflicts found", status.conflicts, `${count(status.happened)} happened, ${count(status.did_not_happen)} did not`, false],
    ["Open transactions", status.transactions, `${many(status.locks, "lock")}, ${many(status.sessions, "session")}`, false],
  ];
  const list = $("effect");
  if (list.children.length !== tiles.length) {
    list.replaceChildren(...tiles.map(([name]) => element("div", { class: "tile" }, element("dt", {}, name), element("dd", {}, element("span"), element("small")))));
  }
  tiles.forEach(([, value, note, mood], at) => {
    const tile = list.children[at];
    tile.className = `tile ${mood || ""}`;
    text(tile.querySelector("span"), count(value));
    text(tile.querySelector("small"), note);
  });
}

function now({ transactions, locks, waits, more_transactions: more }) {
  const drawn = graph.show(transactions, locks, waits);
  $("graph").hidden = !drawn;
  $("graph-empty").hidden = drawn;
  const waitsFor = (t) => waits.filter((w) => w.waiter === t.transaction).map((w) => `s${w.holder_session ?? "?"}`);
  const rows = transactions.map((t) =>
    element("tr", {}, ...[`s${t.session}`, t.user, t.state].map((cell) => element("td", {}, cell)),
      element("td", { class: "number" }, span(t.age_ms)), element("td", { class: "number" }, count(t.locks)),
      element("td", {}, waitsFor(t).join(", ")), element("td", {}, element("code", {}, t.statement ?? ""))));
  if (more) rows.push(element("tr", {}, element("td", { colspan: 7, class: "muted" }, `and ${count(more)} more`)));
  $("transactions").replaceChildren(...rows);
}

function holds(list) {
  const box = $("holds");
  const known = new Map([...box.children].map((item) => [item.dataset.hold, item]));
  for (const hold of list) {
    let item = known.get(String(hold.hold));
    known.delete(String(hold.hold));
    if (!item) {
      const release = element("button", { type: "button", "aria-label": `Release session ${hold.session}`, on: () => ask(hold.hold) }, "Release");
      item = element("li", { class: "item", "data-hold": hold.hold },
        element("div", { class: "top" }, element("strong", {}, `s${hold.session} ${hold.user ?? ""}`), element("span", { class: "muted" }, ""), element("span", { class: "spacer" }), release),
        element("code", { class: "sql" }, hold.statement ?? ""), element("progress", { class: "bar", max: 100, value: 0, "aria-label": "Time until the deadline" }));
      box.append(item);
    }
    const behind = hold.behind.split(", ").map((txn) => state.transactions.find((t) => String(t.transaction) === txn)?.session).filter((s) => s != null);
    text(item.querySelector(".muted"), `for ${span(hold.held_ms)}${behind.length ? `, behind ${behind.map((s) => `s${s}`).join(", ")}` : ""}`);
    item.querySelector("progress").value = Math.min(100, (hold.held_ms / hold.deadline_ms) * 100);
  }
  known.forEach((item) => item.remove());
  $("holds-empty").hidden = list.length > 0;
}

// ## Conflicts

const patternOf = (c) => [c.kind, c.pattern, c.signature, c.schema, c.table, c.index, c.mode, c.statement].join("\u0000");

function patterns(conflicts) {
  const groups = new Map();
  for (const conflict of conflicts) {
    const key = patternOf(conflict);
    const group = groups.get(key) ?? { key, newest: conflict, count: 0, outcomes: {} };
    // The newest one whose end is known tells more than one that is still open.
    if (group.newest.outcome === "pending" && conflict.outcome !== "pending") group.newest = conflict;
    group.count += 1;
    group.outcomes[conflict.outcome] = (group.outcomes[conflict.outcome] ?? 0) + 1;
    groups.set(key, group);
  }
  const sorted = [...groups.values()].sort((a, b) => b.count - a.count || b.newest.seq - a.newest.seq).slice(0, 50);
  const total = state.status.conflicts;
  text($("of"), total > conflicts.length ? `the newest ${conflicts.length} of ${count(total)}` : "");
  const box = $("patterns");
  const known = new Map([...box.children].map((item) => [item.dataset.key, item]));
  const items = sorted.map((group) => {
    const item = known.get(group.key) ?? element("li", { "data-key": group.key }, element("button", { type: "button", class: "pattern", on: () => choose(group.key) }));
    const button = item.firstChild;
    button.setAttribute("aria-pressed", String(chosen === group.key));
    const mark = JSON.stringify([group.count, group.newest.seq, group.outcomes]);
    if (button.dataset.mark !== mark) {
      button.dataset.mark = mark;
      button.replaceChildren(...pattern(group));
    }
    return item;
  });
  // Only what moved is moved: the focus stays where it is.
  items.forEach((item, at) => { if (box.children[at] !== item) box.insertBefore(item, box.children[at] ?? null); });
  while (box.children.length > items.length) box.lastChild.remove();
  $("conflicts-empty").hidden = items.length > 0;
  if (chosen === null && sorted.length && shown === null) choose(sorted[0].key, false);
  else if (chosen !== null) {
    const group = groups.get(chosen);
    if (group && (group.newest.seq !== shown || group.newest.outcome !== shownOutcome) && !document.getSelection()?.toString()) refresh(group.newest);
  }
}

const outcomes_in_order = ["pending", "averted", "happened", "did_not_happen"];

/** What a conflict is, in words. */
function title(c) {
  const what = { hazard: "Hazard", wait: "Wait", deadlock: "Deadlock" }[c.kind] ?? c.kind;
  if (c.table) return `${what} on ${c.table}${c.index ? `.${c.index}` : ""}`;
  return c.signature ? "A deadlock seen before" : `${what}, the place is not known`;
}

function pattern({ newest: c, count: n, outcomes }) {
  const chips = outcomes_in_order.filter((name) => outcomes[name]).map((name) => chip(name, outcomes[name]));
  return [
    element("div", { class: "top" }, element("strong", {}, title(c)), element("span", { class: "muted" }, `× ${count(n)}`), element("span", { class: "chips" }, ...chips)),
    element("code", { class: "sql" }, c.statement ?? ""),
  ];
}

function chip(outcome, many) {
  const mood = { averted: "good", happened: "bad", pending: "warn" }[outcome] ?? "";
  const words = { averted: "averted", happened: "happened", pending: "open", did_not_happen: "did not happen" };
  return element("span", { class: `chip ${mood}` }, `${many > 1 ? `${count(many)} ` : ""}${words[outcome] ?? outcome}`);
}

function choose(key, focus = true) {
  chosen = key;
  const all = state.conflicts.filter((c) => patternOf(c) === key);
  const newest = all.find((c) => c.outcome !== "pending") ?? all[0];
  for (const item of $("patterns").children) item.firstChild.setAttribute("aria-pressed", String(item.dataset.key === key));
  if (newest) refresh(newest);
  if (focus && matchMedia("(max-width: 60rem)").matches) $("detail").scrollIntoView({ block: "start" });
}

let shownOutcome = null;
let asking = 0;

async function refresh(conflict) {
  // A storm of conflicts must not become a storm of questions.
  if (performance.now() < asking) return;
  asking = performance.now() + 400;
  const answer = await fetch(`/api/conflicts/${conflict.seq}`).catch(() => null);
  if (!answer?.ok) return;
  const record = await answer.json();
  [shown, shownOutcome] = [record.seq, record.outcome];
  text($("detail-title"), `Conflict ${record.seq}`);
  text($("detail-meta"), new Date(record.time).toLocaleTimeString());
  $("timeline").replaceChildren(...timeline(record));
}

// ## Releasing a hold

let asked = null;

async function ask(hold) {
  asked = hold;
  if (sessionStorage.getItem("token")) return release();
  $("ask-error").textContent = "";
  $("ask").showModal();
}

async function release() {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token")}` };
  const answer = await fetch(`/api/holds/${asked}/release`, { method: "POST", headers }).catch(() => null);
  if (answer?.ok || answer?.status === 404) return;
  sessionStorage.removeItem("token");
  const reason = await answer?.json().catch(() => null);
  $("ask-error").textContent = reason?.error ?? "interlock does not answer";
  $("ask").showModal();
}

// Enter in the field presses the form's first button that submits: so this one does not.
$("cancel").addEventListener("click", () => $("ask").close("cancel"));

$("ask").addEventListener("close", () => {
  if ($("ask").returnValue === "ok" && $("token").value) {
    sessionStorage.setItem("token", $("token").value);
    $("token").value = "";
    release();
  }
});

// ## Colours

const themes = { system: ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };

function theme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = themes[name][0];
  $("theme").setAttribute("aria-label", `Colours: ${themes[name][1]}`);
  graph.paint();
}

$("theme").addEventListener("click", () => {
  const names = Object.keys(themes);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  localStorage.setItem("theme", next);
  theme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.paint());
$("fit").addEventListener("click", () => graph.fit());
const saved = localStorage.getItem("theme");
theme(saved in themes ? saved : "system");

// ## The stream: it comes back by itself, whatever ended it

function link(name, words) {
  const node = $("link");
  node.className = `link ${name}`;
  text(node, words);
}

function connect() {
  const events = new EventSource("/api/events");
  let heard = performance.now();
  events.addEventListener("state", (event) => {
    heard = performance.now();
    link("live", "live");
    show(JSON.parse(event.data));
  });
  const watch = setInterval(() => {
    // Closed for good, or silent although the server sends twice a second: begin anew.
    const silent = performance.now() - heard;
    if (silent > 4000) link("lost", "no connection, trying again");
    if (events.readyState === EventSource.CLOSED || silent > 8000) {
      events.close();
      clearInterval(watch);
      connect();
    }
  }, 1000);
  events.addEventListener("error", () => link("lost", "no connection, trying again"));
}
connect();
