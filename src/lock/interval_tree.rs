//! A set of ranges that is asked "which of you touch this range?" in logarithmic time.
//!
//! A treap (Seidel and Aragon, "Randomized Search Trees", 1996) in an arena, ordered by (low, id) and
//! augmented with the node that has the highest end in each subtree (Cormen et al., "Interval trees").
//! Priorities are a hash of the id, so that equal histories give equal trees.
//!
//! Entries are *wide* or not. A search that is wider than what it is about ([`IntervalTree::visit`]) passes by
//! all that are not: a gap between two far records is searched without a look at the thousand record locks
//! that lie in it.
//!
//! Entries can be *vague*: somewhere in a range that says hardly more than "in this index". They begin where the
//! index begins, so they stand together, and a search that is not about them ([`IntervalTree::visit_solid`])
//! passes by all of them in logarithmic time.

use super::range::Range;

const NIL: u32 = u32::MAX;

/// Ranges with a value each, found by overlap.
#[derive(Debug)]
pub struct IntervalTree<T> {
    nodes: Vec<Node>,
    /// What belongs to the nodes, by their slots: apart from them, so that a way through the tree touches less memory.
    /// `None` in a free slot.
    values: Vec<Option<T>>,
    free: Vec<u32>,
    root: u32,
    next_id: u64,
}

#[derive(Debug)]
struct Node {
    range: Range,
    id: u64,
    priority: u64,
    left: u32,
    right: u32,
    /// The node of this subtree whose range ends last.
    furthest: u32,
    /// See the file's header.
    wide: bool,
    /// See the file's header.
    vague: bool,
    /// So many nodes of this subtree are wide.
    wides: u32,
    /// So many are not vague.
    solids: u32,
}

/// Names an entry; finds nothing once the entry is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    /// Number of the entry, never used twice in one tree.
    id: u64,
    slot: u32,
}

impl<T> Default for IntervalTree<T> {
    fn default() -> Self {
        IntervalTree { nodes: Vec::new(), values: Vec::new(), free: Vec::new(), root: NIL, next_id: 0 }
    }
}

impl<T> IntervalTree<T> {
    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// No range is in the set.
    pub fn is_empty(&self) -> bool {
        self.root == NIL
    }

    /// Puts a range in.
    pub fn insert(&mut self, range: Range, wide: bool, value: T) -> Handle {
        self.put(range, wide, false, value)
    }

    /// Puts a range in that tells hardly anything.
    pub fn insert_vague(&mut self, range: Range, value: T) -> Handle {
        self.put(range, false, true, value)
    }

    fn put(&mut self, range: Range, wide: bool, vague: bool, value: T) -> Handle {
        let id = self.next_id;
        self.next_id += 1;
        let node = Node {
            range,
            id,
            priority: id.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29),
            left: NIL,
            right: NIL,
            furthest: NIL,
            wide,
            vague,
            wides: 0,
            solids: 0,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot as usize] = node;
                self.values[slot as usize] = Some(value);
                slot
            }
            None => {
                self.nodes.push(node);
                self.values.push(Some(value));
                (self.nodes.len() - 1) as u32
            }
        };
        self.link(slot);
        Handle { id, slot }
    }

    /// Takes a range out; `None` if it is not there any more.
    pub fn remove(&mut self, handle: Handle) -> Option<(Range, T)> {
        let slot = self.find(handle)?;
        self.unlink(slot);
        let node = &mut self.nodes[slot as usize];
        let taken = (std::mem::replace(&mut node.range, Range::all()), self.values[slot as usize].take()?);
        self.free.push(slot);
        if self.root == NIL {
            self.nodes.clear();
            self.values.clear();
            self.free.clear();
        }
        Some(taken)
    }

    /// Gives an entry other ends, and makes it wide or not. With other ends it is not vague any more.
    pub fn set_range(&mut self, handle: Handle, range: Range, wide: bool) {
        let Some(slot) = self.find(handle) else { return };
        let node = &self.nodes[slot as usize];
        if node.range == range && node.wide == wide {
            return;
        }
        self.unlink(slot);
        let node = &mut self.nodes[slot as usize];
        (node.vague, node.wide, node.range) = (false, wide, range);
        self.link(slot);
    }

    /// The entry behind a handle.
    pub fn get(&self, handle: Handle) -> Option<(&Range, &T)> {
        let slot = self.find(handle)? as usize;
        Some((&self.nodes[slot].range, self.values[slot].as_ref()?))
    }

    /// The same, to change its value.
    pub fn get_mut(&mut self, handle: Handle) -> Option<(&Range, &mut T)> {
        let slot = self.find(handle)? as usize;
        Some((&self.nodes[slot].range, self.values[slot].as_mut()?))
    }

    fn find(&self, handle: Handle) -> Option<u32> {
        let node = self.nodes.get(handle.slot as usize)?;
        (node.id == handle.id && self.values[handle.slot as usize].is_some()).then_some(handle.slot)
    }

    fn link(&mut self, slot: u32) {
        let node = &mut self.nodes[slot as usize];
        (node.left, node.right) = (NIL, NIL);
        self.update(slot);
        self.root = self.insert_below(self.root, slot);
    }

    fn unlink(&mut self, slot: u32) {
        self.root = self.remove_below(self.root, slot);
    }

    /// Calls `visit` for every range that has a place in common with `range`, and for every wide one that has
    /// a place in common with `reach`, which `range` lies in; in order of `low`.
    pub fn visit<'a>(
        &'a self,
        range: &Range,
        reach: &Range,
        visit: &mut impl FnMut(Handle, &'a Range, &'a T),
    ) {
        self.visit_below(self.root, range, reach, true, visit);
    }

    /// As [`visit`](Self::visit), but for what is vague.
    pub fn visit_solid<'a>(
        &'a self,
        range: &Range,
        reach: &Range,
        visit: &mut impl FnMut(Handle, &'a Range, &'a T),
    ) {
        self.visit_below(self.root, range, reach, false, visit);
    }

    /// Up to `count` entries in no particular order, from position `from` on, and the position to go on from;
    /// `None` at the end. For looking at large trees in bites: an entry that stays is seen once.
    pub fn page(&self, from: usize, count: usize) -> (impl Iterator<Item = (&Range, &T)>, Option<usize>) {
        let to = (from + count).min(self.nodes.len());
        let nodes = self.nodes.get(from..to).unwrap_or_default();
        let values = self.values.get(from..to).unwrap_or_default();
        let entries =
            nodes.iter().zip(values).filter_map(|(node, value)| Some((&node.range, value.as_ref()?)));
        (entries, (to < self.nodes.len()).then_some(to))
    }

    /// As [`visit_solid`](Self::visit_solid), with handles: for entries that are to be changed afterwards.
    pub fn handles(&self, range: &Range, keep: impl Fn(&T) -> bool) -> Vec<Handle> {
        let mut found = Vec::new();
        self.visit_solid(range, range, &mut |handle, _, value| {
            if keep(value) {
                found.push(handle);
            }
        });
        found
    }

    fn visit_below<'a>(
        &'a self,
        at: u32,
        range: &Range,
        reach: &Range,
        vague: bool,
        visit: &mut impl FnMut(Handle, &'a Range, &'a T),
    ) {
        if at == NIL {
            return;
        }
        let node = self.node(at);
        if !vague && node.solids == 0 {
            return;
        }
        let searched = if node.wides > 0 { reach } else { range };
        if self.node(node.furthest).range.high <= searched.low {
            return;
        }
        self.visit_below(node.left, range, reach, vague, visit);
        if node.range.low >= searched.high {
            return;
        }
        let mine = if node.wide { reach } else { range };
        let asked = vague || !node.vague;
        if asked
            && node.range.intersects(mine)
            && let Some(value) = &self.values[at as usize]
        {
            visit(Handle { id: node.id, slot: at }, &node.range, value);
        }
        self.visit_below(node.right, range, reach, vague, visit);
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn before(&self, a: u32, b: u32) -> bool {
        let (a, b) = (self.node(a), self.node(b));
        (&a.range.low, a.id) < (&b.range.low, b.id)
    }

    /// Recomputes what a node knows of its subtree from its own ends and its children.
    fn update(&mut self, at: u32) {
        let node = self.node(at);
        let (mut wides, mut solids) = (u32::from(node.wide), u32::from(!node.vague));
        for child in [node.left, node.right] {
            if child != NIL {
                wides += self.node(child).wides;
                solids += self.node(child).solids;
            }
        }
        let node = &mut self.nodes[at as usize];
        (node.wides, node.solids) = (wides, solids);
        self.find_furthest(at);
    }

    fn find_furthest(&mut self, at: u32) {
        let node = self.node(at);
        let mut furthest = at;
        for child in [node.left, node.right] {
            if child != NIL {
                let candidate = self.node(child).furthest;
                if self.node(candidate).range.high > self.node(furthest).range.high {
                    furthest = candidate;
                }
            }
        }
        self.nodes[at as usize].furthest = furthest;
    }

    fn insert_below(&mut self, root: u32, new: u32) -> u32 {
        if root == NIL {
            return new;
        }
        if self.node(new).priority > self.node(root).priority {
            let (left, right) = self.split(root, new);
            self.nodes[new as usize].left = left;
            self.nodes[new as usize].right = right;
            self.update(new);
            return new;
        }
        if self.before(new, root) {
            let left = self.insert_below(self.node(root).left, new);
            self.nodes[root as usize].left = left;
        } else {
            let right = self.insert_below(self.node(root).right, new);
            self.nodes[root as usize].right = right;
        }
        let (wide, solid) = (self.node(new).wide, !self.node(new).vague);
        let further = self.node(new).range.high > self.node(self.node(root).furthest).range.high;
        let node = &mut self.nodes[root as usize];
        node.wides += u32::from(wide);
        node.solids += u32::from(solid);
        if further {
            node.furthest = new;
        }
        root
    }

    /// Parts the subtree into what lies before and behind `pivot`.
    fn split(&mut self, root: u32, pivot: u32) -> (u32, u32) {
        if root == NIL {
            return (NIL, NIL);
        }
        if self.before(root, pivot) {
            let (left, right) = self.split(self.node(root).right, pivot);
            self.nodes[root as usize].right = left;
            self.update(root);
            (root, right)
        } else {
            let (left, right) = self.split(self.node(root).left, pivot);
            self.nodes[root as usize].left = right;
            self.update(root);
            (left, root)
        }
    }

    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NIL || right == NIL {
            return if left == NIL { right } else { left };
        }
        let root = if self.node(left).priority > self.node(right).priority {
            let merged = self.merge(self.node(left).right, right);
            self.nodes[left as usize].right = merged;
            left
        } else {
            let merged = self.merge(left, self.node(right).left);
            self.nodes[right as usize].left = merged;
            right
        };
        self.update(root);
        root
    }

    fn remove_below(&mut self, root: u32, gone: u32) -> u32 {
        if root == NIL || root == gone {
            return if root == NIL { NIL } else { self.merge(self.node(root).left, self.node(root).right) };
        }
        if self.before(gone, root) {
            let left = self.remove_below(self.node(root).left, gone);
            self.nodes[root as usize].left = left;
        } else {
            let right = self.remove_below(self.node(root).right, gone);
            self.nodes[root as usize].right = right;
        }
        let (wide, solid) = (self.node(gone).wide, !self.node(gone).vague);
        let node = &mut self.nodes[root as usize];
        node.wides -= u32::from(wide);
        node.solids -= u32::from(solid);
        if node.furthest == gone {
            self.find_furthest(root);
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;
    use proptest::prelude::*;

    fn range(low: i128, high: i128) -> Range {
        let (mut a, mut b) = (Key::default(), Key::default());
        a.push_int(low, false);
        b.push_int(high, false);
        Range { low: a, high: b }
    }

    proptest! {
        /// The tree against a list that is searched from end to end.
        #[test]
        fn finds_what_a_list_finds(steps in prop::collection::vec((0..5u8, 0..40i128, 1..15i128), 1..200)) {
            let mut tree = IntervalTree::default();
            // With each: is it wide, and is it vague?
            let mut list: Vec<(Handle, Range, bool, bool)> = Vec::new();
            for (what, low, length) in steps {
                let asked = range(low, low + length);
                if what == 0 && !list.is_empty() {
                    let (handle, gone, ..) = list.swap_remove(low as usize % list.len());
                    prop_assert_eq!(tree.remove(handle), Some((gone, handle.id)));
                    prop_assert_eq!(tree.remove(handle), None);
                } else if what == 1 {
                    let reach = range(low - length, low + 2 * length);
                    let (mut found, mut solid) = (Vec::new(), Vec::new());
                    tree.visit(&asked, &reach, &mut |handle, _, _| found.push(handle));
                    tree.visit_solid(&asked, &reach, &mut |handle, _, _| solid.push(handle));
                    let meets = |r: &Range, wide: bool| r.intersects(if wide { &reach } else { &asked });
                    for (mut found, vague) in [(found, true), (solid, false)] {
                        let mut expected: Vec<Handle> = list
                            .iter()
                            .filter(|(_, r, wide, is_vague)| meets(r, *wide) && (vague || !is_vague))
                            .map(|(h, ..)| *h)
                            .collect();
                        found.sort_unstable_by_key(|h| h.id);
                        expected.sort_unstable_by_key(|h| h.id);
                        prop_assert_eq!(found, expected);
                    }
                } else if what == 2 && !list.is_empty() {
                    let at = low as usize % list.len();
                    let wide = length % 3 == 0;
                    tree.set_range(list[at].0, asked.clone(), wide);
                    let vague = list[at].3 && list[at].1 == asked && list[at].2 == wide;
                    (list[at].1, list[at].2, list[at].3) = (asked, wide, vague);
                } else {
                    let id = tree.next_id;
                    let (wide, vague) = (length % 4 == 0, length % 4 == 1);
                    let handle = match vague {
                        true => tree.insert_vague(asked.clone(), id),
                        false => tree.insert(asked.clone(), wide, id),
                    };
                    prop_assert_eq!(tree.get_mut(handle), Some((&asked, &mut id.clone())));
                    list.push((handle, asked, wide, vague));
                }
                prop_assert_eq!(tree.len(), list.len());
            }
        }
    }
}
