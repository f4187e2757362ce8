// Conflicts by pattern, place and statement: the list, and the chosen one with its newest example.
import { arrange, count, element, many, span, text } from "/page/dom.js";
import { advice, timeline } from "/page/timeline.js";
import { ago, moment, nameOf, whyOf } from "/page/words.js";

const $ = (id) => document.getElementById(id);

/** Orders of the list; equal ones stay as the server sends them, the most frequent first. */
const orders = {
  count: (a, b) => b.count - a.count,
  newest: (a, b) => b.newest - a.newest,
  happened: (a, b) => b.happened - a.happened,
  held: (a, b) => b.held_ms - a.held_ms,
};
/** Milliseconds between two questions: a storm of conflicts must not become a storm of questions. */
const PAUSE = 400;

export class Patterns {
  constructor() {
    this.groups = [];
    this.more = 0;
    this.chosen = null; // id of a group
    this.shown = ""; // the figures that the detail shows
    this.asked = -Infinity;
    $("order").addEventListener("change", () => this.show(this.groups, this.more));
  }

  /** Shows a state's groups. */
  show(groups, more) {
    [this.groups, this.more] = [groups, more];
    const sorted = [...groups].sort(orders[$("order").value] ?? orders.count);
    text($("of"), more ? `and ${count(more)} more, see /api/groups` : "");
    const box = $("patterns");
    const known = new Map([...box.children].map((item) => [item.dataset.id, item]));
    const items = sorted.map((group) => {
      const item = known.get(group.id) ?? element("li", { "data-id": group.id }, element("button", { type: "button", class: "pattern", on: () => this.choose(group.id) }));
      const button = item.firstChild;
      button.setAttribute("aria-pressed", String(this.chosen === group.id));
      if (button.dataset.mark !== mark(group)) {
        button.dataset.mark = mark(group);
        button.replaceChildren(...row(group));
      }
      text(button.querySelector(".ago"), ago(group.last_seen));
      return item;
    });
    arrange(box, items);
    $("conflicts-empty").hidden = items.length > 0;
    $("order-choice").hidden = items.length < 2;
    if (this.chosen === null && sorted.length) this.choose(sorted[0].id, false);
    const group = groups.find((one) => one.id === this.chosen);
    // What somebody is selecting stays as it is.
    if (group && mark(group) !== this.shown && !document.getSelection()?.toString()) this.refresh(group);
  }

  choose(id, byHand = true) {
    this.chosen = id;
    for (const item of $("patterns").children) item.firstChild.setAttribute("aria-pressed", String(item.dataset.id === id));
    const group = this.groups.find((one) => one.id === id);
    if (byHand) this.asked = -Infinity;
    if (group) this.refresh(group);
    if (byHand && matchMedia("(max-width: 60rem)").matches) $("detail").scrollIntoView({ block: "start" });
  }

  async refresh({ id }) {
    if (performance.now() < this.asked + PAUSE) return;
    this.asked = performance.now();
    const answer = await fetch(`/api/groups/${id}`).catch(() => null);
    if (!answer?.ok) return;
    const group = await answer.json();
    // Somebody may have chosen another in the meantime.
    if (group.id !== this.chosen) return;
    this.shown = mark(group);
    text($("detail-title"), title(group));
    text($("detail-meta"), group.statement ? "" : "the statement is not known");
    $("timeline").replaceChildren(...detail(group));
  }
}

/** All that the list shows of a group but the time since. */
const mark = (group) => JSON.stringify([group.count, group.newest, group.happened, group.averted, group.did_not_happen, group.held_ms]);

const place = ({ pattern, table, index }) => {
  if (table) return `${table}${index ? `.${index}` : ""}`;
  return pattern === "known_deadlock" ? "" : "the place is not known";
};

const title = (group) => [nameOf(group.pattern), place(group)].filter(Boolean).join(": ");

function row(group) {
  return [
    element("div", { class: "top" }, element("span", {}, element("strong", {}, nameOf(group.pattern)), " ", element("span", { class: "muted" }, place(group))),
      element("span", { class: "chips" }, element("span", { class: "muted" }, `× ${count(group.count)}`))),
    element("code", { class: "sql" }, group.statement ?? ""),
    element("div", { class: "top below" }, ...chips(group), element("span", { class: "spacer" }), element("span", { class: "muted ago" })),
  ];
}

function chips(group) {
  const all = [["averted", group.averted, "good"], ["happened", group.happened, "bad"], ["did not happen", group.did_not_happen, ""]];
  const some = all.filter(([, n]) => n > 0).map(([words, n, mood]) => element("span", { class: `chip ${mood}` }, `${n > 1 ? `${count(n)} ` : ""}${words}`));
  return some.length ? some : [element("span", { class: "chip warn" }, "open")];
}

function detail(group) {
  const facts = [
    ["Conflicts", count(group.count)],
    ["First seen", moment(group.first_seen)],
    ["Last seen", moment(group.last_seen)],
    ["Held back", group.held_ms > 0 ? `${span(group.held_ms)} in all` : "never"],
  ];
  const example = group.example;
  const helps = advice(example?.advice?.length ? example.advice : group.advice);
  return [
    element("dl", { class: "facts" }, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    share(group),
    whyOf(group.pattern) ? element("p", { class: "why" }, whyOf(group.pattern)) : null,
    ...(example ? [element("h3", {}, `The newest: conflict ${example.seq}`), ...timeline(example)] : [element("p", { class: "empty" }, "No example is kept any more.")]),
    ...(helps.length ? [element("h3", {}, "What helps"), ...helps] : []),
  ].filter(Boolean);
}

/** What came of them, as parts of a bar. */
function share(group) {
  const open = group.count - group.averted - group.happened - group.did_not_happen;
  const parts = [["averted", group.averted, "good"], ["happened", group.happened, "bad"], ["did not happen", group.did_not_happen, "none"], ["without an outcome yet", Math.max(0, open), "warn"]].filter(([, n]) => n > 0);
  const words = parts.map(([name, n]) => `${count(n)} ${name}`).join(", ");
  const bar = element("div", { class: "share", role: "img", "aria-label": `${many(group.count, "conflict")}: ${words}` }, ...parts.map(([, , mood]) => element("span", { class: mood })));
  // Styles in the markup are forbidden here; set like this they are not.
  parts.forEach(([, n], at) => { bar.children[at].style.flexGrow = n; });
  return element("div", {}, bar, element("p", { class: "muted words", "aria-hidden": "true" }, words));
}
