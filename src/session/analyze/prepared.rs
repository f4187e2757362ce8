//! The prepared statements of a session.

use std::collections::HashMap;
use std::collections::HashSet;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::sql::cache::Analysed;
use crate::sql::statement::Value;
use crate::wire::binary::{self, Param, ParamType};
use crate::wire::command;

/// MariaDB: the statement that was prepared last.
const LAST: u32 = u32::MAX;

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
}

/// What is executed.
pub(super) struct Execution<'a> {
    pub(super) text: Rc<Text>,
    pub(super) values: SmallVec<[Value<'a>; 8]>,
}

/// The prepared statements of a session, by id.
pub(super) struct Prepared {
    entries: HashMap<u32, Entry>,
    last: u32,
    limit: usize,
}

impl Prepared {
    pub(super) fn new(limit: usize) -> Prepared {
        Prepared { entries: HashMap::new(), last: 0, limit }
    }

    /// The server has prepared it. Beyond the limit statements are not followed: executing them is
    /// something unknown.
    pub(super) fn open(&mut self, id: u32, params: u16, text: Text) {
        self.last = id;
        if self.entries.len() < self.limit {
            let entry = Entry { text: Rc::new(text), params, types: Vec::new(), long: HashSet::new() };
            self.entries.insert(id, entry);
        }
    }

    pub(super) fn close(&mut self, body: &[u8]) {
        if let Some(id) = command::statement_id(body) {
            self.entries.remove(&id);
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
        {
            entry.long.insert(param);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The statement and values of a COM_STMT_EXECUTE; `None`: not known, or malformed.
    pub(super) fn execute<'a>(&mut self, body: &'a [u8], capabilities: u32) -> Option<Execution<'a>> {
        let entry = self.entry(body)?;
        let Entry { text, params, types, long } = entry;
        let decoded = binary::execute(body, capabilities, *params, types, |n| long.contains(&n))?;
        Some(Execution { text: text.clone(), values: decoded.params.into_iter().map(value).collect() })
    }

    /// The statement and the first row's values of MariaDB's COM_STMT_BULK_EXECUTE.
    pub(super) fn bulk_execute<'a>(&mut self, body: &'a [u8]) -> Option<Execution<'a>> {
        let Entry { text, params, types, .. } = self.entry(body)?;
        let decoded = binary::bulk_execute(body, *params, types)?;
        Some(Execution { text: text.clone(), values: decoded.params.into_iter().map(value).collect() })
    }

    fn entry(&mut self, body: &[u8]) -> Option<&mut Entry> {
        let id = command::statement_id(body)?;
        self.entries.get_mut(if id == LAST { &self.last } else { &id })
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
