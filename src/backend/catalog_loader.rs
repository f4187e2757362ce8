//! Loads one table's definition from the server.
//!
//! Two texts, two round trips. Every column has an alias: MySQL 8 gives the columns of `information_schema` in
//! upper case, MariaDB as they were asked for. Indexes come from `SHOW INDEX`, not from `STATISTICS`: only it
//! lists them in the order of their definition, which decides which unique index is the clustered one of a
//! table without a primary key.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::catalog_formula;
use super::catalog_references::{self, References};
use super::control::{Control, ControlError, Lane, TextRow};
use super::literal::{identifier, string};
use crate::catalog::{
    Column, Family, Flavour, Index, KeyPart, ServerFacts, Table, TableKind, Trigger, TriggerEvent,
};
use crate::id::TableId;
use crate::metrics::labels;

/// What the server knows of a name.
#[derive(Clone, PartialEq, Debug)]
pub enum Loaded {
    /// A table or view. Its id and generation are still 0: they are the store's to give.
    Table(Box<Table>),
    /// No table of this name that the control account may see.
    Absent,
}

/// How a load ended, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoadEnd {
    /// A new definition.
    Loaded,
    /// The definition that was known already.
    Unchanged,
    /// There is no such table, or the control account may not see it.
    Absent,
    /// The table changed while it was loaded; loaded again.
    Outdated,
    /// The server could not be asked.
    Failed,
}

/// Loads definitions over control connections.
#[derive(Debug)]
pub struct Loader {
    control: Control,
    references: References,
}

/// Where the store has its definitions from, so that it can be tested without a server.
pub trait Source: Send + Sync + 'static {
    /// Loads one definition.
    fn load(
        self: Arc<Self>,
        schema: String,
        name: String,
    ) -> Pin<Box<dyn Future<Output = Result<Loaded, ControlError>> + Send>>;

    /// Something of the schema was changed.
    fn changed(&self, schema: &str);

    /// `lower_case_table_names`, once it is known.
    fn lower_case_table_names(&self) -> Option<u8>;
}

impl From<LoadEnd> for labels::CatalogLoad {
    fn from(end: LoadEnd) -> labels::CatalogLoad {
        match end {
            LoadEnd::Loaded => labels::CatalogLoad::Loaded,
            LoadEnd::Unchanged => labels::CatalogLoad::Unchanged,
            LoadEnd::Absent => labels::CatalogLoad::Absent,
            LoadEnd::Outdated => labels::CatalogLoad::Outdated,
            LoadEnd::Failed => labels::CatalogLoad::Failed,
        }
    }
}

impl Source for Loader {
    fn load(
        self: Arc<Self>,
        schema: String,
        name: String,
    ) -> Pin<Box<dyn Future<Output = Result<Loaded, ControlError>> + Send>> {
        Box::pin(async move { self.load_one(&schema, &name).await })
    }

    fn changed(&self, schema: &str) {
        self.references.forget(schema);
    }

    fn lower_case_table_names(&self) -> Option<u8> {
        self.control.lower_case_table_names()
    }
}

impl Loader {
    /// A loader that asks over these connections.
    pub fn new(control: Control) -> Loader {
        Loader { control, references: References::default() }
    }

    /// Loads the definition of one table.
    pub async fn load_one(&self, schema: &str, name: &str) -> Result<Loaded, ControlError> {
        let facts = self.control.facts().await?;
        let answer = self.control.query(Lane::Catalog, question(facts.flavour, schema, name)).await?;
        if answer.first().is_none_or(Vec::is_empty) {
            return Ok(Loaded::Absent);
        }
        let show = format!("SHOW INDEX FROM {}.{}", identifier(schema), identifier(name));
        let indexes = match self.control.query(Lane::Catalog, show).await {
            // ER_BAD_DB_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_NO_SUCH_TABLE: dropped between the two
            Err(ControlError::Server(1049 | 1142 | 1146, _)) => return Ok(Loaded::Absent),
            indexes => indexes?.pop().unwrap_or_default(),
        };
        let mut loaded = table(&facts, schema, name, &answer, &indexes);
        if let (Loaded::Table(table), Flavour::MariaDb) = (&mut loaded, facts.flavour) {
            table.referenced_by = self.references.to(&self.control, schema, name).await?;
        }
        Ok(loaded)
    }
}

/// Everything but the indexes. None of these statements fails for a name that does not exist.
fn question(flavour: Flavour, schema: &str, name: &str) -> String {
    let (s, t) = (string(schema), string(name));
    let mut statements = vec![
        format!(
            "SELECT TABLE_TYPE AS c0, ENGINE AS c1, (SELECT VIEW_DEFINITION FROM information_schema.VIEWS \
             WHERE TABLE_SCHEMA = {s} AND TABLE_NAME = {t}) AS c2, CREATE_OPTIONS AS c3 FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {s} AND TABLE_NAME = {t}"
        ),
        format!(
            "SELECT COLUMN_NAME AS c0, DATA_TYPE AS c1, COLLATION_NAME AS c2, NUMERIC_SCALE AS c3, \
             CHARACTER_OCTET_LENGTH AS c4, DATETIME_PRECISION AS c5, IS_NULLABLE AS c6, EXTRA AS c7, \
             COLUMN_DEFAULT AS c8, GENERATION_EXPRESSION AS c9 FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = {s} AND TABLE_NAME = {t} ORDER BY ORDINAL_POSITION"
        ),
        format!(
            "SELECT EVENT_MANIPULATION AS c0, ACTION_TIMING AS c1, ACTION_STATEMENT AS c2, SQL_MODE AS c3 \
             FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {s} AND EVENT_OBJECT_TABLE = {t} \
             ORDER BY ACTION_TIMING = 'AFTER', ACTION_ORDER"
        ),
    ];
    statements.extend(catalog_references::from_child(&s, &t));
    if flavour == Flavour::MySql {
        statements.extend(catalog_references::to_parent(&s, &t));
    }
    statements.join("; ")
}

/// Builds the table from the results of [`question`] and the indexes.
fn table(
    facts: &ServerFacts,
    schema: &str,
    name: &str,
    answer: &[Vec<TextRow>],
    show_index: &[TextRow],
) -> Loaded {
    let rows = |n: usize| answer.get(n).map_or(&[][..], Vec::as_slice);
    let Some(head) = rows(0).first() else { return Loaded::Absent };
    let mut columns: Vec<Column> = rows(1).iter().map(|row| column(facts.flavour, row)).collect();
    let kind = match (text(head, 0).as_str(), text(head, 1).to_ascii_lowercase().as_str()) {
        ("VIEW" | "SYSTEM VIEW", _) => TableKind::View,
        (_, "innodb") => TableKind::InnoDb,
        _ => TableKind::OtherEngine,
    };
    let indexes = indexes(facts.flavour, &mut columns, show_index, kind);
    Loaded::Table(Box::new(Table {
        id: TableId(0),
        generation: 0,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind,
        columns,
        indexes,
        foreign_keys: catalog_references::foreign_keys(rows(3), rows(4)),
        referenced_by: catalog_references::foreign_keys(rows(5), rows(6)),
        partitioned: text(head, 3).contains("partitioned"),
        definition: opt(head, 2).filter(|text| !text.is_empty()),
        triggers: rows(2).iter().map(trigger).collect(),
    }))
}

fn trigger(row: &TextRow) -> Trigger {
    let event = match text(row, 0).as_str() {
        "INSERT" => TriggerEvent::Insert,
        "UPDATE" => TriggerEvent::Update,
        _ => TriggerEvent::Delete,
    };
    Trigger { event, before: text(row, 1) == "BEFORE", body: text(row, 2), sql_mode: text(row, 3) }
}

fn column(flavour: Flavour, row: &TextRow) -> Column {
    let extra = text(row, 7).to_ascii_lowercase();
    let family = family(row);
    let raw = opt(row, 8);
    let (default, default_is_expression) = match flavour {
        Flavour::MySql => (raw, extra.contains("default_generated")),
        Flavour::MariaDb => mariadb_default(raw),
    };
    let default = default.map(|text| bits(&text).unwrap_or(text));
    let expression = match (opt(row, 9).filter(|text| !text.is_empty()), &default) {
        (Some(generated), _) => Some(generated),
        (None, Some(default)) if default_is_expression => Some(default.clone()),
        _ => None,
    };
    let formula = expression
        .and_then(|text| catalog_formula::formula(flavour, &catalog_formula::plain(flavour, &text)));
    Column {
        name: text(row, 0),
        family,
        nullable: text(row, 6) == "YES",
        auto_increment: extra.contains("auto_increment"),
        // "VIRTUAL GENERATED", "STORED GENERATED"; MySQL's "DEFAULT_GENERATED" is an expression default.
        generated: extra.contains(" generated"),
        default,
        default_is_expression,
        formula,
        on_update: extra.contains("on update"),
        expression: None,
    }
}

/// MariaDB (10.2.7 and later) gives the default as an SQL expression: `'it''s'`, `NULL`, `1.500`, `uuid()`.
fn mariadb_default(raw: Option<String>) -> (Option<String>, bool) {
    let Some(raw) = raw else { return (None, false) };
    if raw == "NULL" {
        return (None, false);
    }
    if let Some(inner) = raw.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return (Some(unquote(inner)), false);
    }
    let literal = raw.parse::<f64>().is_ok() || bits(&raw).is_some();
    (Some(raw), !literal)
}

/// The default of a BIT column, `b'101'`, as a number.
fn bits(text: &str) -> Option<String> {
    let digits = text.strip_prefix("b'")?.strip_suffix('\'')?;
    u64::from_str_radix(digits, 2).ok().map(|n| n.to_string())
}

/// The text between the quotes of a literal: `''` and backslash escapes undone.
fn unquote(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                chars.next();
                out.push('\'');
            }
            '\\' => match chars.next() {
                Some('0') => out.push('\0'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('Z') => out.push('\u{1a}'),
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

fn family(row: &TextRow) -> Family {
    let number = |n: usize| text(row, n).parse::<u32>().ok();
    let digits = |n: usize| u8::try_from(number(n).unwrap_or(0)).unwrap_or(0);
    match text(row, 1).to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" | "bit" => Family::Integer,
        "decimal" => Family::Decimal(digits(3)),
        "float" | "double" => Family::Float,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Family::Text(text(row, 2)),
        "binary" => Family::Binary(number(4)),
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Family::Binary(None),
        "date" => Family::Date,
        "datetime" | "timestamp" => Family::DateTime(digits(5)),
        "time" => Family::Time(digits(5)),
        _ => Family::Other,
    }
}

/// Indexes in the order of their definition, the clustered one first.
fn indexes(flavour: Flavour, columns: &mut Vec<Column>, rows: &[TextRow], kind: TableKind) -> Vec<Index> {
    let mut indexes: Vec<Index> = Vec::new();
    for row in rows {
        // SHOW INDEX: 1 Non_unique, 2 Key_name, 4 Column_name, 5 Collation, 7 Sub_part, 10 Index_type,
        // 14 Expression (MySQL)
        let name = text(row, 2);
        let column = match (opt(row, 4), opt(row, 14)) {
            (Some(c), _) => columns.iter().position(|k| k.name.eq_ignore_ascii_case(&c)),
            (None, Some(expression)) => {
                let hidden = catalog_formula::hidden(flavour, columns, &expression);
                let known = columns.iter().position(|column| column.expression == hidden.expression);
                Some(known.unwrap_or_else(|| {
                    columns.push(hidden);
                    columns.len() - 1
                }))
            }
            (None, None) => None,
        };
        let part = KeyPart {
            column,
            prefix: opt(row, 7).and_then(|n| n.parse().ok()),
            descending: opt(row, 5).as_deref() == Some("D"),
        };
        match indexes.last_mut() {
            // Parts of one index follow each other.
            Some(last) if last.name == name => last.parts.push(part),
            _ => indexes.push(Index {
                name,
                unique: text(row, 1) == "0",
                parts: vec![part],
                btree: text(row, 10) == "BTREE",
            }),
        }
    }
    if kind != TableKind::InnoDb {
        return indexes;
    }
    let not_null = |part: &KeyPart| part.column.is_some_and(|n| !columns[n].nullable);
    // InnoDB clusters by PRIMARY, else by the first unique index without NULLs and prefixes.
    let clustered = indexes.iter().position(|index| index.name == "PRIMARY").or_else(|| {
        indexes.iter().position(|index| {
            index.unique && index.btree && index.parts.iter().all(|p| not_null(p) && p.prefix.is_none())
        })
    });
    match clustered {
        Some(position) => indexes[..=position].rotate_right(1),
        None => indexes.insert(
            0,
            Index { name: "GEN_CLUST_INDEX".to_owned(), unique: true, parts: Vec::new(), btree: true },
        ),
    }
    indexes
}

/// A value as text; `None` is NULL.
pub(super) fn opt(row: &TextRow, n: usize) -> Option<String> {
    row.get(n)?.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// A value as text; NULL is empty.
pub(super) fn text(row: &TextRow, n: usize) -> String {
    opt(row, n).unwrap_or_default()
}

#[cfg(test)]
#[path = "catalog_loader_tests.rs"]
mod tests;
