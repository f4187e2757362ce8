//! What the names in a statement stand for: definitions from the catalog.

use std::sync::Arc;

use super::super::place::place;
use super::super::serve::Shared;
use crate::admission::record::Resource;
use crate::catalog::Table;
use crate::id::IndexId;
use crate::intent;
use crate::intent::foreign_key::relatives;
use crate::sql::access::TableName;
use crate::sql::statement::Statement;

/// A table's definition, if it is known now; of a view of one table that table's.
pub(super) fn find(shared: &Shared, default: Option<&str>, name: &TableName) -> Option<Arc<Table>> {
    let schema = name.schema.as_deref().or(default)?;
    let knowledge = shared.knowledge.as_ref()?;
    let found = knowledge.catalog.get(schema, &name.name)?;
    match knowledge.views.base(&found) {
        None => Some(found),
        Some(base) => {
            let schema = base.schema.as_deref().unwrap_or(&found.schema);
            let behind = knowledge.catalog.get(schema, &base.name);
            if behind.is_none() {
                knowledge.catalog.request(schema, &base.name);
            }
            // A view of a view stays one.
            Some(behind.unwrap_or(found))
        }
    }
}

/// The tables that a statement names, its parts included.
pub(super) fn tables(statement: &Statement) -> Vec<&TableName> {
    match statement {
        Statement::Multi(parts) => parts.iter().flat_map(|part| intent::tables(part)).collect(),
        statement => intent::tables(statement),
    }
}

/// The table of an index that a statement locks: one that it names, or a relative of it.
pub(super) fn table_of(
    statement: &Statement,
    index: IndexId,
    table: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> Option<Arc<Table>> {
    let named: Vec<Arc<Table>> = tables(statement).into_iter().filter_map(table).collect();
    if let Some(table) = named.iter().find(|t| t.id == index.table) {
        return Some(table.clone());
    }
    let relatives = named.iter().flat_map(|t| relatives(t));
    let mut relatives = relatives.filter_map(|(schema, name)| {
        table(&TableName { schema: Some(schema.to_owned()), name: name.to_owned() })
    });
    relatives.find(|t| t.id == index.table)
}

/// The names that a report shows for it.
pub(super) fn resource(
    statement: &Statement,
    index: IndexId,
    table: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> Resource {
    let Some(table) = table_of(statement, index, table) else { return Resource::default() };
    place(&table, index.index)
}
