//! Every key and what it allows.
//!
//! A rule both checks a value and says in words what it would accept, so the two cannot drift apart.

use std::time::Duration;

use toml::Value;
use tracing_subscriber::EnvFilter;

use super::address::{Address, Network};

/// What a key allows.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// `true` or `false`
    Bool,
    /// `[[rules]]`: see [`super::rules`].
    Rules,
    /// A whole number between the two, both included.
    Integer(i64, i64),
    /// A duration such as `"500ms"` between the two, both included, in milliseconds.
    Duration(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `host:port` or `unix:/path`
    Address,
    /// `host:port`, or `""`
    OptionalTcp,
    /// Networks in CIDR notation.
    Networks,
    /// A file name, or `""`
    OptionalPath,
    /// A host name, or `""`
    OptionalName,
    /// `mysql://user:password@host:port`, or `""`
    OptionalUrl,
    /// At least 16 visible characters, or `""`
    OptionalToken,
    /// Host names.
    Names,
    /// `name:*HASH`
    Users,
    /// Directives of `tracing_subscriber::EnvFilter`.
    LogFilter,
}

/// What a value must look like to be read from text (environment, flags).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// TOML string.
    Text,
    /// TOML integer.
    Integer,
    /// TOML boolean.
    Bool,
    /// TOML array of strings; in text, separated by commas.
    List,
    /// As in the file: `[{action = "off", user = "batch"}]`.
    Inline,
}

const DAY: u64 = 86_400_000;
const MANY: i64 = 10_000_000;

/// The keys, in the order of the file.
pub const KEYS: &[(&str, Rule)] = &[
    ("redact", Rule::Bool),
    ("coordination", Rule::OneOf(&["local", "server"])),
    ("rules", Rule::Rules),
    ("frontend.listen", Rule::Address),
    ("frontend.max_connections", Rule::Integer(1, MANY)),
    ("frontend.handshake_timeout", Rule::Duration(1, DAY)),
    ("frontend.max_statement_bytes", Rule::Integer(1024, 1 << 30)),
    ("frontend.workers", Rule::Integer(0, 1024)),
    ("frontend.keepalive_idle", Rule::Duration(1000, DAY)),
    ("frontend.keepalive_interval", Rule::Duration(1000, DAY)),
    ("frontend.keepalive_count", Rule::Integer(1, 100)),
    ("frontend.tls.cert", Rule::OptionalPath),
    ("frontend.tls.key", Rule::OptionalPath),
    ("frontend.tls.client_ca", Rule::OptionalPath),
    ("frontend.tls.required", Rule::Bool),
    ("frontend.proxy_protocol.accept_from", Rule::Networks),
    ("upstream.address", Rule::Address),
    ("upstream.connect_timeout", Rule::Duration(1, DAY)),
    ("upstream.proxy_protocol", Rule::OneOf(&["none", "v1", "v2"])),
    (
        "upstream.tls.mode",
        Rule::OneOf(&["disabled", "preferred", "required", "verify_ca", "verify_identity"]),
    ),
    ("upstream.tls.ca", Rule::OptionalPath),
    ("upstream.tls.cert", Rule::OptionalPath),
    ("upstream.tls.key", Rule::OptionalPath),
    ("upstream.tls.server_name", Rule::OptionalName),
    ("upstream.tls.allow_plain_client", Rule::Bool),
    ("admin.listen", Rule::OptionalTcp),
    ("admin.token", Rule::OptionalToken),
    ("admin.hosts", Rule::Names),
    ("console.listen", Rule::OptionalTcp),
    ("console.users", Rule::Users),
    ("control.url", Rule::OptionalUrl),
    ("control.pool_size", Rule::Integer(1, 100)),
    ("control.refresh", Rule::Duration(100, DAY)),
    ("control.fresh", Rule::Duration(0, DAY)),
    ("control.first_use_timeout", Rule::Duration(0, 60_000)),
    ("control.probe_timeout", Rule::Duration(1, 10_000)),
    ("control.look_time", Rule::Duration(0, 1_000_000)),
    ("control.fence_lifetime", Rule::Duration(0, DAY)),
    ("policy.action", Rule::OneOf(&["flag", "reorder", "reject"])),
    ("reorder.hold_timeout", Rule::Duration(1, DAY)),
    ("reorder.deadlock_hold_timeout", Rule::Duration(1, DAY)),
    ("reorder.max_queue", Rule::Integer(0, MANY)),
    ("reorder.max_held", Rule::Integer(0, MANY)),
    ("reorder.retry", Rule::Bool),
    ("reorder.retry_max_bytes", Rule::Integer(1024, 1 << 30)),
    ("state.dir", Rule::OptionalPath),
    ("state.signature_lifetime", Rule::Duration(1000, 3660 * DAY)),
    ("conflicts.keep", Rule::Integer(1, 1_000_000)),
    ("conflicts.file", Rule::OptionalPath),
    ("conflicts.file_max_bytes", Rule::Integer(4096, 1 << 40)),
    ("conflicts.file_keep", Rule::Integer(0, 1000)),
    ("metrics.max_tables", Rule::Integer(0, 10_000)),
    ("log.level", Rule::LogFilter),
    ("log.format", Rule::OneOf(&["auto", "text", "json"])),
    ("shutdown.grace", Rule::Duration(0, DAY)),
    ("reload.poll", Rule::Duration(0, DAY)),
    ("limits.prepared_statements", Rule::Integer(0, MANY)),
    ("limits.plans", Rule::Integer(1, MANY)),
    ("limits.history", Rule::Integer(1, 100_000)),
    ("limits.savepoints", Rule::Integer(0, 100_000)),
    ("limits.locks", Rule::Integer(1, MANY)),
    ("limits.locks_per_transaction", Rule::Integer(1, MANY)),
];

/// The keys that a reload puts in force; a name that ends in a dot stands for all keys of its section. Every
/// other key needs a restart. Limits hold for what begins after the reload.
pub const LIVE: &[&str] = &[
    "redact",
    "rules",
    "frontend.handshake_timeout",
    "frontend.max_statement_bytes",
    "frontend.max_connections",
    "frontend.tls.",
    "upstream.connect_timeout",
    "upstream.tls.",
    "admin.token",
    "admin.hosts",
    "console.users",
    "control.fresh",
    "control.first_use_timeout",
    "policy.",
    "reorder.",
    "conflicts.keep",
    "log.level",
    "shutdown.grace",
    "reload.",
    "limits.prepared_statements",
    "limits.history",
    "limits.savepoints",
    "limits.locks",
    "limits.locks_per_transaction",
];

/// Can the key change while the process runs?
pub fn is_live(key: &str) -> bool {
    LIVE.iter().any(|live| *live == key || live.ends_with('.') && key.starts_with(live))
}

/// The rule of a key; `None` if there is no such key.
pub fn rule(key: &str) -> Option<Rule> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, rule)| *rule)
}

/// The known key that looks most like this one, if any does.
pub fn nearest(key: &str) -> Option<&'static str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    KEYS.iter()
        .map(|(name, _)| {
            let tail = name.rsplit('.').next().unwrap_or(name);
            (distance(key, name).min(distance(last, tail) + 1), *name)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

// === impl Rule ===

impl Rule {
    /// Does the rule accept the value?
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Rule::Bool, Value::Boolean(_)) => true,
            (Rule::Rules, value) => super::rules::faults(value).is_empty(),
            (Rule::Integer(min, max), Value::Integer(n)) => (min..=max).contains(n),
            (Rule::Networks, Value::Array(list)) => {
                list.iter().all(|item| item.as_str().is_some_and(|text| text.parse::<Network>().is_ok()))
            }
            (Rule::Names, Value::Array(list)) => {
                let name = |text: &str| !text.is_empty() && Rule::OptionalName.accepts_text(text);
                list.iter().all(|item| item.as_str().is_some_and(name))
            }
            (Rule::Users, Value::Array(list)) => list.iter().all(|item| item.as_str().is_some_and(is_user)),
            (_, Value::String(text)) => self.accepts_text(text),
            _ => false,
        }
    }

    fn accepts_text(self, text: &str) -> bool {
        match self {
            Rule::Bool | Rule::Rules | Rule::Integer(..) | Rule::Networks | Rule::Names | Rule::Users => {
                false
            }
            Rule::OptionalToken => {
                text.is_empty() || text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic())
            }
            Rule::Duration(min, max) => humantime::parse_duration(text).is_ok_and(|duration| {
                (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&duration)
            }),
            Rule::OneOf(words) => words.contains(&text),
            Rule::Address => text.parse::<Address>().is_ok(),
            Rule::OptionalTcp => text.is_empty() || matches!(text.parse(), Ok(Address::Tcp { .. })),
            Rule::OptionalPath => !text.contains('\0'),
            Rule::OptionalName => !text.contains(|c: char| c.is_whitespace() || c == '/'),
            Rule::OptionalUrl => text.is_empty() || crate::backend::control::is_url(text),
            Rule::LogFilter => !text.trim().is_empty() && EnvFilter::try_new(text).is_ok(),
        }
    }

    /// What the rule accepts, in words.
    pub fn allowed(self) -> String {
        let millis = |ms| humantime::format_duration(Duration::from_millis(ms)).to_string();
        match self {
            Rule::Bool => "true or false".to_owned(),
            Rule::Rules => "a list of tables: [[rules]]".to_owned(),
            Rule::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Rule::Duration(min, max) => {
                format!("a duration such as \"500ms\" or \"2s\", from {} to {}", millis(min), millis(max))
            }
            Rule::OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Rule::Address => "\"host:port\", \"[IPv6]:port\" or \"unix:/path\"".to_owned(),
            Rule::OptionalTcp => "\"host:port\" or \"[IPv6]:port\", or \"\" for none".to_owned(),
            Rule::Networks => "a list of networks such as [\"10.0.0.0/8\", \"fd00::/8\"]".to_owned(),
            Rule::OptionalToken => {
                "at least 16 visible ASCII characters without spaces, or \"\" for none".to_owned()
            }
            Rule::Names => "a list of host names such as [\"interlock.example.com\"]".to_owned(),
            Rule::Users => "a list of \"name:*HASH\", the hash as 40 hexadecimal digits: \
                 CONCAT('*', UPPER(SHA1(UNHEX(SHA1('password')))))"
                .to_owned(),
            Rule::OptionalPath => "the name of a file, or \"\" for none".to_owned(),
            Rule::OptionalName => "a host name, or \"\" for none".to_owned(),
            Rule::OptionalUrl => {
                "\"mysql://user:password@host:port\" (special characters percent-encoded), or \"\" for none"
                    .to_owned()
            }
            Rule::LogFilter => "error, warn, info, debug, trace or off, or levels per module such as \
                 \"info,interlock::scheduler=debug\""
                .to_owned(),
        }
    }

    /// Its values are shown to nobody.
    pub fn is_secret(self) -> bool {
        matches!(self, Rule::OptionalToken | Rule::Users)
    }

    /// How a text from the environment or a flag is to be read.
    pub fn shape(self) -> Shape {
        match self {
            Rule::Bool => Shape::Bool,
            Rule::Rules => Shape::Inline,
            Rule::Integer(..) => Shape::Integer,
            Rule::Networks | Rule::Names | Rule::Users => Shape::List,
            _ => Shape::Text,
        }
    }
}

/// `name:*HASH`
fn is_user(text: &str) -> bool {
    let Some((name, hash)) = text.rsplit_once(":*") else { return false };
    !name.is_empty() && hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Edit distance of two short texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_what_they_say() {
        let check = |rule: Rule, value: &str, expected: bool| {
            let table: toml::Table = format!("v = {value}").parse().unwrap();
            assert_eq!(rule.accepts(&table["v"]), expected, "{rule:?} {value}");
        };
        check(Rule::Bool, "true", true);
        check(Rule::Bool, "\"true\"", false);
        check(Rule::Integer(1, 9), "9", true);
        check(Rule::Integer(1, 9), "0", false);
        check(Rule::Integer(1, 9), "1.0", false);
        check(Rule::Duration(1, 1000), "\"500ms\"", true);
        check(Rule::Duration(1, 1000), "\"0s\"", false);
        check(Rule::Duration(1, 1000), "500", false);
        check(Rule::OneOf(&["a", "b"]), "\"b\"", true);
        check(Rule::OneOf(&["a", "b"]), "\"B\"", false);
        check(Rule::OptionalTcp, "\"\"", true);
        check(Rule::OptionalTcp, "\"unix:/x\"", false);
        check(Rule::Networks, "[\"10.0.0.0/8\"]", true);
        check(Rule::Networks, "[\"10.0.0.0/99\"]", false);
        check(Rule::OptionalUrl, "\"mysql://u:p@db:3306\"", true);
        check(Rule::OptionalUrl, "\"mysql://db:3306\"", false);
        check(Rule::OptionalUrl, "\"postgres://u:p@db\"", false);
        check(Rule::OptionalToken, "\"0123456789abcdef\"", true);
        check(Rule::OptionalToken, "\"secret\"", false);
        check(Rule::Users, "[\"dba:*14E65567ABDB5135D0CFD9A70B3032C179A49EE7\"]", true);
        check(Rule::Users, "[\"dba:secret\"]", false);
        check(Rule::Names, "[\"interlock.example.com\"]", true);
        check(Rule::Names, "[\"\"]", false);
        check(Rule::LogFilter, "\"info,interlock::lock=trace\"", true);
        check(Rule::LogFilter, "\"loud=very\"", false);
    }

    #[test]
    fn a_mistyped_key_finds_its_neighbour() {
        assert_eq!(nearest("frontend.max_conections"), Some("frontend.max_connections"));
        assert_eq!(nearest("upstream.listen"), Some("frontend.listen"));
        assert_eq!(nearest("something.else.entirely"), None);
    }
}
