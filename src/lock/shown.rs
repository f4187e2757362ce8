//! What looks at the server have shown of an index: which records are there, where gaps end, which keys the server has
//! given. Nothing here is asked for or held: locks only come to be known better.

use super::index::IndexLocks;
use super::key::Key;
use super::range::Range;
use super::request::Kind;
use crate::id::TxnId;

/// What a probe of the server has shown around a place.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// When it was asked about, milliseconds of the caller's clock: what is known since then is newer.
    pub asked: u64,
    /// The place that was asked about.
    pub place: Key,
    /// Entries at the place exist.
    pub present: bool,
    /// The nearest entry below; `None` if there is none.
    pub below: Option<Key>,
    /// The nearest entry above; `None` if there is none (the gap ends at the supremum).
    pub above: Option<Key>,
}

impl IndexLocks {
    /// A look has shown new records that nobody has put as far as is known: their keys are those that the server has
    /// given to inserts under way, or done where the answer did not tell, in the order in which they came.
    pub fn name_new(&mut self, found: &[Key]) {
        for key in found {
            let place = Range::entries(key);
            let (mut known, mut first) = (false, None);
            // The next number stands behind all that were given.
            let from = Range { low: place.low.clone(), high: Key::supremum() };
            self.tree.visit(&from, &Range::all(), &mut |handle, _, held| {
                known |= held.insert && held.named.intersects(&place);
                let put = held.insert && !held.waits && held.named.low.is_end();
                if put && first.is_none_or(|(order, _)| held.order < order) {
                    first = Some((held.order, handle));
                }
            });
            let Some((_, handle)) = first.filter(|_| !known) else { continue };
            if let Some((_, held)) = self.tree.get_mut(handle) {
                (held.named, held.asked) = (place.clone(), place.clone());
                self.tree.set_range(handle, place, true);
            }
        }
    }

    /// Takes in what a probe has shown. False: nothing that could let anybody on.
    pub fn learn(&mut self, seen: &Neighbours, now: u64, believe_until: u64) -> bool {
        let place = Range::entries(&seen.place);
        let mut news = seen.present || self.fences.any_in(&place, now);
        if seen.present {
            self.fences.put(seen.place.clone(), believe_until);
        }
        let gap = Range {
            low: seen.below.as_ref().map_or(Key::lowest(), Key::after),
            high: seen.above.clone().unwrap_or(Key::supremum()),
        };
        for fence in [&seen.below, &seen.above].into_iter().flatten() {
            news |= !self.fences.any_in(&Range::entries(fence), now);
            self.fences.put(fence.clone(), believe_until);
        }
        if gap.is_empty() {
            return news;
        }
        let shown = seen.present.then_some(&seen.place).into_iter().chain(&seen.above);
        if self.fences.disproved(&gap, shown, seen.asked + (believe_until - now)) {
            // What it says of the gap is no longer so.
            return news;
        }
        let putters = self.putters(&gap);
        for handle in self.tree.handles(&gap, |held| held.kind.gaps() && !held.exact) {
            let Some((_, held)) = self.tree.get(handle) else { continue };
            // A record that the holder has put into its own gap bounds nothing. One that another has put there came
            // before the lock, and the look before both.
            let (frozen, txn) = (held.frozen, held.txn);
            let is_cut = putters.iter().any(|putter| *putter != txn);
            let bounds = |edge: &&Key| !frozen || !self.has_put(txn, edge);
            let [below, above] = [&seen.below, &seen.above].map(|edge| edge.as_ref().filter(bounds));
            let gap = Range {
                low: below.map_or(Key::lowest(), Key::after),
                high: above.cloned().unwrap_or(Key::supremum()),
            };
            let Some((extent, held)) = self.tree.get_mut(handle) else { continue };
            let inside = !frozen && gap.covers(&held.named);
            if inside && is_cut {
                continue;
            }
            held.exact |= inside && !seen.present && held.kind != Kind::NextKey;
            let narrowed = if inside { gap.clone() } else { cut(extent.clone(), &held.named, &gap) };
            news |= narrowed != *extent;
            self.tree.set_range(handle, narrowed, true);
        }
        news
    }

    /// Who has put entries into this gap that may be taken out again.
    fn putters(&self, gap: &Range) -> Vec<TxnId> {
        let mut putters = Vec::new();
        self.tree.visit(gap, gap, &mut |_, _, held| {
            if held.inserted && !held.deleted && gap.covers(&held.named) && !putters.contains(&held.txn) {
                putters.push(held.txn);
            }
        });
        putters
    }
}

/// What is left of a gap's reach when the records at the edges of `gap` are known to exist.
fn cut(extent: Range, named: &Range, gap: &Range) -> Range {
    // A lock on the very record that borders the gap may well reach into it.
    let mut cut = extent;
    if named.high < gap.low {
        // `gap.low` is the place right behind a record; the lock lies below that record.
        cut.high = cut.high.min(gap.low.clone());
    } else if named.low > gap.high {
        cut.low = cut.low.max(gap.high.clone());
    }
    cut
}
