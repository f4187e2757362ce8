//! What clients and graphical tools ask of `information_schema` and its like: which tables there are, and
//! which columns they have.

use serde_json::{Value, json};

use super::Fault;
use super::answer::Asker;
use super::query::Table;
use crate::admin::view::tables::{Column, ColumnKind, Row, TABLES, find};

/// The schemas.
const SCHEMAS: &[&str] = &["interlock", "information_schema", "mysql", "performance_schema"];

/// The schema of this name.
pub(super) fn find_schema(name: &str) -> Option<&'static str> {
    SCHEMAS.iter().find(|schema| schema.eq_ignore_ascii_case(name)).copied()
}

/// A table of another schema than `interlock`: its columns and rows. Of those that every tool asks for, all but three are empty.
pub(super) fn rows(schema: &str, name: &str) -> Result<(Vec<Column>, Vec<Row>), Fault> {
    let object = |value: Value| match value {
        Value::Object(row) => row,
        _ => Row::new(),
    };
    let name = name.to_ascii_lowercase();
    let rows: Vec<Row> = match (schema, name.as_str()) {
        ("information_schema", "schemata") => {
            let row = |schema: &&str| {
                object(json!({ "CATALOG_NAME": "def", "SCHEMA_NAME": schema,
                    "DEFAULT_CHARACTER_SET_NAME": "utf8mb4", "DEFAULT_COLLATION_NAME": "utf8mb4_general_ci" }))
            };
            SCHEMAS.iter().map(row).collect()
        }
        ("information_schema", "tables") => names().map(|(name, doc)| object(json!({ "TABLE_CATALOG": "def",
            "TABLE_SCHEMA": "interlock", "TABLE_NAME": name, "TABLE_TYPE": "SYSTEM VIEW", "ENGINE": "interlock",
            "TABLE_ROWS": null, "DATA_LENGTH": 0, "INDEX_LENGTH": 0, "TABLE_COLLATION": "utf8mb4_general_ci",
            "CREATE_TIME": null, "UPDATE_TIME": null, "TABLE_COMMENT": doc }))).collect(),
        ("information_schema", "columns") => names().flat_map(|(name, _)| {
            let table = find(name.strip_suffix("_reset").unwrap_or(&name));
            let row = move |(at, column): (usize, Column)| object(json!({ "TABLE_CATALOG": "def",
                "TABLE_SCHEMA": "interlock", "TABLE_NAME": name, "COLUMN_NAME": column.name,
                "ORDINAL_POSITION": at + 1, "COLUMN_DEFAULT": null, "IS_NULLABLE": yes(column.nullable),
                "DATA_TYPE": type_name(column.kind), "COLUMN_TYPE": type_name(column.kind), "COLUMN_KEY": "",
                "EXTRA": "", "COLUMN_COMMENT": column.doc, "CHARACTER_MAXIMUM_LENGTH": null,
                "NUMERIC_PRECISION": null, "NUMERIC_SCALE": null, "COLLATION_NAME": null, "PRIVILEGES": "select" }));
            table.into_iter().flat_map(|table| table.columns()).enumerate().map(row).collect::<Vec<_>>()
        }).collect(),
        ("information_schema", _) => Vec::new(),
        _ => return Err(Fault::unknown_table(schema, &name)),
    };
    let columns = match rows.first() {
        Some(row) => row.iter().map(|(name, value)| Column::plain(name, kind(value))).collect(),
        None => empty(&name).ok_or_else(|| Fault::unknown_table(schema, &name))?,
    };
    Ok((columns, rows))
}

/// Tables of `information_schema` that tools ask for, and that have no rows here.
fn empty(name: &str) -> Option<Vec<Column>> {
    let columns: &[&str] = match name {
        "engines" => &["ENGINE", "SUPPORT", "COMMENT", "TRANSACTIONS", "XA", "SAVEPOINTS"],
        "collations" => {
            &["COLLATION_NAME", "CHARACTER_SET_NAME", "ID", "IS_DEFAULT", "IS_COMPILED", "SORTLEN"]
        }
        "character_sets" => &["CHARACTER_SET_NAME", "DEFAULT_COLLATE_NAME", "DESCRIPTION", "MAXLEN"],
        "routines" => {
            &["ROUTINE_SCHEMA", "ROUTINE_NAME", "ROUTINE_TYPE", "DATA_TYPE", "ROUTINE_COMMENT", "DEFINER"]
        }
        "parameters" => {
            &["SPECIFIC_SCHEMA", "SPECIFIC_NAME", "PARAMETER_NAME", "ORDINAL_POSITION", "DATA_TYPE"]
        }
        "views" => &["TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION", "DEFINER"],
        "triggers" => {
            &["TRIGGER_SCHEMA", "TRIGGER_NAME", "EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE", "ACTION_TIMING"]
        }
        "events" => &["EVENT_SCHEMA", "EVENT_NAME", "STATUS", "EVENT_DEFINITION"],
        "partitions" => &["TABLE_SCHEMA", "TABLE_NAME", "PARTITION_NAME"],
        "statistics" => {
            &["TABLE_SCHEMA", "TABLE_NAME", "INDEX_NAME", "SEQ_IN_INDEX", "COLUMN_NAME", "NON_UNIQUE"]
        }
        "key_column_usage" => &[
            "CONSTRAINT_SCHEMA",
            "CONSTRAINT_NAME",
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "COLUMN_NAME",
            "ORDINAL_POSITION",
            "REFERENCED_TABLE_SCHEMA",
            "REFERENCED_TABLE_NAME",
            "REFERENCED_COLUMN_NAME",
        ],
        "table_constraints" => {
            &["CONSTRAINT_SCHEMA", "CONSTRAINT_NAME", "TABLE_SCHEMA", "TABLE_NAME", "CONSTRAINT_TYPE"]
        }
        "referential_constraints" => {
            &["CONSTRAINT_SCHEMA", "CONSTRAINT_NAME", "TABLE_NAME", "REFERENCED_TABLE_NAME"]
        }
        "user_privileges" | "schema_privileges" => {
            &["GRANTEE", "TABLE_CATALOG", "TABLE_SCHEMA", "PRIVILEGE_TYPE", "IS_GRANTABLE"]
        }
        "plugins" => &["PLUGIN_NAME", "PLUGIN_STATUS", "PLUGIN_TYPE"],
        "processlist" => &["ID", "USER", "HOST", "DB", "COMMAND", "TIME", "STATE", "INFO"],
        _ => return None,
    };
    Some(columns.iter().map(|name| Column::plain(name, ColumnKind::Text)).collect())
}

/// `SHOW DATABASES`
pub(super) fn databases() -> Table {
    let columns = vec![Column::plain("Database", ColumnKind::Text)];
    Table { columns, rows: SCHEMAS.iter().map(|schema| vec![Value::from(*schema)]).collect() }
}

/// `SHOW CREATE DATABASE schema`
pub(super) fn create_database(name: &str) -> Result<Table, Fault> {
    let plain = name.trim_matches('`');
    let schema = find_schema(plain).ok_or_else(|| Fault::new(1049, format!("Unknown database '{plain}'")))?;
    let columns = ["Database", "Create Database"].map(|name| Column::plain(name, ColumnKind::Text)).to_vec();
    Ok(Table { columns, rows: vec![vec![schema.into(), format!("CREATE DATABASE `{schema}`").into()]] })
}

/// `SHOW [FULL] TABLES [FROM schema]`
pub(super) fn show_tables(asker: &Asker, head: &[&str], full: bool) -> Result<Table, Fault> {
    let from = head.iter().position(|word| matches!(*word, "from" | "in")).and_then(|at| head.get(at + 1));
    let named = from.map(|name| name.trim_matches(['`', '\'']));
    let schema = match named {
        Some(name) => {
            find_schema(name).ok_or_else(|| Fault::new(1049, format!("Unknown database '{name}'")))?
        }
        None => asker.schema.unwrap_or("interlock"),
    };
    let mut columns = vec![Column::plain(&format!("Tables_in_{schema}"), ColumnKind::Text)];
    if full {
        columns.push(Column::plain("Table_type", ColumnKind::Text));
    }
    let row = |(name, _)| {
        let mut row = vec![Value::from(name)];
        row.extend(full.then(|| Value::from("SYSTEM VIEW")));
        row
    };
    let rows = if schema == "interlock" { names().map(row).collect() } else { Vec::new() };
    Ok(Table { columns, rows })
}

/// `SHOW TABLE STATUS`
pub(super) fn table_status() -> Table {
    let columns = ["Name", "Engine", "Rows", "Comment"].map(|name| Column::plain(name, ColumnKind::Text));
    let row = |(name, doc): (String, String)| vec![name.into(), "interlock".into(), Value::Null, doc.into()];
    Table { columns: columns.to_vec(), rows: names().map(row).collect() }
}

/// `DESCRIBE table`, `SHOW [FULL] COLUMNS FROM table`
pub(super) fn describe(asker: &Asker, name: &str, full: bool) -> Result<Table, Fault> {
    let table = table(asker, name)?;
    let mut names = vec!["Field", "Type", "Null", "Key", "Default", "Extra"];
    names.extend(full.then_some("Comment"));
    let columns = names.iter().map(|name| Column::plain(name, ColumnKind::Text)).collect();
    let row = |column: Column| {
        let mut row = vec![column.name.into(), type_name(column.kind).into(), yes(column.nullable).into()];
        row.extend([Value::from(""), Value::Null, Value::from("")]);
        row.extend(full.then(|| Value::from(column.doc)));
        row
    };
    Ok(Table { columns, rows: table.columns().into_iter().map(row).collect() })
}

/// `SHOW CREATE TABLE table`
pub(super) fn create_table(asker: &Asker, name: &str) -> Result<Table, Fault> {
    let table = table(asker, name)?;
    let quoted = |text: &str| text.replace('\'', "''");
    let column = |column: Column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("  `{}` {}{null} COMMENT '{}'", column.name, type_name(column.kind), quoted(&column.doc))
    };
    let lines: Vec<String> = table.columns().into_iter().map(column).collect();
    let text = format!(
        "CREATE TABLE `{}` (\n{}\n) COMMENT='{}'",
        table.name,
        lines.join(",\n"),
        quoted(&table.doc())
    );
    let columns = ["Table", "Create Table"].map(|name| Column::plain(name, ColumnKind::Text)).to_vec();
    Ok(Table { columns, rows: vec![vec![table.name.into(), text.into()]] })
}

/// What a server has and the console has not.
pub(super) fn nothing(what: &str) -> Table {
    let names: &[&str] = match what {
        "warnings" | "errors" => &["Level", "Code", "Message"],
        "collation" => &["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen"],
        "character" | "charset" => &["Charset", "Description", "Default collation", "Maxlen"],
        "engines" => &["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"],
        "index" | "indexes" | "keys" => &["Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name"],
        "procedure" | "function" => &["Db", "Name", "Type", "Definer", "Comment"],
        _ => &["Name"],
    };
    let columns = names.iter().map(|name| Column::plain(name, ColumnKind::Text)).collect();
    Table { columns, rows: Vec::new() }
}

/// The table that a name means: `locks`, `` `locks` ``, `interlock.locks`.
fn table(asker: &Asker, name: &str) -> Result<&'static crate::admin::view::tables::Table, Fault> {
    let plain = name.replace('`', "");
    let (schema, name) = plain.rsplit_once('.').unwrap_or((asker.schema.unwrap_or("interlock"), &plain));
    let name = name.strip_suffix("_reset").unwrap_or(name);
    let known = find(name).filter(|_| schema.eq_ignore_ascii_case("interlock"));
    known.ok_or_else(|| Fault::unknown_table(schema, name))
}

/// Names and descriptions of the tables, the `_reset` twins included.
fn names() -> impl Iterator<Item = (String, String)> {
    let twins = ["conflicts", "digests"];
    let twin = move |name: &str| twins.contains(&name).then(|| format!("{name}_reset"));
    TABLES.iter().flat_map(move |table| {
        let doc = table.doc();
        let reset = twin(table.name).map(|name| (name, format!("{doc} Reading clears it.")));
        std::iter::once((table.name.to_owned(), doc)).chain(reset)
    })
}

fn kind(value: &Value) -> ColumnKind {
    if value.is_i64() { ColumnKind::Integer } else { ColumnKind::Text }
}

fn type_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Integer => "bigint",
        ColumnKind::Double => "double",
        ColumnKind::Boolean => "tinyint(1)",
        ColumnKind::Text => "text",
    }
}

fn yes(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}
