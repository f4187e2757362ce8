//! A small schema for the tests of this room, and requests as short texts: `changed-entry X record of t.k at 5, 1`.

use std::sync::Arc;

use super::known::Known;
use super::{Context, requests_knowing};
use crate::catalog::{
    Column, Family, Flavour, ForeignKey, Index, KeyPart, ReferentialAction, Table, TableKind,
};
use crate::id::TableId;
use crate::lock::request::Request;
use crate::sql::access::TableName;
use crate::sql::cache::PlanCache;
use crate::sql::statement::{Isolation, SqlMode, Statement};

pub(super) const REPEATABLE_READ: Context = Context {
    isolation: Isolation::RepeatableRead,
    flavour: Flavour::MySql,
    in_transaction: true,
    foreign_keys: true,
    parents_first: true,
    ranges_keys: false,
    autoinc_lock_mode: 2,
};

fn column(name: &str) -> Column {
    Column::plain(name, Family::Integer, true)
}

fn index(name: &str, column: usize, unique: bool) -> Index {
    let parts = vec![KeyPart { column: Some(column), prefix: None, descending: false }];
    Index { name: name.to_owned(), unique, parts, btree: true }
}

/// `t (id PRIMARY KEY, k KEY, u UNIQUE, n)`
pub(super) fn table() -> Table {
    Table {
        id: TableId(1),
        generation: 1,
        schema: "s".to_owned(),
        name: "t".to_owned(),
        kind: TableKind::InnoDb,
        columns: ["id", "k", "u", "n"].map(column).into(),
        indexes: vec![index("PRIMARY", 0, true), index("k", 1, false), index("u", 2, true)],
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
        partitioned: false,
        definition: None,
        triggers: Vec::new(),
    }
}

/// `child (id PRIMARY KEY, parent KEY REFERENCES t (id) ON DELETE … ON UPDATE …)`, and `t` with it.
pub(super) fn family(action: ReferentialAction) -> Vec<Table> {
    let name = |table: &str| ("s".to_owned(), table.to_owned());
    let key = ForeignKey {
        name: "of".to_owned(),
        child: name("child"),
        child_columns: vec!["parent".to_owned()],
        parent: name("t"),
        parent_columns: vec!["id".to_owned()],
        on_delete: action,
        on_update: action,
    };
    let child = Table {
        id: TableId(2),
        name: "child".to_owned(),
        columns: ["id", "parent"].map(column).into(),
        indexes: vec![index("PRIMARY", 0, true), index("parent", 1, false)],
        foreign_keys: vec![key.clone()],
        ..table()
    };
    vec![Table { referenced_by: vec![key], ..table() }, child]
}

/// The requests of a statement, and the statement.
pub(super) fn requests(
    tables: &[Table],
    context: &Context,
    known: &Known,
    sql: &str,
) -> (Arc<crate::sql::cache::Plan>, Vec<Request>) {
    let analysed = PlanCache::new(1, false, 0).analyse(sql.as_bytes(), SqlMode::default());
    let values = analysed.bind(sql.as_bytes(), &[]);
    let find = |name: &TableName| tables.iter().find(|t| t.name == name.name).cloned().map(Arc::new);
    let statement: &Statement = &analysed.plan.statement;
    let intent = requests_knowing(statement, &values, context, &find, known);
    (analysed.plan.clone(), intent.requests)
}

/// Requests in words.
pub(super) fn words(tables: &[Table], requests: &[Request]) -> Vec<String> {
    let one = |r: &Request| {
        let table = tables.iter().find(|t| t.id == r.index.table).expect("a table of the test");
        let place = match (r.range.low.is_lowest(), r.range.low.is_supremum()) {
            (true, _) => "all".to_owned(),
            _ => format!("at {}", r.range.low),
        };
        let index = table.indexes.get(usize::from(r.index.index)).map_or("AUTO-INC", |index| &index.name);
        let sure = format!("{:?}", r.certainty).to_lowercase();
        format!("{} {:?} {} of {}.{index} {place} ({sure})", r.rule, r.mode, r.kind.name(), table.name)
    };
    requests.iter().map(one).collect()
}
