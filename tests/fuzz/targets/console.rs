//! Questions to the console's tables: any text is answered or refused, never with more rows than there are.

#![no_main]

use interlock_fuzz::admin::console::query::{answer, like};
use interlock_fuzz::admin::view::column::{Column, ColumnKind, Row};
use interlock_fuzz::sql::question::question;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn rows() -> Vec<Row> {
    let row = |n: u64| json!({ "session": n, "age": n as f64 / 2.0, "open": n == 1, "user": format!("u{n}%"), "statement": null });
    (0..3).map(row).filter_map(|row| if let Value::Object(row) = row { Some(row) } else { None }).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((text, pattern)) = text.split_once('\0') {
        assert!(like(text, "%"));
        like(text, pattern);
    }
    let Ok(question) = question(text) else { return };
    let column = |name, kind| Column::plain(name, kind);
    let columns = [
        column("session", ColumnKind::Integer),
        column("age", ColumnKind::Double),
        column("open", ColumnKind::Boolean),
        column("user", ColumnKind::Text),
        column("statement", ColumnKind::Text),
    ];
    let Ok(table) = answer(&question, &columns, rows(), &|_| None) else { return };
    assert!(table.rows.len() <= 3, "{table:?}");
    assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{table:?}");
});
