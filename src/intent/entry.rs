//! The entry of a row in an index.

use super::value;
use crate::catalog::Table;
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::sql::value::Value;

/// An entry of an index, as far as the values of its columns are known.
pub(super) struct Entry {
    /// Its key, or the beginning of it.
    pub(super) key: Key,
    /// All of it is known, the clustered key at its end included.
    pub(super) whole: bool,
    /// The index's own columns are known.
    pub(super) own: bool,
    /// The own columns alone, if the index is unique and none of them is NULL.
    pub(super) unique: Option<Key>,
    /// How sure the comparison is.
    pub(super) certainty: Certainty,
}

impl Entry {
    /// The part of the index that it lies in.
    pub(super) fn range(&self) -> Range {
        if self.key.is_lowest() { Range::all() } else { Range::entries(&self.key) }
    }
}

/// The entry of a row in an index.
pub(super) fn entry<'v>(table: &Table, at: usize, value_of: &dyn Fn(usize) -> Option<Value<'v>>) -> Entry {
    let index = &table.indexes[at];
    let clustered: &[_] = if at == 0 { &[] } else { &table.indexes[0].parts };
    let mut built =
        Entry { key: Key::default(), whole: true, own: true, unique: None, certainty: Certainty::Certain };
    let mut null = false;
    let own = index.parts.len();
    for (n, part) in index.parts.iter().chain(clustered).enumerate() {
        if n == own && index.unique && !null {
            built.unique = Some(built.key.clone());
        }
        let known = part.column.and_then(|column| {
            let value = value_of(column)?;
            null |= value == Value::Null;
            value::push(&mut built.key, &table.columns[column], part, &value)
        });
        match known {
            Some(certainty) => built.certainty = built.certainty.min(certainty),
            None => {
                built.whole = false;
                built.own &= n >= own;
                return built;
            }
        }
    }
    if at == 0 && index.unique && own > 0 {
        built.unique = Some(built.key.clone());
    }
    built.whole &= own > 0 && (at == 0 || !clustered.is_empty());
    built
}
