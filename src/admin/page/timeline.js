// One conflict as a timeline of two columns: what each side did, and where they met.
import { element, span } from "/page/dom.js";

/** The elements that show a conflict record. */
export function timeline(record) {
  const holder = record.holders[0];
  return [where(record), columns(record, holder), verdict(record)].filter(Boolean);
}

function where(record) {
  const { resource, certainty, detected, kind } = record;
  if (!resource.table && record.signature) {
    return element("p", { class: "where" }, "Both do what once ended in a ", element("b", {}, "deadlock"), `, known as signature ${record.signature}: so the second was kept from beginning before the first had ended.`);
  }
  if (!resource.table) return element("p", { class: "where" }, "The server reported it; where is not known.");
  const words = { hazard: "Both may lock", wait: "One would wait at", deadlock: "The last step of a cycle at" }[kind] ?? kind;
  return element("p", { class: "where" }, `${words} `, element("b", {}, resource.place || "a place"),
    ` (${resource.mode}). ${detected === "before" ? "Seen before the statement was sent" : "Seen after the server's error"}, ${certainty}.`);
}

function columns(record, holder) {
  const sides = [[holder, "left"], [record.requester, "right"]].filter(([party]) => party);
  const rows = sides.flatMap(([party, side]) => {
    const last = party.transaction.at(-1)?.at_ms ?? 0;
    // Times count from each side's own BEGIN; what both share is the moment of the record.
    const now = party.age_ms ?? last;
    return party.transaction.map((step, at) => ({ at: step.at_ms - now, side, step, met: side === "right" && at === party.transaction.length - 1 }));
  });
  rows.sort((a, b) => a.at - b.at);
  const start = rows[0]?.at ?? 0;
  const role = { held: "held", rejected: "rejected", flagged: "came second" }[record.action] ?? "came second";
  const party = (p, side, did) => element("div", { class: `party ${side}`, role: "columnheader" },
    element("span", {}, p ? `Session ${p.session}` : "Unknown"), " ", p ? element("span", { class: "role" }, did) : null,
    element("small", {}, p ? [p.user, p.program, `thread ${p.server_thread}`].filter(Boolean).join(" · ") : "not seen by this interlock"));
  const head = element("div", { role: "row" }, element("div", { class: "at", role: "columnheader" }, "ms"), party(holder, "left", "in the way"), party(record.requester, "right", role));
  const lines = rows.map(({ at, side, step, met }) => {
    const cell = (own) => element("div", { class: `cell ${own}`, role: "cell" }, own === side ? statement(step, met) : null);
    return element("div", { role: "row" }, element("div", { class: "at", role: "rowheader" }, at - start < 1000 ? (at - start).toFixed(1) : span(at - start)), cell("left"), cell("right"));
  });
  return element("div", { class: "timeline", role: "table", "aria-label": "What both sessions did" }, head, ...lines);
}

function statement(step, met) {
  const line = (words) => element("span", { class: "locks" }, words);
  // Without their keys, locks of several rows read the same.
  const taken = new Map();
  for (const lock of step.locks ?? []) {
    const words = `took ${lock.mode}: ${lock.place}`;
    taken.set(words, (taken.get(words) ?? 0) + 1);
  }
  const lines = [...taken].map(([words, times]) => line(times > 1 ? `${words}, ${times} times` : words));
  if (step.more_locks) lines.push(line(`and ${step.more_locks} more`));
  // Where the statement comes from, as the ORM's comment says.
  const tags = Object.entries(step.tags ?? {});
  if (tags.length) lines.push(line(tags.map(([name, value]) => `${name}: ${value}`).join(", ")));
  return element("div", { class: `step sql${met ? " met" : ""}` }, step.statement, ...lines);
}

function verdict(record) {
  const more = record.holders.length > 1 ? ` ${record.holders.length - 1} more session${record.holders.length > 2 ? "s were" : " was"} in the way.` : "";
  const held = record.held_ms > 0 ? `Held for ${span(record.held_ms)}` : "Held";
  const did = { held, rejected: "Rejected with error 1213 after a ROLLBACK", flagged: record.would_hold ? `Passed on; reorder would have held it${record.would_hold_ms ? ` for ${span(record.would_hold_ms)}` : ""}` : "Passed on" }[record.action];
  const came = {
    averted: "and the conflict was averted.", pending: "and the transactions are still open.", did_not_happen: "and nothing came of it.",
    restarted: "and it happened; the victim's transaction was run again, and its client has not noticed.",
    happened: record.errno ? `and the server answered error ${record.errno}.` : "and it waited, as foreseen.",
  }[record.outcome];
  const mood = { averted: "good", restarted: "good", happened: "bad" }[record.outcome] ?? "";
  return element("p", { class: `verdict ${mood}` }, `${did} ${came}${more}`);
}

/** What to change, why it helps, and what the model says of the case run again with it. */
export function advice(list) {
  const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);
  return list.map(({ text, reason, model }) =>
    element("div", { class: "advice" }, element("h4", {}, sentence(text)), element("p", {}, `${sentence(reason)}.`),
      model ? element("p", { class: "muted" }, `The model says ${model}.`) : null));
}
