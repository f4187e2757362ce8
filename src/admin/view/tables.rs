//! The list of tables: name, description, columns and rows of each, read from the row types.

use schemars::{JsonSchema, SchemaGenerator, schema_for};
use serde::Serialize;
use serde_json::Value;

use super::View;
use super::column::text;
pub use super::column::{Column, ColumnKind, Row};
use super::rows::{Conflict, Digest, Hold, Lock, Session, Signature, Status, Transaction, Wait};

/// A table.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The JSON Schema of a row; descriptions included.
    pub schema: fn() -> Value,
    /// Adds a row's schema to an OpenAPI document; returns its name there.
    pub register: fn(&mut SchemaGenerator) -> String,
    /// Its rows, at most so many where there may be very many.
    pub rows: fn(&View, usize) -> Vec<Row>,
}

/// Every table.
pub const TABLES: &[Table] = &[
    table::<Conflict>("conflicts", |view, limit| rows(view.conflicts(limit))),
    table::<Lock>("locks", |view, limit| rows(view.locks(limit))),
    table::<Wait>("waits", |view, _| rows(view.waits())),
    table::<Transaction>("transactions", |view, _| rows(view.transactions())),
    table::<Session>("sessions", |view, _| rows(view.sessions())),
    table::<Hold>("holds", |view, _| rows(view.holds())),
    table::<Digest>("digests", |view, _| rows((view.digests)())),
    table::<Signature>("signatures", |view, _| rows((view.signatures)())),
    table::<Status>("status", |view, _| rows(vec![view.status()])),
];

/// The table of this name.
pub fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name.eq_ignore_ascii_case(name))
}

const fn table<T: JsonSchema>(name: &'static str, rows: fn(&View, usize) -> Vec<Row>) -> Table {
    let register = |generator: &mut SchemaGenerator| {
        generator.subschema_for::<T>();
        T::schema_name().into_owned()
    };
    Table { name, schema: || schema_for!(T).to_value(), register, rows }
}

fn rows<T: Serialize>(rows: Vec<T>) -> Vec<Row> {
    let row = |row| match serde_json::to_value(row) {
        Ok(Value::Object(row)) => row,
        // A row type is a struct of numbers and text: it always becomes an object.
        _ => Row::new(),
    };
    rows.into_iter().map(row).collect()
}

// === impl Table ===

impl Table {
    /// What the table shows.
    pub fn doc(&self) -> String {
        text(&(self.schema)(), "description")
    }

    /// Name of a row's schema in the OpenAPI document.
    pub fn type_name(&self) -> String {
        text(&(self.schema)(), "title")
    }

    /// Its columns, in order.
    pub fn columns(&self) -> Vec<Column> {
        let schema = (self.schema)();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        properties.into_iter().map(|(name, property)| Column::new(name, &property)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described() {
        for table in TABLES {
            assert!(
                table.doc().ends_with('.') || table.doc().ends_with("first."),
                "{}: {}",
                table.name,
                table.doc()
            );
            let columns = table.columns();
            assert!(!columns.is_empty(), "{}", table.name);
            for column in columns {
                assert!(column.doc.ends_with('.'), "{}.{}: {:?}", table.name, column.name, column.doc);
            }
        }
    }

    #[test]
    fn columns_come_in_the_order_of_the_fields() {
        let columns = find("waits").unwrap().columns();
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names[..3], ["waiter", "waiter_session", "waiter_statement"]);
        assert_eq!((columns[0].kind, columns[0].nullable), (ColumnKind::Integer, false));
        assert_eq!((columns[2].kind, columns[2].nullable), (ColumnKind::Text, true));
    }
}
