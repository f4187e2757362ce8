// Deadlocks that may come: orders of locks that cross, though the transactions may never have met.
import { arrange, count, element, text } from "/page/dom.js";
import { advice } from "/page/timeline.js";
import { moment, nameOf, whyOf } from "/page/words.js";

const $ = (id) => document.getElementById(id);

/** Hazards that are listed; the API has the rest. */
const MOST = 100;
const sides = ["left", "right"];

export class Hazards {
  constructor() {
    this.shown = 0;
    this.asking = false;
  }

  /** Asks for the hazards if their number is another one. */
  async show(found) {
    if (found === this.shown || this.asking) return;
    this.asking = true;
    const answer = await fetch("/api/hazards").catch(() => null);
    const all = answer?.ok ? (await answer.json().catch(() => null))?.hazards : null;
    this.asking = false;
    if (!all) return;
    // Those found while the answer was under way are in it, and asked for once more.
    this.shown = found;
    // The newest first; one that is open stays open, and keeps the focus.
    const box = $("hazards");
    const known = new Map([...box.children].map((item) => [item.dataset.id, item]));
    const listed = together(all.slice(-MOST).reverse());
    const items = listed.map(([hazard, ids]) => {
      const item = known.get(hazard.id) ?? element("li", { "data-id": hazard.id }, one(hazard));
      text(item.querySelector(".ids"), ids.join(", "));
      return item;
    });
    arrange(box, items);
    const words = all.length > MOST ? `the newest ${MOST} of ${count(all.length)}` : all.length ? `${count(all.length)} found` : "";
    const same = Math.min(all.length, MOST) > items.length ? ", those of the same statements together" : "";
    text($("hazards-of"), words + same);
    $("hazards-empty").hidden = items.length > 0;
  }
}

/** The same statements may cross in several kinds of locks: each is a hazard of its own, and one for people. */
function together(hazards) {
  const found = new Map();
  for (const hazard of hazards) {
    const key = hazard.legs.map((leg) => `${leg.holding}\n${leg.asking}`).sort().join("\n");
    const one = found.get(key) ?? found.set(key, [hazard, []]).get(key);
    // The oldest stands for them: it stays the same when another comes.
    one[0] = hazard;
    one[1].push(hazard.id);
  }
  return [...found.values()];
}

function one(hazard) {
  const summary = element("summary", {}, element("strong", {}, nameOf(hazard.pattern)), " ",
    element("span", { class: "muted" }, hazard.tables.join(", ")), " ", element("span", { class: "muted when" }, `found ${moment(hazard.found)}`));
  return element("details", { class: "hazard" }, summary,
    element("p", { class: "why" }, whyOf(hazard.pattern)),
    element("ol", { class: "legs" }, ...hazard.legs.map((leg, at) => side(leg, at, hazard.legs.length))),
    ...advice(hazard.advice ?? []),
    element("p", { class: "muted" }, "Known to a baseline as ", element("code", { class: "ids" }), "."));
}

const letter = (at) => String.fromCharCode(65 + at);

/** One transaction's part; it asks for what the next one holds, and the last one for what the first one holds. */
function side(leg, at, all) {
  const whose = all === 1 ? "another of its kind holds" : `${letter((at + 1) % all)} holds`;
  const step = (words, lock, statement) => element("li", {}, element("span", { class: "locks" }, `${words} ${lock}`), element("code", { class: "step sql" }, statement));
  return element("li", { class: `leg ${sides[at % 2]}` },
    element("h3", {}, `Transaction ${letter(at)}`, leg.program ? element("small", {}, ` of ${leg.program}`) : null),
    element("ol", {}, step("holds", leg.holds, leg.holding), step(`then asks for what ${whose}:`, leg.asks, leg.asking)));
}
