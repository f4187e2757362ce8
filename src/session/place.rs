//! An index by its names, for reports.

use crate::admission::record::Resource;
use crate::catalog::Table;

/// The index of a table at this position.
pub fn place(table: &Table, index: u16) -> Resource {
    let found = table.indexes.get(usize::from(index));
    let column = |position: Option<usize>| position.and_then(|at| table.columns.get(at));
    // An index on an expression has no column there; what it is called in the definition is not kept.
    let name = |position| column(position).map_or_else(|| "(expression)".to_owned(), |c| c.name.clone());
    Resource {
        schema: table.schema.clone(),
        table: table.name.clone(),
        index: found.map(|index| index.name.clone()).unwrap_or_default(),
        columns: found
            .map(|index| index.parts.iter().map(|part| name(part.column)).collect())
            .unwrap_or_default(),
        ..Resource::default()
    }
}
