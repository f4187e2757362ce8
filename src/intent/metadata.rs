//! Metadata locks and named locks: what a statement asks for besides rows.
//!
//! The server's lock managers are several (InnoDB, metadata, `GET_LOCK`), and none of them sees a cycle that
//! runs through two. Here all of them stand in one lock table, so that the wait-for graph sees it.
//!
//! | rule | statement | asks for |
//! |---|---|---|
//! | `table-read` | plain SELECT, source of INSERT … SELECT, CREATE VIEW, … LIKE | IS on the table's name |
//! | `table-write` | locking read, INSERT, UPDATE, DELETE | IX |
//! | `table-definition` | ALTER, DROP, TRUNCATE, RENAME, CREATE; LOCK TABLES … WRITE | X |
//! | `table-read-lock` | LOCK TABLES … READ, FLUSH TABLES t WITH READ LOCK | S: readers pass, writers wait |
//! | `foreign-key-definition` | MySQL: ALTER or DROP of a table with foreign keys | X on the other table |
//! | `global-read-lock` | FLUSH TABLES WITH READ LOCK | S on everything: writers wait |
//! | `named-lock` | `GET_LOCK` | X on the name |
//!
//! A table stays locked for the rest of the transaction that has named it (manual, "Metadata Locking").

use crate::catalog::{Flavour, Table};
use crate::id::IndexId;
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::sql::access::TableName;
use crate::sql::statement::{Select, Statement};

/// A table's name with its schema: what a metadata lock is kept under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// The schema.
    pub schema: &'a str,
    /// The table.
    pub table: &'a str,
}

/// The tables that a statement names, and how it locks their definitions. `each` is called for each mention.
pub fn uses<'s>(statement: &'s Statement, each: &mut dyn FnMut(&'s TableName, Mode)) {
    match statement {
        Statement::Select(select) => read(select, each),
        Statement::Insert(insert) => {
            each(&insert.table, Mode::IX);
            insert.sources().iter().for_each(|access| each(&access.table, Mode::IS));
        }
        Statement::Update(update) => update.tables.iter().for_each(|access| changed(access, each)),
        Statement::Delete(delete) => delete.tables.iter().for_each(|access| changed(access, each)),
        Statement::LockTables(tables) => {
            tables.iter().for_each(|(table, write)| each(table, if *write { Mode::X } else { Mode::S }));
        }
        Statement::Ddl { tables, reads, verb, source, .. } => {
            let mode = definition(verb);
            tables.iter().for_each(|table| each(table, mode));
            reads.iter().for_each(|table| each(table, Mode::IS));
            source.iter().for_each(|source| read(source, each));
        }
        Statement::Routine { tables, verb, .. } => {
            let mode = if verb.starts_with("LOAD") { Mode::IX } else { Mode::IS };
            tables.iter().for_each(|table| each(table, mode));
        }
        Statement::Opaque { tables, .. } => tables.iter().for_each(|table| each(table, Mode::IS)),
        Statement::Multi(parts) => parts.iter().for_each(|part| uses(part, each)),
        _ => {}
    }
}

fn read<'s>(select: &'s Select, each: &mut dyn FnMut(&'s TableName, Mode)) {
    for access in &select.tables {
        let writes = access.lock.is_some_and(|lock| lock.exclusive);
        each(&access.table, if writes { Mode::IX } else { Mode::IS });
    }
}

fn changed<'s>(access: &'s crate::sql::access::TableAccess, each: &mut dyn FnMut(&'s TableName, Mode)) {
    each(&access.table, if access.lock.is_some() { Mode::IX } else { Mode::IS });
}

/// How a definition statement locks the tables that it names.
fn definition(verb: &str) -> Mode {
    match verb {
        "ANALYZE" | "CHECK" | "CACHE INDEX" | "LOAD INDEX" | "FLUSH" => Mode::IS,
        _ => Mode::X,
    }
}

/// Does a statement of this kind keep others from tables, so that they have to be looked for?
pub fn excludes(statement: &Statement) -> bool {
    match statement {
        Statement::LockTables(_) => true,
        Statement::Ddl { tables, verb, commits, .. } => {
            *commits && !tables.is_empty() && definition(verb) == Mode::X
        }
        Statement::Multi(parts) => parts.iter().any(|part| excludes(part)),
        _ => false,
    }
}

/// The tables on the other side of foreign keys whose definition MySQL locks too. MariaDB does not.
pub fn related<'t>(verb: &str, table: &'t Table, flavour: Flavour) -> Vec<Name<'t>> {
    if flavour == Flavour::MariaDb || !matches!(verb, "ALTER TABLE" | "DROP TABLE" | "RENAME TABLE") {
        return Vec::new();
    }
    let name = |pair: &'t (String, String)| Name { schema: &pair.0, table: &pair.1 };
    let children = table.referenced_by.iter().map(|key| name(&key.child));
    let parents = table.foreign_keys.iter().map(|key| name(&key.parent)).filter(|_| verb == "DROP TABLE");
    children.chain(parents).collect()
}

/// The request for the definition of a table.
pub fn request(name: &Name<'_>, mode: Mode, rule: &'static str) -> Request {
    let mut key = Key::default();
    key.push_ordered(name.schema.as_bytes(), false);
    key.push_ordered(name.table.as_bytes(), false);
    whole(IndexId::METADATA, key, mode, rule)
}

/// The request for a named lock. Names compare without case.
pub fn named(name: &[u8]) -> Request {
    let mut key = Key::default();
    key.push_ordered(&name.to_ascii_lowercase(), false);
    whole(IndexId::NAMED_LOCKS, key, Mode::X, "named-lock")
}

/// The name of the rule behind a mode on a table's name.
pub fn rule(mode: Mode) -> &'static str {
    match mode {
        Mode::IS => "table-read",
        Mode::IX => "table-write",
        Mode::S => "table-read-lock",
        Mode::X => "table-definition",
    }
}

/// A lock on something as a whole.
fn whole(index: IndexId, key: Key, mode: Mode, rule: &'static str) -> Request {
    let range = Range::entries(&key);
    Request { index, mode, range, kind: Kind::Record, certainty: Certainty::Certain, rule }
}
