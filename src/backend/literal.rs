//! SQL text that interlock writes itself: names and strings in quotes.
//!
//! Control connections run with an empty `sql_mode` and `utf8mb4`, so the backslash escapes and the double
//! quote is a string.

use crate::catalog::{Column, Family};

/// A name in backticks.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// What stands for a column: its name, or the expression that an index is made of.
pub fn expression(column: &Column) -> String {
    match &column.expression {
        Some(expression) => format!("({expression})"),
        None => identifier(&column.name),
    }
}

/// The same where it is read.
pub fn selected(expression: &str, family: &Family) -> String {
    // BIT comes as raw bytes otherwise.
    if *family == Family::Integer { format!("{expression} + 0") } else { expression.to_owned() }
}

/// A text in quotes.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// Bytes as a hexadecimal literal, `x'00ff'`.
pub fn bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2 + 3);
    out.push_str("x'");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_are_doubled() {
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(string("it's \\ 50%\0"), "'it''s \\\\ 50%\\0'");
        assert_eq!(bytes(&[0, 0xab]), "x'00ab'");
    }
}
