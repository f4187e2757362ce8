//! A lock as the server would show it: `LOCK_MODE` and `LOCK_DATA` of `performance_schema.data_locks` (MySQL
//! manual, section 29.12.13.1), so that the two can be laid side by side.

use super::words::{self, Around};
use crate::lock::key::Key;
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request, Settled};

/// What InnoDB calls the end of an index.
const SUPREMUM: &str = "supremum pseudo-record";

/// A row of `data_locks`.
#[derive(serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// `X`, `X,REC_NOT_GAP`, `X,GAP`, and the same with S.
    pub lock_mode: String,
    /// The entry's values, or as many of them as the statement names. `None`: it is not known which entry.
    pub lock_data: Option<String>,
}

/// The row of a lock once its statement is answered. `None` for what the server does not show: it keeps
/// nothing, or it is implicit, as the lock on a row that the transaction has put there or changed.
pub fn shown(
    request: &Request,
    settled: &Settled,
    reach: Option<&Range>,
    around: Option<&Around>,
) -> Option<Shown> {
    let (mode, kind, range) = match settled {
        Settled::Released => return None,
        // The gap where an entry stood that was taken out again.
        Settled::Undone => (Mode::X, Kind::Gap, &request.range),
        Settled::Became(..) if request.kind.inserts() => return None,
        Settled::Became(kind, range) => (request.mode, *kind, range),
        Settled::Duplicate => {
            (Mode::S, if request.index.index == 0 { Kind::Record } else { Kind::NextKey }, &request.range)
        }
        Settled::Met { mode, kind, .. } => (*mode, *kind, &request.range),
        Settled::Kept => (request.mode, request.kind, &request.range),
    };
    let named = range.is_entries() && !range.low.is_lowest();
    let entry = || named.then(|| range.low.texts().join(", "));
    let above = || match (reach, around) {
        (Some(reach), _) => Some(edge(&reach.high)),
        (None, Some(around)) => Some(match &around.above {
            Some(values) => words::texts(values).join(", "),
            None => SUPREMUM.to_owned(),
        }),
        // Where the next AUTO_INCREMENT number goes there is nothing behind it.
        (None, None) => range.low.before_end().filter(Key::is_lowest).map(|_| SUPREMUM.to_owned()),
    };
    let (suffix, data) = match kind {
        Kind::Passed | Kind::Ahead | Kind::Entry | Kind::Insert { .. } | Kind::Tried { .. } => return None,
        Kind::Record | Kind::Clustered { .. } => (",REC_NOT_GAP", entry()),
        Kind::Gap => (",GAP", above()),
        Kind::NextKey | Kind::RecordOrGap => ("", entry()),
    };
    // The end of an index is no record: of it every lock is one on the gap before it.
    let suffix = if data.as_deref() == Some(SUPREMUM) { "" } else { suffix };
    Some(Shown { lock_mode: format!("{mode:?}{suffix}"), lock_data: data })
}

fn edge(high: &Key) -> String {
    if high.is_supremum() { SUPREMUM.to_owned() } else { high.texts().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{IndexId, TableId};
    use crate::lock::mode::Certainty;

    fn key(n: i128) -> Key {
        let mut key = Key::lowest();
        key.push_int(n, false);
        key
    }

    fn request(kind: Kind) -> Request {
        let index = IndexId { table: TableId(1), index: 0 };
        let range = Range::entries(&key(15));
        Request { index, mode: Mode::X, range, kind, certainty: Certainty::Certain, rule: "" }
    }

    fn row(kind: Kind, settled: &Settled, reach: Option<&Range>) -> Option<(String, String)> {
        let shown = shown(&request(kind), settled, reach, None)?;
        Some((shown.lock_mode, shown.lock_data?))
    }

    #[test]
    fn a_lock_is_shown_at_the_record_that_it_hangs_on() {
        let gap = Range { low: key(10).after(), high: key(20) };
        let became = Settled::Became(Kind::Gap, Range::entries(&key(15)));
        let at = |mode: &str, data: &str| Some((mode.to_owned(), data.to_owned()));
        assert_eq!(row(Kind::RecordOrGap, &became, Some(&gap)), at("X,GAP", "20"));
        let last = Range { low: key(10).after(), high: Key::supremum() };
        assert_eq!(row(Kind::RecordOrGap, &became, Some(&last)), at("X", SUPREMUM));
        assert_eq!(row(Kind::NextKey, &Settled::Kept, Some(&gap)), at("X", "15"));
        assert_eq!(row(Kind::Record, &Settled::Kept, None), at("X,REC_NOT_GAP", "15"));
        let insert = Kind::Insert { check: Some(Mode::S) };
        assert_eq!(row(insert, &Settled::Duplicate, None), at("S,REC_NOT_GAP", "15"));
    }

    #[test]
    fn what_is_implicit_or_given_up_is_not_shown() {
        let insert = Kind::Insert { check: None };
        assert_eq!(row(insert, &Settled::Became(Kind::Record, Range::entries(&key(15))), None), None);
        assert_eq!(row(Kind::Entry, &Settled::Kept, None), None);
        assert_eq!(row(Kind::NextKey, &Settled::Released, None), None);
    }
}
