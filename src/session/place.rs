//! An index by its names, for reports.

use crate::admission::record::Resource;
use crate::catalog::Table;
use crate::id::{IndexId, TableId};

/// What is no index, but is locked as one.
fn whole(index: u16) -> String {
    let auto_increment = index == IndexId::auto_increment(TableId::NONE).index;
    if auto_increment { "AUTO-INC".to_owned() } else { String::new() }
}

/// The index of a table at this position.
pub fn place(table: &Table, index: u16) -> Resource {
    let found = table.indexes.get(usize::from(index));
    let column = |position: Option<usize>| position.and_then(|at| table.columns.get(at));
    // An index on an expression has no column there.
    let name = |position| match column(position) {
        Some(column) => column.expression.as_ref().unwrap_or(&column.name).clone(),
        None => "(expression)".to_owned(),
    };
    Resource {
        schema: table.schema.clone(),
        table: table.name.clone(),
        index: found.map_or_else(|| whole(index), |index| index.name.clone()),
        columns: found
            .map(|index| index.parts.iter().map(|part| name(part.column)).collect())
            .unwrap_or_default(),
        ..Resource::default()
    }
}
