// The live graph: transactions, the locks that they hold, and who waits for whom. Drawn by cytoscape.
import cytoscape from "/page/cytoscape.js";
import dagre from "/page/cytoscape-dagre.js";
import { many } from "/page/dom.js";

cytoscape.use(dagre);

/** Locks drawn for one transaction; the rest is counted. */
const LOCKS = 5;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Graph {
  constructor(box) {
    this.cy = cytoscape({ container: box, elements: [], minZoom: 0.2, maxZoom: 2.5, userZoomingEnabled: false });
    this.box = box;
    this.shape = "";
    this.narrow = false;
    new ResizeObserver(() => {
      this.cy.resize();
      if (this.narrow === box.clientWidth < 560) this.fit();
      else this.lay();
    }).observe(box);
    // What a node stands for, in full.
    this.cy.on("tap", (event) => {
      const text = event.target === this.cy ? "" : event.target.data("text") ?? "";
      box.dispatchEvent(new CustomEvent("told", { detail: text }));
    });
  }

  /** Draws a state; false if there is nothing to draw. */
  show(transactions, locks, waits) {
    const elements = describe(transactions, locks, waits);
    const wanted = new Map(elements.map((e) => [e.data.id, e]));
    const before = new Map(this.cy.nodes().map((node) => [node.id(), { ...node.position() }]));
    this.cy.batch(() => {
      this.cy.elements().filter((e) => !wanted.has(e.id())).remove();
      for (const [id, e] of wanted) {
        const known = this.cy.getElementById(id);
        if (known.empty()) this.cy.add(e);
        else { known.data(e.data); known.classes(e.classes); }
      }
    });
    const shape = [...wanted.keys()].sort().join();
    // Nothing moves unless something came or went.
    if (shape !== this.shape && elements.length) {
      this.shape = shape;
      this.lay(before);
    }
    return elements.length > 0;
  }

  /** Gives every node its place; those that had one glide there. */
  lay(before = new Map()) {
    this.cy.nodes().stop(true, true);
    this.narrow = this.box.clientWidth < 560;
    const run = (rankDir, rankSep) => {
      this.cy.layout({ name: "dagre", rankDir, nodeSep: 16, rankSep, animate: false, fit: false }).run();
      this.fit();
      return this.cy.zoom();
    };
    // On a phone, in the direction in which it can be drawn larger.
    if (!this.narrow || run("TB", 46) < run("LR", 70)) run("LR", this.narrow ? 70 : 90);
    else run("TB", 46);
    if (calm.matches) return;
    this.cy.nodes().forEach((node) => {
      const [from, to] = [before.get(node.id()), { ...node.position() }];
      if (!from) return;
      node.position(from);
      node.animate({ position: to }, { duration: 220, easing: "ease-out" });
    });
  }

  fit() {
    this.cy.fit(undefined, this.narrow ? 10 : 24);
    if (this.cy.zoom() > 1.3) { this.cy.zoom(1.3); this.cy.center(); }
  }

  /** Takes the colours of the page. */
  paint() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const font = "system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif";
    this.cy.style([
      { selector: "node", style: { label: "data(label)", "font-family": font, "font-size": 12, color: colour("text"), "text-wrap": "wrap", "text-valign": "center", "text-halign": "center", width: "data(width)", height: "data(height)", shape: "round-rectangle", "background-color": colour("card"), "border-width": 1.5, "border-color": colour("line"), "line-height": 1.25 } },
      { selector: "node.txn", style: { "border-color": colour("accent"), "border-width": 2 } },
      { selector: "node.held, node.waiting", style: { "border-color": colour("warn"), "background-color": colour("warn-soft") } },
      { selector: "node.lock", style: { shape: "cut-rectangle", "font-size": 11, "border-color": colour("muted"), color: colour("muted") } },
      { selector: "node.more", style: { "border-style": "dotted", "font-size": 11, color: colour("muted") } },
      { selector: "edge", style: { width: 1.5, "line-color": colour("muted"), "curve-style": "bezier", "target-arrow-shape": "none", opacity: 0.8 } },
      { selector: "edge.asked", style: { "line-style": "dashed" } },
      { selector: "edge.wait", style: { width: 2.5, "line-color": colour("bad"), "target-arrow-color": colour("bad"), "target-arrow-shape": "triangle", "line-style": "dashed", label: "data(label)", "font-family": font, "font-size": 11, color: colour("bad"), "text-background-color": colour("ground"), "text-background-opacity": 0.9, "text-background-padding": 2, opacity: 1 } },
    ]).update();
  }
}

/** The elements of a state: transactions that hold locks or wait, their locks, the waits. */
function describe(transactions, locks, waits) {
  const elements = [];
  const drawn = new Set();
  for (const t of transactions.filter((t) => t.transaction != null)) {
    const id = `t${t.transaction}`;
    drawn.add(id);
    const text = `Session ${t.session}, ${t.state}, ${count(t.locks)}: ${t.statement ?? "no statement yet"}`;
    elements.push({ data: { id, text, ...box(`s${t.session} · ${t.user}\n${t.state}, ${count(t.locks)}`, 7) }, classes: `txn ${t.state}` });
  }
  const of = new Map();
  for (const lock of locks) {
    const owner = `t${lock.transaction}`;
    if (!drawn.has(owner)) continue;
    const mine = (of.get(owner) ?? 0) + 1;
    of.set(owner, mine);
    if (mine > LOCKS) continue;
    const id = `l${lock.place}`;
    if (!drawn.has(id)) {
      drawn.add(id);
      const text = `${lock.schema}.${lock.table}, index ${lock.index}: ${lock.range} (${lock.lock_mode ?? `${lock.mode} ${lock.kind}`}, ${lock.certainty})`;
      elements.push({ data: { id, text, ...box(`${lock.table}.${lock.index}\n${lock.range}`, 6.3) }, classes: "lock" });
    }
    const edge = `${owner}-${id}`;
    if (!drawn.has(edge)) {
      drawn.add(edge);
      elements.push({ data: { id: edge, source: owner, target: id }, classes: lock.state });
    }
  }
  for (const [owner, all] of of) {
    if (all <= LOCKS) continue;
    elements.push({ data: { id: `more${owner}`, ...box(`and ${all - LOCKS} more locks`, 6.3) }, classes: "more" });
    elements.push({ data: { id: `more${owner}-edge`, source: owner, target: `more${owner}` }, classes: "" });
  }
  for (const wait of waits) {
    const [source, target] = [`t${wait.waiter}`, `t${wait.holder}`];
    if (drawn.has(source) && drawn.has(target)) {
      elements.push({ data: { id: `${source}>${target}`, source, target, label: wait.at === "interlock" ? "held behind" : "waits for" }, classes: "wait" });
    }
  }
  return elements;
}

/** A label and the size of its node: the layout needs it before anything is drawn. Long words are broken. */
function box(label, letter) {
  const lines = label.split("\n").flatMap((line) => line.match(/.{1,30}(?= |$)|.{1,30}/g) ?? [""]).map((line) => line.trim());
  const width = Math.max(...lines.map((line) => line.length)) * letter + 22;
  return { label: lines.join("\n"), width, height: lines.length * 16 + 14 };
}

const count = (locks) => many(locks, "lock");
