//! Values as parts of an index key, compared as the column compares them.
//!
//! `None` everywhere means: the server would convert or compare in a way that is not modelled, so the
//! index is not used, or not as the model thinks.

use crate::catalog::{Column, Family, KeyPart};
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::sql::value::Value;

/// Appends `value` to `key` as this part of an index has it. Returns how sure the comparison is.
pub fn push(key: &mut Key, column: &Column, part: &KeyPart, value: &Value<'_>) -> Option<Certainty> {
    let descending = part.descending;
    if *value == Value::Null {
        key.push_null(descending);
        return Some(Certainty::Certain);
    }
    match &column.family {
        Family::Integer => key.push_int(integer(value)?, descending),
        Family::Decimal(scale) => key.push_int(scaled(value, *scale)?, descending),
        Family::Float => key.push_float(float(value)?, descending),
        Family::Text(collation) => {
            let (Value::Text(text) | Value::Bytes(text)) = value else { return None };
            let (weights, certainty) = weights(text, collation, part.prefix);
            key.push_ordered(&weights, descending);
            return Some(certainty);
        }
        Family::Binary(width) => {
            let (Value::Text(bytes) | Value::Bytes(bytes)) = value else { return None };
            let mut bytes = bytes.to_vec();
            if let Some(width) = width {
                bytes.resize(bytes.len().max(*width as usize), 0);
            }
            bytes.truncate(part.prefix.map_or(usize::MAX, |n| n as usize));
            key.push_ordered(&bytes, descending);
        }
        Family::Date => key.push_ordered(&date_time(value, 0)?.as_bytes()[..10], descending),
        Family::DateTime(fraction) => key.push_ordered(date_time(value, *fraction)?.as_bytes(), descending),
        Family::Time(_) | Family::Other => return None,
    }
    Some(Certainty::Certain)
}

/// Appends what all values that match a LIKE pattern begin with.
pub fn push_like(key: &mut Key, column: &Column, part: &KeyPart, pattern: &Value<'_>) -> Option<Certainty> {
    let (Family::Text(collation), Value::Text(pattern)) = (&column.family, pattern) else { return None };
    let (head, open) = super::access_path::like_head(pattern);
    if !open {
        return push(key, column, part, &Value::Text(head));
    }
    let (weights, certainty) = weights(&head, collation, part.prefix);
    key.push_head(&weights, part.descending);
    Some(certainty)
}

/// A whole number, also from the text of one ('10' compares as 10 with an integer column).
fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(n) => Some(*n),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(*f as i128),
        Value::Decimal(text) => scaled_text(text, 0),
        Value::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        _ => None,
    }
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(f) => Some(*f),
        Value::Decimal(text) => text.parse().ok(),
        Value::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        _ => None,
    }
}

/// A number as a multiple of 10^-scale; `None` if it has more digits than that.
fn scaled(value: &Value<'_>, scale: u8) -> Option<i128> {
    match value {
        Value::Int(n) => n.checked_mul(10i128.checked_pow(scale.into())?),
        Value::Decimal(text) => scaled_text(text, scale),
        Value::Text(text) => scaled_text(std::str::from_utf8(text).ok()?.trim(), scale),
        _ => None,
    }
}

fn scaled_text(text: &str, scale: u8) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale.into() || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let padded = format!("{whole}{fraction:0<width$}", width = usize::from(scale));
    if !padded.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i128 = if padded.is_empty() { 0 } else { padded.parse().ok()? };
    Some(if negative { -number } else { number })
}

/// `YYYY-MM-DD hh:mm:ss[.ffffff]` in one spelling; only the full form with two-digit fields is read.
fn date_time(value: &Value<'_>, fraction: u8) -> Option<String> {
    let text = match value {
        Value::Temporal(text) => text.as_str(),
        Value::Text(text) => std::str::from_utf8(text).ok()?,
        _ => return None,
    };
    let shape = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text
                .bytes()
                .zip(pattern.bytes())
                .all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { b == p })
    };
    let (main, digits) = text.split_once('.').unwrap_or((text, ""));
    let main = match main.len() {
        10 if shape(main, "0000-00-00") => format!("{main} 00:00:00"),
        19 if shape(&main.replace('T', " "), "0000-00-00 00:00:00") => main.replace('T', " "),
        _ => return None,
    };
    let digits = digits.trim_end_matches('0');
    if digits.len() > fraction.into() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if fraction == 0 {
        main
    } else {
        format!("{main}.{digits:0<width$}", width = usize::from(fraction))
    })
}

/// Bytes that order a string as its collation does, and how sure that is.
///
/// ASCII is exact in the collations known here. Beyond ASCII, letters compare without case and (where the
/// collation says so) without accents only as far as Unicode's simple mapping goes: `Likely`, and on the
/// side of "equal".
fn weights(text: &[u8], collation: &str, prefix: Option<u32>) -> (Vec<u8>, Certainty) {
    let no_pad = collation.contains("0900") || collation.contains("nopad") || collation == "binary";
    let text = if no_pad { text } else { text.trim_ascii_end() };
    let cut = |s: &str| -> String { s.chars().take(prefix.map_or(usize::MAX, |n| n as usize)).collect() };
    let Ok(text) = std::str::from_utf8(text) else { return (text.to_vec(), Certainty::Likely) };
    let text = cut(text);
    if collation.ends_with("_bin") || collation == "binary" {
        return (text.into_bytes(), Certainty::Certain);
    }
    if !text.is_ascii() {
        let folded = text.chars().flat_map(char::to_lowercase).collect::<String>();
        return (folded.into_bytes(), Certainty::Likely);
    }
    let uca = collation.contains("0900") || collation.contains("unicode") || collation.contains("uca");
    let case_sensitive = collation.ends_with("_cs");
    let weigh = |b: u8| match b {
        b if case_sensitive => b,
        b if uca => uca_weight(b.to_ascii_lowercase()),
        b => b.to_ascii_uppercase(),
    };
    let certainty = if case_sensitive { Certainty::Likely } else { Certainty::Certain };
    (text.bytes().map(weigh).collect(), certainty)
}

/// The order of ASCII in the Unicode Collation Algorithm's default table (DUCET): spaces, punctuation,
/// symbols, digits, letters. Control characters have no weight there and sort first here.
fn uca_weight(byte: u8) -> u8 {
    const ORDER: &[u8] =
        b"\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
    ORDER.iter().position(|b| *b == byte).map_or(1, |at| at as u8 + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering::{self, Equal, Greater, Less};

    fn column(family: Family) -> Column {
        Column::plain("c", family, true)
    }

    fn text(s: &str) -> Value<'_> {
        Value::Text(s.as_bytes().into())
    }

    fn check(family: Family, a: Value<'_>, b: Value<'_>, expect: Option<Ordering>) {
        let part = KeyPart { column: Some(0), prefix: None, descending: false };
        let key = |value| {
            let mut key = Key::default();
            push(&mut key, &column(family.clone()), &part, &value).map(|_| key)
        };
        let got = key(a.clone()).zip(key(b.clone())).map(|(a, b)| a.cmp(&b));
        assert_eq!(got, expect, "{family:?}: {a:?} ? {b:?}");
    }

    #[test]
    fn numbers() {
        check(Family::Integer, Value::Int(10), text("10"), Some(Equal));
        check(Family::Integer, Value::Int(10), text("10a"), None);
        check(Family::Integer, Value::Int(-1), Value::Int(u64::MAX.into()), Some(Less));
        check(Family::Decimal(2), Value::Decimal("1.50"), text("1.5"), Some(Equal));
        check(Family::Decimal(2), Value::Int(2), Value::Decimal("1.99"), Some(Greater));
        check(Family::Decimal(1), Value::Decimal("1.55"), Value::Int(1), None);
        check(Family::Integer, Value::Null, Value::Int(i64::MIN.into()), Some(Less));
    }

    #[test]
    fn strings() {
        let new = || Family::Text("utf8mb4_0900_ai_ci".into());
        let old = || Family::Text("utf8mb4_general_ci".into());
        let bin = || Family::Text("utf8mb4_bin".into());
        check(new(), text("Abc"), text("aBC"), Some(Equal));
        check(new(), text("abc"), text("abc "), Some(Less));
        check(old(), text("abc"), text("ABC  "), Some(Equal));
        check(bin(), text("abc"), text("ABC"), Some(Greater));
        check(new(), text("a_b"), text("a1b"), Some(Less));
        check(old(), text("a_b"), text("a1b"), Some(Greater));
        check(new(), Value::Int(10), text("10"), None);
    }

    #[test]
    fn dates() {
        let stamp = || Family::DateTime(0);
        check(stamp(), text("2026-01-02"), text("2026-01-02 00:00:00.000"), Some(Equal));
        check(stamp(), text("2026-01-02 03:04:05"), text("2026-01-02T03:04:06"), Some(Less));
        check(Family::Date, text("2026-1-2"), text("2026-01-02"), None);
    }
}
