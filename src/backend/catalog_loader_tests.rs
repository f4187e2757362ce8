//! Rows of `information_schema` to definitions. What the rows really are is tested on servers.

use super::*;

/// `a|b|NULL` to a row.
fn row(text: &str) -> TextRow {
    text.split('|').map(|value| (value != "NULL").then(|| value.as_bytes().to_vec())).collect()
}

fn rows(lines: &[&str]) -> Vec<TextRow> {
    lines.iter().map(|line| row(line)).collect()
}

/// `unique|name|column|nullable` to a row of SHOW INDEX.
fn index_row(text: &str) -> TextRow {
    let parts: Vec<&str> = text.split('|').collect();
    let non_unique = if parts[0] == "unique" { "0" } else { "1" };
    row(&format!("t|{non_unique}|{}|1|{}|A|0|NULL|NULL||BTREE", parts[1], parts[2]))
}

/// Columns a (NOT NULL), n (NULL); the names of the indexes after loading.
fn check_order(kind: TableKind, shown: &[&str], expected: &[&str]) {
    let mut columns: Vec<Column> =
        rows(&["a|int|NULL|0|NULL|NULL|NO||NULL", "n|int|NULL|0|NULL|NULL|YES||NULL"])
            .iter()
            .map(|row| column(Flavour::MySql, row))
            .collect();
    let shown: Vec<TextRow> = shown.iter().map(|text| index_row(text)).collect();
    let found = indexes(Flavour::MySql, &mut columns, &shown, kind);
    let names: Vec<String> = found.into_iter().map(|index| index.name).collect();
    assert_eq!(names, expected);
}

#[test]
fn the_clustered_index_comes_first() {
    use TableKind::{InnoDb, OtherEngine};
    check_order(InnoDb, &["unique|u|a", "unique|PRIMARY|a"], &["PRIMARY", "u"]);
    check_order(InnoDb, &["key|k|a", "unique|n|n", "unique|u|a", "unique|v|a"], &["u", "k", "n", "v"]);
    check_order(InnoDb, &["key|k|a", "unique|n|n"], &["GEN_CLUST_INDEX", "k", "n"]);
    check_order(InnoDb, &[], &["GEN_CLUST_INDEX"]);
    check_order(OtherEngine, &["key|k|a"], &["k"]);
}

#[test]
fn parts_of_an_index_stay_together() {
    let mut columns = vec![
        column(Flavour::MySql, &row("a|int|NULL|0|NULL|NULL|NO||NULL")),
        column(Flavour::MySql, &row("s|varchar|utf8mb4_bin|NULL|80|NULL|NO||NULL")),
    ];
    let shown = rows(&[
        "t|0|PRIMARY|1|A|A|0|NULL|NULL||BTREE",
        "t|1|i|1|s|A|0|5|NULL||BTREE",
        "t|1|i|2|a|D|0|NULL|NULL||BTREE",
        "t|1|f|1|NULL|A|0|NULL|NULL||BTREE",
        "t|1|x|1|s|NULL|0|NULL|NULL||FULLTEXT",
    ]);
    let found = indexes(Flavour::MySql, &mut columns, &shown, TableKind::InnoDb);
    let part = |column, prefix, descending| KeyPart { column, prefix, descending };
    assert_eq!(found[1].parts, [part(Some(1), Some(5), false), part(Some(0), None, true)]);
    assert_eq!(found[2].parts, [part(None, None, false)]);
    assert!(found[2].btree && !found[3].btree);
}

#[test]
fn families_follow_from_types() {
    let check = |text: &str, expected: Family| assert_eq!(family(&row(text)), expected, "{text}");
    check("c|bigint|NULL|0|NULL|NULL", Family::Integer);
    check("c|BIT|NULL|NULL|NULL|NULL", Family::Integer);
    check("c|decimal|NULL|3|NULL|NULL", Family::Decimal(3));
    check("c|double|NULL|NULL|NULL|NULL", Family::Float);
    check("c|varchar|utf8mb4_bin|NULL|80|NULL", Family::Text("utf8mb4_bin".to_owned()));
    check("c|binary|NULL|NULL|4|NULL", Family::Binary(Some(4)));
    check("c|varbinary|NULL|NULL|4|NULL", Family::Binary(None));
    check("c|timestamp|NULL|NULL|NULL|6", Family::DateTime(6));
    check("c|time|NULL|NULL|NULL|0", Family::Time(0));
    check("c|enum|utf8mb4_bin|NULL|4|NULL", Family::Other);
}

#[test]
fn defaults_are_values_or_expressions() {
    let check = |flavour, default: &str, extra: &str, expected: (Option<&str>, bool)| {
        let row = row(&format!("c|varchar|utf8mb4_bin|NULL|80|NULL|YES|{extra}|{default}"));
        let column = column(flavour, &row);
        assert_eq!((column.default.as_deref(), column.default_is_expression), expected, "{default} {extra}");
    };
    check(Flavour::MySql, "NULL", "", (None, false));
    check(Flavour::MySql, "it's", "", (Some("it's"), false));
    check(Flavour::MySql, "uuid()", "DEFAULT_GENERATED", (Some("uuid()"), true));
    check(Flavour::MySql, "b'101'", "", (Some("5"), false));
    check(Flavour::MariaDb, "NULL", "", (None, false));
    check(Flavour::MariaDb, "'it''s'", "", (Some("it's"), false));
    check(Flavour::MariaDb, "'a\\\\b'", "", (Some("a\\b"), false));
    check(Flavour::MariaDb, "''", "", (Some(""), false));
    check(Flavour::MariaDb, "-1.50", "", (Some("-1.50"), false));
    check(Flavour::MariaDb, "uuid()", "", (Some("uuid()"), true));
    check(Flavour::MariaDb, "b'101'", "", (Some("5"), false));
}

#[test]
fn extras_tell_generated_columns() {
    let check = |extra: &str, expected: (bool, bool)| {
        let column = column(Flavour::MySql, &row(&format!("c|int|NULL|0|NULL|NULL|YES|{extra}|NULL")));
        assert_eq!((column.auto_increment, column.generated), expected, "{extra}");
    };
    check("auto_increment", (true, false));
    check("VIRTUAL GENERATED", (false, true));
    check("STORED GENERATED", (false, true));
    check("DEFAULT_GENERATED on update CURRENT_TIMESTAMP", (false, false));
}

#[test]
fn what_defaults_and_generated_columns_compute() {
    let column = |flavour, extra: &str, default: &str, generated: &str| {
        column(flavour, &row(&format!("c|int|NULL|0|NULL|NULL|YES|{extra}|{default}|{generated}")))
    };
    let computes = |column: Column| column.formula.is_some();
    assert!(computes(column(Flavour::MySql, "STORED GENERATED", "NULL", "((`b` * 2) + 1)")));
    assert!(computes(column(Flavour::MariaDb, "STORED GENERATED", "NULL", "`b` * 2 + 1")));
    assert!(computes(column(Flavour::MySql, "DEFAULT_GENERATED", "(1 + 2)", "")));
    assert!(computes(column(Flavour::MariaDb, "", "(1 + 2)", "NULL")));
    assert!(!computes(column(Flavour::MySql, "DEFAULT_GENERATED", "uuid()", "")));
    assert!(!computes(column(Flavour::MySql, "", "7", "")));
    let moment = column(Flavour::MariaDb, "on update current_timestamp()", "current_timestamp()", "NULL");
    assert!(moment.on_update && moment.formula.is_some_and(|formula| formula.is_of_session()));
}

#[test]
fn a_functional_index_is_a_column_behind_the_others() {
    let mut columns = vec![column(Flavour::MySql, &row("s|varchar|utf8mb4_bin|NULL|80|NULL|NO||NULL|"))];
    let shown = rows(&[
        "t|0|PRIMARY|1|s|A|0|NULL|NULL||BTREE|||YES|NULL",
        "t|0|low|1|NULL|A|0|NULL|NULL|YES|BTREE|||YES|lower(`s`)",
        "t|1|both|1|NULL|A|0|NULL|NULL|YES|BTREE|||YES|lower(`s`)",
        "t|1|both|2|s|A|0|NULL|NULL||BTREE|||YES|NULL",
    ]);
    let found = indexes(Flavour::MySql, &mut columns, &shown, TableKind::InnoDb);
    assert_eq!(columns.len(), 2);
    assert_eq!(columns[1].expression.as_deref(), Some("lower(`s`)"));
    assert_eq!((found[1].parts[0].column, found[2].parts[0].column), (Some(1), Some(1)));
}

#[test]
fn foreign_keys_are_joined_from_two_views() {
    use crate::catalog::ReferentialAction;
    let columns = rows(&["fk|s|c|x|s|p|id", "fk|s|c|y|s|p|part", "fk|s|d|x|s|p|id"]);
    let actions = rows(&["fk|s|c|CASCADE|SET NULL", "fk|s|e|CASCADE|CASCADE"]);
    let keys = catalog_references::foreign_keys(&columns, &actions);
    assert_eq!(keys.len(), 2);
    assert_eq!(
        (&keys[0].child_columns[..], &keys[0].parent_columns[..]),
        (&["x".to_owned(), "y".to_owned()][..], &["id".to_owned(), "part".to_owned()][..],)
    );
    assert_eq!(
        (keys[0].on_delete, keys[0].on_update),
        (ReferentialAction::Cascade, ReferentialAction::SetNull)
    );
    assert_eq!(
        (keys[1].on_delete, keys[1].on_update),
        (ReferentialAction::Restrict, ReferentialAction::Restrict)
    );
}

#[test]
fn names_cannot_leave_their_quotes() {
    let text = question(Flavour::MySql, "s'--", "t\\");
    assert!(text.contains("TABLE_SCHEMA = 's''--' AND TABLE_NAME = 't\\\\'"), "{text}");
}
