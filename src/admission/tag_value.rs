//! What of a comment tag's value is shown while literals are redacted.
//!
//! A tag says which code sent a statement, and that is what a report needs. But applications write what they like:
//! the customer's number, a mail address, a path with keys in it. So tags that by their definition name code are
//! shown, the others by their name only. The names are those of [sqlcommenter] and of Rails' query logs.
//!
//! [sqlcommenter]: https://google.github.io/sqlcommenter/spec/

use std::borrow::Cow;

/// Tags whose value names a place in the code.
const CODE: &[&str] = &[
    "action",
    "app",
    "application",
    "controller",
    "db_driver",
    "file",
    "framework",
    "job",
    "line",
    "namespaced_controller",
    "service",
    "source_location",
];

/// An identifier that is as long as this, has digits and else only what numbers in base 16 have, is a key.
const KEY: usize = 16;

/// The value as it may be shown.
pub(super) fn redacted<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    match name {
        "route" => Cow::Owned(route(value)),
        "traceparent" if is_trace(value) => Cow::Borrowed(value),
        name if CODE.contains(&name) => Cow::Borrowed(value),
        _ => Cow::Borrowed("?"),
    }
}

/// A route is a pattern (`/orders/<int:id>`); some write the path instead (`/orders/4711?customer=7`).
fn route(value: &str) -> String {
    // In a pattern of Django's, `(?P<id>` begins a group.
    let query = value.match_indices(['?', '#']).find(|(at, _)| !value[..*at].ends_with('('));
    let path = query.map_or(value, |(at, _)| &value[..at]);
    let shown = path.split('/').map(|part| if is_key(part) { "?" } else { part });
    shown.collect::<Vec<_>>().join("/")
}

/// A number, a date, a UUID, a hash, an address.
fn is_key(part: &str) -> bool {
    let digits = part.bytes().any(|b| b.is_ascii_digit());
    let hexadecimal = part.bytes().all(|b| b.is_ascii_hexdigit() || b"-_.".contains(&b));
    let pattern = part.contains(['[', '<', '{', '\\']);
    let letters = part.chars().any(char::is_alphabetic);
    part.contains('@') || digits && !pattern && (!letters || hexadecimal && part.len() >= KEY)
}

/// `00-<trace>-<span>-<flags>`: see <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn is_trace(value: &str) -> bool {
    let lengths = value.split('-').map(str::len);
    lengths.eq([2, 32, 16, 2]) && value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn what_names_code_is_shown() {
        for (name, value) in [
            ("framework", "django:4.2"),
            ("controller", "orders"),
            ("source_location", "app/models/order.rb:42"),
            ("route", "/v2/orders/<int:id>/lines"),
            ("route", "^polls/(?P<question_id>[0-9]+)/vote/$"),
            ("route", "/orders/{id}/2fa"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ] {
            assert_eq!(redacted(name, value), value, "{name}");
        }
    }

    #[test]
    fn what_may_be_a_literal_is_not() {
        for (name, value, shown) in [
            ("customer", "4711", "?"),
            ("tracestate", "vendor=anna@example.org", "?"),
            ("traceparent", "anna", "?"),
            ("route", "/orders/4711", "/orders/?"),
            ("route", "/orders/4711/lines?customer=anna", "/orders/?/lines"),
            ("route", "/from/2026-01-31/#anna", "/from/?/"),
            ("route", "/users/anna@example.org/", "/users/?/"),
            ("route", "/carts/0af76519-16cd-43dd-8448-eb211c80319c", "/carts/?"),
        ] {
            assert_eq!(redacted(name, value), shown, "{name}={value}");
        }
    }
}
