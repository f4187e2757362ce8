// The page of interlock: shows each state that /api/events sends. What is large, the chosen conflict and the
// hazards, is asked for when it has changed.
import { count, element, many, span, text } from "/page/dom.js";
import { Graph } from "/page/graph.js";
import { Hazards } from "/page/hazards.js";
import { Patterns } from "/page/patterns.js";

const $ = (id) => document.getElementById(id);

const graph = new Graph($("graph"));
$("graph").addEventListener("told", ({ detail }) => {
  text($("graph-note"), detail);
  $("graph-note").hidden = !detail;
});
const patterns = new Patterns();
const hazards = new Hazards();
let state = null;

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
  patterns.show(next.groups, next.more_groups);
  hazards.show(status.hazards);
}

function effect(status) {
  const missed = status.deadlocks_foreseen + status.deadlocks_missed;
  const tiles = [
    ["Conflicts averted", status.averted, status.rejected ? `${count(status.rejected)} of them rejected` : "by holding a statement", status.averted > 0 && "good"],
    ["Server deadlocks", missed, missed ? `${count(status.deadlocks_foreseen)} of them foreseen` : "none", missed > 0 && "bad"],
    ["Victims run again", status.restarted, status.restarted ? "their clients noticed nothing" : "none", status.restarted > 0 && "good"],
    ["Held now", status.held, status.held === 1 ? "statement" : "statements", status.held > 0 && "warn"],
    ["Holds so far", status.holds, status.holds ? `${span((status.held_seconds * 1000) / status.holds)} on average` : "none", false],
    ["Conflicts found", status.conflicts, `${count(status.happened)} happened, ${count(status.did_not_happen)} did not`, false],
    ["Deadlock risks", status.hazards, status.hazards ? "lock orders that cross" : "no lock orders cross", status.hazards > 0 && "warn"],
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
        element("div", { class: "top" }, element("span", {}, element("strong", {}, `s${hold.session} ${hold.user ?? ""}`), " ", element("span", { class: "muted" }, "")), element("span", { class: "spacer" }), release),
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
