// The shapes that conflicts have, in words for people.

/** A name and an explanation for each `pattern` of the API. */
const patterns = {
  gap_then_insert: ["Gap, then insert", "Both search for a key that is not there and lock the gap around it. Gap locks are compatible, so both get it; then each one's insert waits for the other's gap."],
  range_and_insert: ["Insert into a searched range", "A search locks the gaps between the rows that it reads, and an insert wants to go into one of them."],
  shared_then_exclusive: ["Shared, then exclusive", "Both read a row with a shared lock, which both get. Then one wants to change it and has to wait for the other; if both want to, neither can."],
  opposite_order: ["Opposite order", "One locks A and then B, the other B and then A. If they run at the same time, each waits for what the other holds."],
  duplicate_key: ["Two inserts of one key", "The second insert waits to see whether the first one's row stays. After error 1062 a shared lock on that row is kept, for which the next insert waits."],
  queue_claim: ["Workers claim from a queue", "Each worker searches for the next row that is free, and locks those that it passes on its way."],
  hot_row: ["Hot row", "Many transactions change one row; each waits until the one before it has ended."],
  overlapping_ranges: ["Overlapping searches", "Searches lock what they read, not only what they return; two that read the same part of an index wait for each other."],
  known_deadlock: ["Known deadlock", "These transactions once ended in a deadlock, which is remembered by their statements. Now the second is kept from beginning before the first has ended."],
  other: ["Conflict", ""],
};

/** Name of a pattern. */
export const nameOf = (pattern) => patterns[pattern]?.[0] ?? pattern;

/** What happens in it, in a sentence or two; may be empty. */
export const whyOf = (pattern) => patterns[pattern]?.[1] ?? "";

/** How long ago a time was. */
export function ago(time) {
  const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(time).toLocaleDateString();
}

/** A time of day, with the date if it is of another day. */
export function moment(time) {
  const at = new Date(time);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}
