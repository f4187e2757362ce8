//! A literal's bytes to its value.

use std::borrow::Cow;

use super::digest::{Literal, LiteralKind};
use super::lexer::{Lexer, Reading, TokenKind};
use super::value::Value;

/// The value of a literal; a parameter that was not given is [`Value::Unknown`].
pub(super) fn value<'a>(
    text: &'a [u8],
    reading: Reading,
    literal: &Literal,
    params: &'a [Value<'a>],
) -> Value<'a> {
    let bytes = text.get(literal.start as usize..literal.end as usize).unwrap_or_default();
    match literal.kind {
        LiteralKind::Param(n) => params.get(n as usize).map_or(Value::Unknown, borrow),
        LiteralKind::Null => Value::Null,
        LiteralKind::Boolean(truth) => Value::Int(i128::from(truth)),
        LiteralKind::Number => number(bytes),
        LiteralKind::Bits => bits(bytes),
        LiteralKind::String => string(bytes, reading),
    }
}

/// The same value without a copy of its bytes.
fn borrow<'a>(value: &'a Value<'a>) -> Value<'a> {
    match value {
        Value::Text(bytes) => Value::Text(Cow::Borrowed(bytes)),
        Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        other => other.clone(),
    }
}

fn number(bytes: &[u8]) -> Value<'_> {
    // The lexer takes ASCII only into a number.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Value::Unknown;
    };
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = text.parse::<i128>() {
        return Value::Int(integer);
    }
    if text.contains(['e', 'E']) {
        return text.parse().map_or(Value::Unknown, Value::Float);
    }
    Value::Decimal(text)
}

/// `x'4D'`, `0x4D`, `b'1'`, `0b1`, with or without introducer.
fn bits(bytes: &[u8]) -> Value<'_> {
    let Some((letter, digits)) = digits(bytes) else {
        return Value::Unknown;
    };
    let radix = if letter.eq_ignore_ascii_case(&b'x') { 4 } else { 1 };
    let mut out = Vec::with_capacity(digits.len() * radix / 8 + 1);
    // The first byte is padded with zero bits on its left.
    let mut used = (8 - digits.len() * radix % 8) % 8;
    let mut byte = 0u8;
    for &digit in digits {
        let Some(value) = char::from(digit).to_digit(1 << radix) else {
            return Value::Unknown;
        };
        byte = byte << radix | value as u8;
        used += radix;
        if used == 8 {
            out.push(byte);
            (used, byte) = (0, 0);
        }
    }
    Value::Bytes(Cow::Owned(out))
}

/// The letter that tells the radix, and the digits.
fn digits(bytes: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'0', letter, digits @ ..] = bytes {
        return Some((*letter, digits));
    }
    let body = bytes.strip_suffix(b"'")?;
    let quote = memchr::memchr(b'\'', body)?;
    Some((*body.get(quote.checked_sub(1)?)?, &body[quote + 1..]))
}

/// A string with all its parts: introducer, escapes, adjacent strings.
fn string(bytes: &[u8], reading: Reading) -> Value<'_> {
    let open = bytes.iter().position(|&byte| byte == b'\'' || byte == b'"').unwrap_or(bytes.len());
    let (introducer, body) = bytes.split_at(open);
    let text = match body {
        [quote, inner @ .., close] if quote == close && plain(inner, *quote, reading) => Cow::Borrowed(inner),
        _ => Cow::Owned(unescape(body, reading)),
    };
    match introducer.trim_ascii() {
        b"" | b"N" | b"n" => Value::Text(text),
        name if name.eq_ignore_ascii_case(b"_binary") => Value::Bytes(text),
        name if name.len() >= 5 && name[..5].eq_ignore_ascii_case(b"_utf8") => Value::Text(text),
        // In another character set the same bytes are the same text only as long as they are ASCII.
        _ if text.is_ascii() => Value::Text(text),
        _ => Value::Unknown,
    }
}

/// Nothing in the body needs to be resolved.
fn plain(inner: &[u8], quote: u8, reading: Reading) -> bool {
    match reading.mode.no_backslash_escapes {
        true => memchr::memchr(quote, inner).is_none(),
        false => memchr::memchr2(quote, b'\\', inner).is_none(),
    }
}

/// Resolves doubled quotes and escapes (MySQL manual, table "Special Character Escape Sequences") and joins
/// adjacent strings.
fn unescape(body: &[u8], reading: Reading) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut position = 0;
    while let Some(&quote) = body.get(position) {
        if quote != b'\'' && quote != b'"' {
            // White space or a comment between adjacent strings.
            position += between(&body[position..], reading);
            continue;
        }
        position += 1;
        while let Some(&byte) = body.get(position) {
            let next = body.get(position + 1).copied();
            position += 1;
            match (byte, next) {
                (b'\\', Some(next)) if !reading.mode.no_backslash_escapes => {
                    position += 1;
                    escape(next, &mut out);
                }
                (byte, Some(next)) if byte == quote && next == quote => {
                    position += 1;
                    out.push(quote);
                }
                (byte, _) if byte == quote => break,
                (byte, _) => out.push(byte),
            }
        }
    }
    out
}

/// How many bytes lie before the next string: at least one.
fn between(rest: &[u8], reading: Reading) -> usize {
    match Lexer::new(rest, reading).next() {
        Some(token) if token.kind == TokenKind::String => token.start.max(1),
        _ => rest.len(),
    }
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    if matches!(byte, b'%' | b'_') {
        // They keep the backslash, for LIKE.
        out.push(b'\\');
    }
    out.push(match byte {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::digest::Digest;

    fn check(sql: &str, expect: Value<'_>) {
        let digest = Digest::of(sql.as_bytes(), Reading::default());
        let found = value(sql.as_bytes(), Reading::default(), &digest.literals[0], &[]);
        assert_eq!(found, expect, "{sql}");
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn numbers() {
        check("= 5", Value::Int(5));
        check("= -5", Value::Int(-5));
        check("= +5", Value::Int(5));
        check("= 18446744073709551615", Value::Int(18_446_744_073_709_551_615));
        check("= -12.50", Value::Decimal("-12.50"));
        check("= 1e3", Value::Float(1000.0));
        check(
            "= 99999999999999999999999999999999999999999",
            Value::Decimal("99999999999999999999999999999999999999999"),
        );
    }

    #[test]
    fn strings() {
        check("'abc'", text("abc"));
        check("'a''b\"\"'", text("a'b\"\""));
        check("'a\\'b\\n\\%\\_\\\\\\q'", text("a'b\n\\%\\_\\q"));
        check("'a' /* 'x' */ 'b'\n\"c\"\"\"", text("abc\""));
        check("N'a'", text("a"));
        check("_utf8mb4 'é'", text("é"));
        check("_latin1'a'", text("a"));
        check("_latin1'é'", Value::Unknown);
        check("_binary'a'", Value::Bytes(Cow::Borrowed(b"a")));
        check("''", text(""));
    }

    #[test]
    fn bit_strings() {
        check("x'4D79'", Value::Bytes(Cow::Borrowed(b"My")));
        check("0x4D7", Value::Bytes(Cow::Borrowed(b"\x04\xd7")));
        check("b'100000001'", Value::Bytes(Cow::Borrowed(b"\x01\x01")));
        check("_utf8mb4 x'4D'", Value::Bytes(Cow::Borrowed(b"M")));
    }
}
