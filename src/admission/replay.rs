//! A conflict's transactions run again in a lock table of their own, as they were and as advice would have them:
//! the model itself says whether the advice would have helped.
//!
//! All interleavings of the transactions are tried, up to a number: the worst that can come counts, not what came.

use std::time::Duration;

use crate::id::{IndexId, TxnId};
use crate::lock::index::{Held, Relation};
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Origin, Request, Settled};
use crate::lock::table::LockTable;

/// The worst that an interleaving can come to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Worst {
    /// Nobody meets anybody.
    Nothing,
    /// Somebody waits.
    Wait,
    /// Two hold compatible locks that their next inserts will collide with.
    Hazard,
    /// All wait for each other.
    Deadlock,
}

/// Interleavings that are tried.
const MAX_RUNS: usize = 200;
/// Locks of one transaction that are looked at.
const MAX_LOCKS: usize = 1000;
/// Requests of one transaction that take part: the last ones.
const MAX_REQUESTS: usize = 6;

/// What one transaction asks for, in order.
#[derive(Clone, Default, Debug)]
pub struct Script(Vec<Request>);

impl Script {
    /// What a transaction holds or asks for now, in the order in which it did.
    pub fn of(locks: &LockTable, txn: TxnId, answered_only: bool) -> Script {
        let wanted = |held: &Held| held.txn == txn && !(answered_only && held.tentative);
        let mut held = locks.look(MAX_LOCKS, wanted);
        held.retain(|(index, _, _)| !index.is_whole());
        held.sort_by_key(|(_, _, held)| held.order);
        let mut script = Script::default();
        for (index, _, held) in held {
            let kind = if held.insert { Kind::Insert { check: Some(Mode::S) } } else { held.kind };
            script.add(index, held.mode, kind, held.named);
        }
        script
    }

    /// Adds a request that is still to be decided.
    pub fn ask(&mut self, request: &Request) {
        self.add(request.index, request.mode, request.kind, request.range.clone());
    }

    fn add(&mut self, index: IndexId, mode: Mode, kind: Kind, range: Range) {
        if self.0.len() == MAX_REQUESTS {
            self.0.remove(0);
        }
        self.0.push(Request { index, mode, range, kind, certainty: Certainty::Certain, rule: "replay" });
    }

    /// As it would be at READ COMMITTED: no gap is locked by searches.
    pub fn without_gaps(&self) -> Script {
        let each = |request: &Request| match request.kind {
            Kind::Gap => None,
            Kind::RecordOrGap | Kind::NextKey => Some(Request { kind: Kind::Record, ..request.clone() }),
            _ => Some(request.clone()),
        };
        Script(self.0.iter().filter_map(each).collect())
    }

    /// As it would be if every shared lock were exclusive from the start.
    pub fn exclusive(&self) -> Script {
        let each = |request: &Request| Request { mode: Mode::X, ..request.clone() };
        Script(self.0.iter().map(each).collect())
    }

    /// As it would be in the order of tables, indexes and keys.
    pub fn sorted(&self) -> Script {
        let mut sorted = self.clone();
        sorted.0.sort_by(|a, b| (a.index, &a.range.low).cmp(&(b.index, &b.range.low)));
        sorted
    }
}

/// The worst that two or more scripts can come to, run at the same time.
pub fn worst(scripts: &[Script]) -> Worst {
    let mut search = Search { scripts, runs: 0, worst: Worst::Nothing };
    search.from(&mut Vec::new(), &mut vec![0; scripts.len()]);
    search.worst
}

struct Search<'a> {
    scripts: &'a [Script],
    runs: usize,
    worst: Worst,
}

impl Search<'_> {
    /// Tries every continuation of a beginning. `taken` says whose turn it was each time.
    fn from(&mut self, turns: &mut Vec<usize>, at: &mut Vec<usize>) {
        if self.worst == Worst::Deadlock || self.runs >= MAX_RUNS {
            return;
        }
        let mut complete = true;
        for (who, script) in self.scripts.iter().enumerate() {
            if at[who] < script.0.len() {
                complete = false;
                at[who] += 1;
                turns.push(who);
                self.from(turns, at);
                turns.pop();
                at[who] -= 1;
            }
        }
        if complete {
            self.runs += 1;
            self.worst = self.worst.max(self.run(turns));
        }
    }

    /// One interleaving. Who has to wait does not go on before the other has ended.
    fn run(&self, turns: &[usize]) -> Worst {
        let table = LockTable::new(Duration::from_secs(1).as_millis() as u64);
        let mut at = vec![0; self.scripts.len()];
        let mut waits_for: Vec<Option<usize>> = vec![None; self.scripts.len()];
        let mut worst = Worst::Nothing;
        for &who in turns {
            if waits_for[who].is_some() {
                continue;
            }
            let request = &self.scripts[who].0[at[who]];
            at[who] += 1;
            let (refs, met) =
                table.enter(TxnId(who as u64 + 1), std::slice::from_ref(request), Origin::default(), true, 0);
            for conflict in met.conflicts {
                match conflict.relation {
                    Relation::Hazard => worst = worst.max(Worst::Hazard),
                    Relation::Wait => {
                        worst = worst.max(Worst::Wait);
                        waits_for[who] = Some(conflict.holder.0 as usize - 1);
                    }
                }
            }
            if waits_for[who].is_none() {
                let got = match request.kind.inserts() {
                    true => Settled::Became(Kind::Record, request.range.clone()),
                    false => Settled::Kept,
                };
                table.settle(refs, &[got], 0);
            }
            if circles(&waits_for, who) {
                return Worst::Deadlock;
            }
        }
        worst
    }
}

/// Does the chain of who waits for whom come back?
fn circles(waits_for: &[Option<usize>], start: usize) -> bool {
    let mut at = start;
    for _ in 0..waits_for.len() {
        match waits_for[at] {
            Some(next) if next == start => return true,
            Some(next) => at = next,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TableId;
    use crate::lock::key::Key;

    fn script(requests: &[(u32, Mode, Kind, i128)]) -> Script {
        let mut script = Script::default();
        for (table, mode, kind, key) in requests {
            let mut place = Key::default();
            place.push_int(*key, false);
            let index = IndexId { table: TableId(*table), index: 0 };
            script.add(index, *mode, *kind, Range::entries(&place));
        }
        script
    }

    const INSERT: Kind = Kind::Insert { check: Some(Mode::S) };

    #[test]
    fn get_or_create_deadlocks_and_not_without_gaps() {
        let one = script(&[(1, Mode::X, Kind::RecordOrGap, 10), (1, Mode::X, INSERT, 10)]);
        let two = script(&[(1, Mode::X, Kind::RecordOrGap, 11), (1, Mode::X, INSERT, 11)]);
        assert_eq!(worst(&[one.clone(), two.clone()]), Worst::Deadlock);
        assert_eq!(worst(&[one.without_gaps(), two.without_gaps()]), Worst::Nothing);
    }

    #[test]
    fn opposite_order_deadlocks_and_not_when_sorted() {
        let one = script(&[(1, Mode::X, Kind::Record, 1), (2, Mode::X, Kind::Record, 1)]);
        let two = script(&[(2, Mode::X, Kind::Record, 1), (1, Mode::X, Kind::Record, 1)]);
        assert_eq!(worst(&[one.clone(), two.clone()]), Worst::Deadlock);
        assert_eq!(worst(&[one.sorted(), two.sorted()]), Worst::Wait);
    }

    #[test]
    fn an_upgrade_deadlocks_and_not_when_exclusive_from_the_start() {
        let one = script(&[(1, Mode::S, Kind::Record, 1), (1, Mode::X, Kind::Record, 1)]);
        assert_eq!(worst(&[one.clone(), one.clone()]), Worst::Deadlock);
        assert_eq!(worst(&[one.exclusive(), one.exclusive()]), Worst::Wait);
    }

    #[test]
    fn one_hot_row_is_a_queue() {
        let one = script(&[(1, Mode::X, Kind::Record, 1)]);
        assert_eq!(worst(&[one.clone(), one]), Worst::Wait);
    }
}
