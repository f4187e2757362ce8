//! What a statement's comment says of where it comes from: sqlcommenter (`/*route='%2Forders',framework='x'*/`)
//! and the older form of Rails (`/*application:shop,controller:orders*/`).
//!
//! While literals are redacted, values that may be some are not kept: see `tag_value`.
//! Only a comment at the very end or the very beginning is read, so a statement without one costs nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::tag_value::redacted;

/// Names and values, as many as are kept.
pub type Tags = Option<Arc<BTreeMap<String, String>>>;

/// Tags of one statement that are kept, and the longest name and value.
const MAX_TAGS: usize = 16;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 256;

/// The tags of a statement's text. With `redact`, their values are only shown as far as they name code.
pub fn tags(text: &[u8], redact: bool) -> Tags {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    let body = if let Some(rest) = text.strip_suffix(b"*/") {
        let begin = rest.windows(2).rposition(|two| two == b"/*")?;
        &rest[begin + 2..]
    } else {
        let rest = text.strip_prefix(b"/*")?;
        let end = rest.windows(2).position(|two| two == b"*/")?;
        &rest[..end]
    };
    let body = std::str::from_utf8(body).ok()?;
    // Hints and executable comments are not for people.
    if body.starts_with(['!', '+', 'M']) && !body.contains('=') && !body.contains(':') {
        return None;
    }
    let found: BTreeMap<String, String> =
        body.split(',').filter_map(|text| pair(text, redact)).take(MAX_TAGS).collect();
    (!found.is_empty()).then(|| Arc::new(found))
}

/// `name='value'` or `name:value`.
fn pair(text: &str, redact: bool) -> Option<(String, String)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.trim().strip_prefix('\'')?.strip_suffix('\'')?),
        None => text.split_once(':')?,
    };
    let (name, value) = (decoded(name.trim()), decoded(value.trim()));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_name = !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain);
    // What asks interlock to do something is not a tag.
    if !is_name || name == "interlock" {
        return None;
    }
    let value = if redact { redacted(&name, &value) } else { Cow::Borrowed(&*value) };
    let value = shortened(&value);
    Some((name.into_owned(), value))
}

fn shortened(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(MAX_VALUE).collect()
}

/// Percent-encoding undone; what is no valid code stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match code.filter(|_| bytes[at] == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::tags;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = tags(text.as_bytes(), false);
        let found: Vec<(&str, &str)> =
            found.iter().flat_map(|tags| tags.iter()).map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn tags_are_found_at_either_end() {
        check("SELECT 1", &[]);
        check("SELECT 1 /* hello */", &[]);
        check("SELECT 1 /*+ MAX_EXECUTION_TIME(1) */", &[]);
        check("SELECT 1 /* interlock:off */", &[]);
        check(
            "SELECT 1 /*framework='django%3A4.2',route='%2Forders%2F'*/;",
            &[("framework", "django:4.2"), ("route", "/orders/")],
        );
        check(
            "/*application:shop,controller:orders*/ SELECT 1",
            &[("application", "shop"), ("controller", "orders")],
        );
        check("SELECT 'a' /*route='100%'*/", &[("route", "100%")]);
        check("*/", &[]);
        check("/*", &[]);
    }

    #[test]
    fn literals_in_tags_are_redacted() {
        let text = b"SELECT 1 /*route='%2Forders%2F4711',customer='anna',framework='x'*/";
        let found = tags(text, true).unwrap();
        let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(found, ["customer=?", "framework=x", "route=/orders/?"]);
    }

    #[test]
    fn tags_are_bounded() {
        let long = format!("SELECT 1 /*a='{}'*/", "x".repeat(10_000));
        assert_eq!(tags(long.as_bytes(), false).unwrap()["a"].len(), 256);
        let many: Vec<String> = (0..1000).map(|n| format!("t{n}='v'")).collect();
        assert_eq!(tags(format!("SELECT 1 /*{}*/", many.join(",")).as_bytes(), false).unwrap().len(), 16);
    }
}
