//! The prepared statements of a session.

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::Hasher;
use std::rc::Rc;

use rustc_hash::FxHasher;
use smallvec::SmallVec;

use crate::sql::cache::Analysed;
use crate::sql::value::Value;
use crate::wire::binary::{self, Param, ParamType};
use crate::wire::command;

/// Bytes that the prepared statements of one session may take, texts and places of literals; beyond, as beyond
/// `limits.prepared_statements`. That is a thousand bytes for each of the 16,382 that a server allows in all.
const MAX_BYTES: usize = 16 << 20;

/// MariaDB: the statement that was prepared last.
pub(super) const LAST: u32 = u32::MAX;

/// A statement's text as it was prepared.
pub(super) struct Text {
    pub(super) text: Box<[u8]>,
    pub(super) analysed: Analysed,
}

/// A prepared statement.
pub(super) struct Entry {
    pub(super) text: Rc<Text>,
    params: u16,
    types: Vec<ParamType>,
    long: HashSet<u16>,
    /// Its parameters have been bound with other types than at first: an execution that brings none has the newest.
    retyped: bool,
}

/// What is executed.
pub(super) struct Execution<'a> {
    pub(super) text: Rc<Text>,
    pub(super) values: SmallVec<[Value<'a>; 8]>,
    /// It opens no cursor, and all that it needs is in its packet or cannot have changed.
    pub(super) plain: bool,
}

/// The prepared statements of a session, by id.
pub(super) struct Prepared {
    entries: HashMap<u32, Entry>,
    last: u32,
    limit: usize,
    /// Of all entries.
    bytes: usize,
}

impl Text {
    fn bytes(&self) -> usize {
        self.text.len()
            + size_of_val(&*self.analysed.digest.literals)
            + size_of_val(&*self.analysed.digest.folds)
    }
}

impl Prepared {
    pub(super) fn new(limit: usize) -> Prepared {
        Prepared { entries: HashMap::new(), last: 0, limit, bytes: 0 }
    }

    /// The server has prepared it. Beyond the limit statements are not followed: executing them is
    /// something unknown.
    pub(super) fn open(&mut self, id: u32, params: u16, text: Text) {
        self.last = id;
        // A number comes again only after its statement was closed, or from a server that is none.
        self.forget(id);
        let bytes = text.bytes();
        if self.entries.len() < self.limit && self.bytes + bytes <= MAX_BYTES {
            let entry = Entry {
                text: Rc::new(text),
                params,
                types: Vec::new(),
                long: HashSet::new(),
                retyped: false,
            };
            self.entries.insert(id, entry);
            self.bytes += bytes;
        }
    }

    pub(super) fn close(&mut self, body: &[u8]) {
        if let Some(id) = command::statement_id(body) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.text.bytes();
        }
    }

    pub(super) fn reset(&mut self, body: &[u8]) {
        if let Some(entry) = command::statement_id(body).and_then(|id| self.entries.get_mut(&id)) {
            entry.long.clear();
        }
    }

    pub(super) fn long_data(&mut self, body: &[u8]) {
        if let Some((id, param)) = command::long_data_target(body)
            && let Some(entry) = self.entries.get_mut(&id)
            && param < entry.params
        {
            entry.long.insert(param);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The statement and values of a COM_STMT_EXECUTE; `None`: not known, or malformed.
    pub(super) fn execute<'a>(&mut self, body: &'a [u8], capabilities: u32) -> Option<Execution<'a>> {
        let entry = self.entry(body)?;
        let Entry { text, params, types, long, retyped } = entry;
        let before = Types::of(types);
        let decoded = binary::execute(body, capabilities, *params, types, |n| long.contains(&n))?;
        *retyped |= before.changed(types);
        let plain = !decoded.cursor && long.is_empty() && !*retyped;
        Some(Execution { text: text.clone(), values: decoded.params.into_iter().map(value).collect(), plain })
    }

    /// The statement and the first row's values of MariaDB's COM_STMT_BULK_EXECUTE.
    pub(super) fn bulk_execute<'a>(&mut self, body: &'a [u8]) -> Option<Execution<'a>> {
        let Entry { text, params, types, .. } = self.entry(body)?;
        let decoded = binary::bulk_execute(body, *params, types)?;
        let values = decoded.params.into_iter().map(value).collect();
        Some(Execution { text: text.clone(), values, plain: false })
    }

    fn entry(&mut self, body: &[u8]) -> Option<&mut Entry> {
        let id = command::statement_id(body)?;
        self.entries.get_mut(if id == LAST { &self.last } else { &id })
    }
}

/// The types of parameters, as a number: they are seldom many, and seldom change.
struct Types(Option<u64>);

impl Types {
    fn of(types: &[ParamType]) -> Types {
        let mut hasher = FxHasher::default();
        types.iter().for_each(|kind| hasher.write_u16(kind.0));
        Types((!types.is_empty()).then(|| hasher.finish()))
    }

    fn changed(&self, now: &[ParamType]) -> bool {
        self.0.is_some() && self.0 != Types::of(now).0
    }
}

fn value(param: Param<'_>) -> Value<'_> {
    match param {
        Param::Null => Value::Null,
        Param::Int(n) => Value::Int(n),
        Param::Float(f) => Value::Float(f),
        Param::Text(text) => Value::Text(text.into()),
        Param::Bytes(bytes) => Value::Bytes(bytes.into()),
        Param::Decimal(text) => std::str::from_utf8(text).map_or(Value::Unknown, Value::Decimal),
        Param::Temporal(text) => Value::Temporal(text),
        Param::Unknown => Value::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::cache::PlanCache;
    use crate::sql::statement::SqlMode;

    fn text(sql: &str) -> Text {
        let analysed = PlanCache::default().analyse(sql.as_bytes(), SqlMode::default());
        Text { text: sql.as_bytes().into(), analysed }
    }

    fn known(prepared: &mut Prepared, id: u32) -> bool {
        // COM_STMT_EXECUTE without parameters: number, no cursor, once.
        let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        prepared.execute(&body, 0).is_some()
    }

    #[test]
    fn beyond_its_limit_nothing_is_followed_and_closing_makes_room() {
        let mut prepared = Prepared::new(2);
        (1..=3).for_each(|id| prepared.open(id, 0, text("SELECT 1")));
        assert_eq!([1, 2, 3, u32::MAX].map(|id| known(&mut prepared, id)), [true, true, false, false]);
        prepared.close(&1u32.to_le_bytes());
        prepared.open(4, 0, text("SELECT 2"));
        assert_eq!([1, 4, u32::MAX].map(|id| known(&mut prepared, id)), [false, true, true]);
        (2..=4u32).for_each(|id| prepared.close(&id.to_le_bytes()));
        assert_eq!((prepared.entries.len(), prepared.bytes), (0, 0));
    }

    #[test]
    fn texts_and_literals_have_a_limit_together() {
        let mut prepared = Prepared::new(1000);
        let literals = format!("SELECT {}", vec!["1"; 90_000].join(","));
        let one = text(&literals);
        let (size, length) = (one.bytes(), literals.len());
        assert!(size > length + 90_000 * 8, "{size} {length}");
        let fit = MAX_BYTES / size;
        for id in 0..fit as u32 + 5 {
            let same = Text { text: one.text.clone(), analysed: one.analysed.clone() };
            prepared.open(id, 0, same);
        }
        assert_eq!(prepared.entries.len(), fit);
        assert!(prepared.bytes <= MAX_BYTES);
        prepared.clear();
        assert_eq!(prepared.bytes, 0);
        prepared.open(9, 0, text("SELECT 1"));
        assert!(known(&mut prepared, 9));
    }

    #[test]
    fn pieces_of_parameters_that_are_not_there_are_nothing() {
        let mut prepared = Prepared::new(10);
        prepared.open(1, 2, text("SELECT ?, ?"));
        for param in 0..u16::MAX {
            prepared.long_data(&[&1u32.to_le_bytes()[..], &param.to_le_bytes(), b"x"].concat());
        }
        assert_eq!(prepared.entries[&1].long.len(), 2);
    }
}
