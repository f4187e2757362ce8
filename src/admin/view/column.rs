//! Rows and columns of the tables that can be looked at.

use serde_json::{Map, Value};

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

impl Column {
    /// A column without a description.
    pub fn plain(name: &str, kind: ColumnKind) -> Column {
        Column { name: name.to_owned(), kind, nullable: true, doc: String::new() }
    }

    pub(super) fn new(name: String, property: &Value) -> Column {
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

pub(super) fn text(schema: &Value, key: &str) -> String {
    schema[key].as_str().unwrap_or_default().replace('\n', " ")
}
