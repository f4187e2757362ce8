//! Places in the database, in words: "the gap of `batch.server_id` between 7 and 12".

use std::fmt;
use std::sync::OnceLock;

use super::ledger::in_words;
use super::metadata;
use super::record::Resource;
use crate::id::IndexId;
use crate::lock::key::Key;
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::Kind;

/// Schema, table, index and columns of an index, by its number.
pub type NameOf = Box<dyn Fn(IndexId) -> Option<Resource> + Send + Sync>;

/// The names of indexes. Until somebody gives them, indexes have numbers.
#[derive(Default)]
pub struct Places(OnceLock<NameOf>);

impl Places {
    /// From now on indexes have these names. The first call counts.
    pub fn name_by(&self, names: NameOf) {
        // A second one comes from nowhere: there is one catalog.
        let _ = self.0.set(names);
    }

    /// An index by its names.
    pub fn name(&self, index: IndexId) -> Resource {
        let named = self.0.get().and_then(|names| names(index));
        named.unwrap_or_else(|| Resource {
            table: format!("#{}", index.table.0),
            index: format!("#{}", index.index),
            ..Resource::default()
        })
    }

    /// A lock at its place.
    pub fn resource(&self, index: IndexId, mode: Mode, kind: Kind, range: &Range, redact: bool) -> Resource {
        match metadata::place(index, range, redact) {
            Some(named) => whole(named, mode),
            None => locked(self.name(index), mode, kind, (kind, range), redact),
        }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

/// A lock that is no part of an index: a table's definition, a named lock.
pub(super) fn whole(named: Resource, mode: Mode) -> Resource {
    let place = match &*named.table {
        "" => named.range.clone(),
        table => format!("the definition of `{}.{table}`", named.schema),
    };
    Resource { mode: format!("{mode:?}"), place, ..named }
}

/// What is asked for (mode and kind), at what is there (kind and range).
pub(super) fn locked(named: Resource, mode: Mode, kind: Kind, at: (Kind, &Range), redact: bool) -> Resource {
    Resource {
        range: in_words(at.0, at.1, redact),
        place: sentence(&named, at.0, at.1, redact),
        mode: format!("{mode:?} {}", kind.name()),
        ..named
    }
}

/// `batch.server_id`, `batch (a, b)`, or the table if the columns are not known.
pub(super) fn columns(named: &Resource) -> String {
    match &named.columns[..] {
        [] => format!("`{}`", named.table),
        [one] => format!("`{}.{one}`", named.table),
        several => format!("`{} ({})`", named.table, several.join(", ")),
    }
}

fn sentence(named: &Resource, kind: Kind, range: &Range, redact: bool) -> String {
    let on = columns(named);
    // Behind the columns of a secondary index stands the primary key.
    let parts = if named.columns.is_empty() { usize::MAX } else { named.columns.len() };
    let shown = |key: &Key| if redact { "?".to_owned() } else { format!("{key:.parts$}") };
    let low = if range.low.is_lowest() { "the first record".to_owned() } else { shown(&range.low) };
    let high = if range.high.is_supremum() { "the end".to_owned() } else { shown(&range.high) };
    let one = !range.low.is_lowest() && range.high == range.low.after();
    match kind {
        Kind::Insert { .. } | Kind::Tried { .. } => format!("a new record of {on} at {low}"),
        Kind::Record | Kind::Passed | Kind::Clustered { .. } | Kind::Entry if one => {
            format!("the record of {on} at {low}")
        }
        Kind::Record | Kind::Passed | Kind::Ahead | Kind::Clustered { .. } | Kind::Entry => {
            format!("the records of {on} between {low} and {high}")
        }
        Kind::RecordOrGap if one => format!("the record of {on} at {low}, or the gap there"),
        Kind::RecordOrGap => format!("the records of {on} between {low} and {high}, or the gap there"),
        Kind::Gap if one => format!("the gap of {on} around {low}"),
        Kind::Gap => format!("the gap of {on} between {low} and {high}"),
        Kind::NextKey if one => format!("the record of {on} at {low} and the gap below"),
        Kind::NextKey => format!("the records and gaps of {on} between {low} and {high}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TableId;

    fn key(number: i128) -> Key {
        let mut key = Key::default();
        key.push_int(number, false);
        key
    }

    fn check(kind: Kind, range: Range, redact: bool, expected: &str) {
        let places = Places::default();
        places.name_by(Box::new(|_| {
            let columns = vec!["server_id".to_owned()];
            Some(Resource { table: "batch".into(), columns, ..Resource::default() })
        }));
        let index = IndexId { table: TableId(1), index: 1 };
        assert_eq!(places.resource(index, Mode::X, kind, &range, redact).place, expected);
    }

    #[test]
    fn a_place_reads_as_a_sentence() {
        let gap = Range { low: key(7), high: key(12) };
        check(Kind::Gap, gap.clone(), false, "the gap of `batch.server_id` between 7 and 12");
        let mut entry = key(7);
        entry.push_int(1, false);
        let entries = Range { low: entry.after(), high: key(12) };
        check(Kind::Gap, entries, false, "the gap of `batch.server_id` between 7 and 12");
        check(Kind::Gap, gap, true, "the gap of `batch.server_id` between ? and ?");
        check(Kind::Gap, Range::entries(&key(9)), false, "the gap of `batch.server_id` around 9");
        check(Kind::Record, Range::entries(&key(7)), false, "the record of `batch.server_id` at 7");
        let all = "the records and gaps of `batch.server_id` between the first record and the end";
        check(Kind::NextKey, Range::all(), true, all);
    }

    #[test]
    fn without_names_there_are_numbers() {
        let index = IndexId { table: TableId(3), index: 1 };
        assert_eq!(Places::default().name(index).table, "#3");
    }
}
