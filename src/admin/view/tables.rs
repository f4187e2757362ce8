//! The list of tables: name, description, columns and rows of each, read from the row types.

use schemars::{JsonSchema, SchemaGenerator, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};

use super::View;
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

/// A row: values by column, in the columns' order.
pub type Row = Map<String, Value>;

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
    /// It may be NULL.
    pub nullable: bool,
    /// What it says.
    pub doc: String,
}

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnKind {
    /// A whole number, 0 or more.
    Integer,
    /// A number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// Text.
    Text,
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

impl Column {
    /// A column without a description.
    pub fn plain(name: &str, kind: ColumnKind) -> Column {
        Column { name: name.to_owned(), kind, nullable: true, doc: String::new() }
    }

    fn new(name: String, property: &Value) -> Column {
        let types: Vec<&str> = match &property["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let is = |name| types.contains(&name);
        let kind = match () {
            () if is("integer") => ColumnKind::Integer,
            () if is("number") => ColumnKind::Double,
            () if is("boolean") => ColumnKind::Boolean,
            () => ColumnKind::Text,
        };
        Column { name, kind, nullable: is("null"), doc: text(property, "description") }
    }
}

fn text(schema: &Value, key: &str) -> String {
    schema[key].as_str().unwrap_or_default().replace('\n', " ")
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
