//! Reading the layers of the configuration.
//!
//! Each value is checked against its key's rule before the layers are merged, so that one run reports the
//! faults of all layers, and each fault can name where the value stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::fault::{Fault, Faults, Origin};
use super::keys::{self, Rule, Shape};
use super::secret::masked;
use super::{Config, rules, validate};

/// Prefix of environment variables; `__` also separates the parts of a key.
const PREFIX: &str = "INTERLOCK__";

/// What the command line gives: values in text, under their keys.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The configuration file, if one is named.
    pub file: Option<PathBuf>,
    /// Flag, key and text of each flag that was given.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A value with the place where it stands.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    value: Value,
    origin: Origin,
}

/// A configuration with the values that it was made of, so that a later one can be compared with it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was set, by key; what is not here is at its default.
    set: BTreeMap<String, Entry>,
}

/// A key whose value is another than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it was, as shown to people.
    pub from: String,
    /// What it is.
    pub to: String,
}

/// Reads the file, the environment and the flags over the defaults.
///
/// `environment` is the process environment (`std::env::vars()`), passed in so that tests can run in
/// parallel. Fails with every fault of every layer.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Faults> {
    load_layers(overrides, environment).map(|loaded| loaded.config)
}

/// As [`load`], for those who will load again.
pub fn load_layers(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let mut entries = Vec::new();
    if let Some(path) = &overrides.file {
        read_file(path, &mut entries, &mut faults);
    }
    read_environment(environment, &mut entries, &mut faults);
    for (flag, key, text) in &overrides.flags {
        from_text(key, text, Origin::Flag(flag), &mut entries, &mut faults);
    }

    // A later layer wins; the faults of all layers are told.
    let mut set = BTreeMap::new();
    for entry in entries {
        let found = check(&entry);
        if found.is_empty() {
            set.insert(entry.key.clone(), entry);
        }
        faults.extend(found);
    }
    build(set, faults)
}

/// From the values to the configuration.
fn build(set: BTreeMap<String, Entry>, mut faults: Vec<Fault>) -> Result<Loaded, Faults> {
    let mut builder = ::config::Config::builder();
    for entry in set.values() {
        let value = to_config(entry.value.clone(), &entry.origin);
        // The key is one of `KEYS`, so it is a valid path and this cannot fail; if it did, it is reported.
        builder = match builder.set_override(&entry.key, value) {
            Ok(builder) => builder,
            Err(error) => return Err(internal(&error, faults)),
        };
    }
    let merged = builder.build().and_then(|merged| merged.try_deserialize::<Config>());
    let config = match merged {
        Ok(config) => config,
        Err(error) => return Err(internal(&error, faults)),
    };
    let origins = set.iter().map(|(key, entry)| (key.clone(), entry.origin.clone())).collect();
    validate::validate(&config, &origins, &mut faults);
    if faults.is_empty() { Ok(Loaded { config, set }) } else { Err(Faults(faults)) }
}

// === impl Loaded ===

impl Loaded {
    /// The keys that `newer` changes.
    pub fn changes(&self, newer: &Loaded) -> Vec<Change> {
        let (before, after) = (shown(&self.config), shown(&newer.config));
        let differs = |key: &str| {
            // What is shown of a secret is the same for all: its value has to be looked at.
            let secret = before.get(key).is_some_and(|text| text.contains("***"));
            let value = |loaded: &Loaded| loaded.set.get(key).map(|entry| entry.value.clone());
            before.get(key) != after.get(key) || secret && value(self) != value(newer)
        };
        let text = |shown: &BTreeMap<String, String>, key: &str| shown.get(key).cloned().unwrap_or_default();
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        keys.into_iter()
            .filter(|key| differs(key))
            .map(|key| Change { key: key.clone(), from: text(&before, key), to: text(&after, key) })
            .collect()
    }

    /// This configuration with those keys of `newer` that `takes` picks. Together they may be faulty where
    /// each is good alone.
    pub fn with(&self, newer: &Loaded, takes: impl Fn(&str) -> bool) -> Result<Loaded, Faults> {
        let mut set = self.set.clone();
        set.retain(|key, _| !takes(key));
        let taken = newer.set.iter().filter(|(key, _)| takes(key));
        set.extend(taken.map(|(key, entry)| (key.clone(), entry.clone())));
        build(set, Vec::new())
    }
}

/// The values by key, as `interlock check` prints them.
pub(super) fn shown(config: &Config) -> BTreeMap<String, String> {
    fn walk(prefix: &str, table: toml::Table, into: &mut BTreeMap<String, String>) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) if keys::rule(&key).is_none() => walk(&key, inner, into),
                value => drop(into.insert(key, value.to_string())),
            }
        }
    }
    let mut into = BTreeMap::new();
    walk("", toml::Table::try_from(config).unwrap_or_default(), &mut into);
    into
}

fn read_file(path: &Path, entries: &mut Vec<Entry>, faults: &mut Vec<Fault>) {
    let origin = Origin::File(path.to_owned());
    let whole = |found: String, allowed: &str| Fault {
        origin: origin.clone(),
        key: String::new(),
        found,
        allowed: allowed.to_owned(),
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            faults.push(whole(format!("cannot be read: {error}"), "a readable TOML file is needed"));
            return;
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => flatten("", table, &origin, entries),
        Err(error) => {
            let error = error.to_string();
            faults.push(whole(format!("is not TOML: {}", error.trim_end()), "a TOML file is needed"));
        }
    }
}

/// `{frontend: {tls: {cert: …}}}` to `frontend.tls.cert`.
fn flatten(prefix: &str, table: toml::Table, origin: &Origin, entries: &mut Vec<Entry>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if keys::rule(&key).is_none() && is_section(&key) => {
                flatten(&key, inner, origin, entries);
            }
            value => entries.push(Entry { key, value, origin: origin.clone() }),
        }
    }
}

fn is_section(key: &str) -> bool {
    keys::KEYS.iter().any(|(name, _)| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

fn read_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    entries: &mut Vec<Entry>,
    faults: &mut Vec<Fault>,
) {
    let mut ours: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // The environment has no order of its own; faults should come in the same order every time.
    ours.sort();
    for (name, text) in ours {
        let key = name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        from_text(&key, &text, Origin::Environment(name), entries, faults);
    }
}

/// Reads a text as its key demands.
fn from_text(key: &str, text: &str, origin: Origin, entries: &mut Vec<Entry>, faults: &mut Vec<Fault>) {
    let Some(rule) = keys::rule(key) else {
        faults.push(unknown(key, origin));
        return;
    };
    let value = match rule.shape() {
        Shape::Text => Some(Value::String(text.to_owned())),
        Shape::Integer => text.parse().ok().map(Value::Integer),
        Shape::Bool => text.parse().ok().map(Value::Boolean),
        Shape::Inline => format!("v = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v")),
        Shape::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
    };
    match value {
        Some(value) => entries.push(Entry { key: key.to_owned(), value, origin }),
        None => faults.push(Fault {
            origin,
            key: key.to_owned(),
            found: format!("{text:?}"),
            allowed: rule.allowed(),
        }),
    }
}

fn check(entry: &Entry) -> Vec<Fault> {
    let Some(rule) = keys::rule(&entry.key) else {
        return vec![unknown(&entry.key, entry.origin.clone())];
    };
    if let Rule::Rules = rule {
        let fault = |(key, found, allowed)| Fault { origin: entry.origin.clone(), key, found, allowed };
        return rules::faults(&entry.value).into_iter().map(fault).collect();
    }
    if rule.accepts(&entry.value) {
        return Vec::new();
    }
    let found = match (&entry.value, rule) {
        (Value::String(text), Rule::OptionalUrl) => format!("{:?}", masked(text)),
        (_, rule) if rule.is_secret() => "***".to_owned(),
        (value, _) => value.to_string(),
    };
    vec![Fault { origin: entry.origin.clone(), key: entry.key.clone(), found, allowed: rule.allowed() }]
}

fn unknown(key: &str, origin: Origin) -> Fault {
    let allowed = match (is_section(key), keys::nearest(key)) {
        (true, _) => format!("a table of keys: [{key}]"),
        (false, Some(near)) => format!("only the keys of interlock.toml; did you mean {near}?"),
        (false, None) => "only the keys of interlock.toml".to_owned(),
    };
    Fault { origin, key: key.to_owned(), found: "an unknown key".to_owned(), allowed }
}

fn to_config(value: Value, origin: &Origin) -> ::config::Value {
    let kind = match value {
        Value::String(text) => text.into(),
        Value::Integer(n) => n.into(),
        Value::Float(x) => x.into(),
        Value::Boolean(b) => b.into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(list) => {
            ::config::ValueKind::Array(list.into_iter().map(|item| to_config(item, origin)).collect())
        }
        Value::Table(table) => {
            let items = table.into_iter().map(|(key, item)| (key, to_config(item, origin)));
            ::config::ValueKind::Table(items.collect())
        }
    };
    ::config::Value::new(Some(&origin.to_string()), kind)
}

/// A value that its rule accepts but its type does not: a mistake of interlock's own, still reported.
fn internal(error: &::config::ConfigError, mut faults: Vec<Fault>) -> Faults {
    faults.push(Fault {
        origin: Origin::Default,
        key: String::new(),
        found: error.to_string(),
        allowed: "see config/interlock.toml".to_owned(),
    });
    Faults(faults)
}
