//! The layers together, and the file that documents them.

use std::io::Write;
use std::time::Duration;

use super::*;

/// Loads a file's text, environment pairs and flags.
fn read(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Config, Vec<String>> {
    let mut temp = tempfile::NamedTempFile::new().unwrap();
    temp.write_all(file.as_bytes()).unwrap();
    let overrides = Overrides {
        file: Some(temp.path().to_owned()),
        flags: flags.iter().map(|(flag, key, text)| (*flag, *key, (*text).to_owned())).collect(),
    };
    let environment = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let name = temp.path().display().to_string();
    load(&overrides, environment)
        .map_err(|faults| faults.0.iter().map(|fault| fault.to_string().replace(&name, "FILE")).collect())
}

/// All leaf keys of a table, with their values.
fn leaves(prefix: &str, table: &toml::Table, into: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => leaves(&key, inner, into),
            value => into.push((key, value.clone())),
        }
    }
}

fn sorted(table: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut list = Vec::new();
    leaves("", table, &mut list);
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

const DOCUMENTED: &str = include_str!("../../config/interlock.toml");

#[test]
fn the_file_shows_every_key_with_its_default() {
    let documented = sorted(&DOCUMENTED.parse().unwrap());
    let code = sorted(&toml::Table::try_from(Config::default()).unwrap());
    assert_eq!(documented, code);
}

#[test]
fn every_key_has_a_rule_that_accepts_its_default() {
    let code = sorted(&toml::Table::try_from(Config::default()).unwrap());
    let mut names: Vec<_> = keys::KEYS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(names, code.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
    for (key, value) in code {
        assert!(keys::rule(&key).unwrap().accepts(&value), "{key} = {value}");
    }
}

#[test]
fn every_key_of_the_file_has_a_sentence_above_it() {
    let lines: Vec<&str> = DOCUMENTED.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(lines[n - 1].starts_with("# ") && lines[n - 1].ends_with('.'), "{line}");
        }
    }
}

#[test]
fn the_documented_file_loads_as_the_defaults() {
    assert_eq!(read(DOCUMENTED, &[], &[]), Ok(Config::default()));
    assert_eq!(read("", &[], &[]), Ok(Config::default()));
}

#[test]
fn later_layers_win() {
    let file = "[frontend]\nlisten = \"a:1\"\nmax_connections = 5\n[policy]\naction = \"reject\"\n";
    let environment =
        [("INTERLOCK__FRONTEND__LISTEN", "b:2"), ("INTERLOCK__POLICY__ACTION", "reorder"), ("HOME", "/x")];
    let flags = [("--listen", "frontend.listen", "c:3")];
    let config = read(file, &environment, &flags).unwrap();
    assert_eq!(config.frontend.listen, Address::tcp("c", 3));
    assert_eq!(config.frontend.max_connections, 5);
    assert_eq!(config.policy.action, Action::Reorder);
}

#[test]
fn the_environment_reads_every_shape() {
    let config = read(
        "",
        &[
            ("INTERLOCK__REDACT", "false"),
            ("INTERLOCK__LIMITS__PLANS", "7"),
            ("INTERLOCK__REORDER__HOLD_TIMEOUT", "1s 500ms"),
            ("INTERLOCK__FRONTEND__PROXY_PROTOCOL__ACCEPT_FROM", "10.0.0.0/8, ::1"),
        ],
        &[],
    )
    .unwrap();
    assert!(!config.redact);
    assert_eq!(config.limits.plans, 7);
    assert_eq!(config.reorder.hold_timeout, Duration::from_millis(1500));
    assert_eq!(config.frontend.proxy_protocol.accept_from.len(), 2);
}

#[test]
fn all_faults_come_at_once_with_their_place() {
    let file = "redakt = true\n[frontend]\nmax_connections = 0\n[limits]\nplans = \"many\"\n";
    let environment = [("INTERLOCK__LOG__FORMAT", "xml"), ("INTERLOCK__LIMITS__HISTORY", "x")];
    let flags = [("--control-url", "control.url", "pg://u:secret@h")];
    let faults = read(file, &environment, &flags).unwrap_err();
    let expected = [
        "environment variable INTERLOCK__LIMITS__HISTORY: limits.history: found \"x\"; allowed: a whole number \
         from 1 to 100000",
        "FILE: redakt: found an unknown key; allowed: only the keys of interlock.toml; did you mean redact?",
        "FILE: frontend.max_connections: found 0; allowed: a whole number from 1 to 10000000",
        "FILE: limits.plans: found \"many\"; allowed: a whole number from 1 to 10000000",
        "environment variable INTERLOCK__LOG__FORMAT: log.format: found \"xml\"; allowed: one of \"auto\", \
         \"text\", \"json\"",
        "flag --control-url: control.url: found \"pg://u:***@h\"; allowed: \"mysql://user:password@host:port\" \
         (special characters percent-encoded), or \"\" for none",
    ];
    let mut faults = faults;
    let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    faults.sort();
    expected.sort();
    assert_eq!(faults, expected);
}

#[test]
fn keys_that_belong_together_are_checked_together() {
    let faults = read("[frontend.tls]\nkey = \"/nonexistent\"\nrequired = true\n", &[], &[]).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults[0].starts_with("default: frontend.tls.cert: found \"\""), "{}", faults[0]);
    assert!(faults[1].starts_with("FILE: frontend.tls.required"), "{}", faults[1]);
    assert!(faults[2].contains("/nonexistent (No such file"), "{}", faults[2]);
}

#[test]
fn a_section_written_as_a_value_is_a_fault() {
    let faults = read("frontend = 5\n", &[], &[]).unwrap_err();
    assert_eq!(faults, ["FILE: frontend: found an unknown key; allowed: a table of keys: [frontend]"]);
}

#[test]
fn broken_toml_is_one_fault() {
    let faults = read("[frontend\n", &[], &[]).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("FILE: is not TOML"), "{}", faults[0]);
}

#[test]
fn a_missing_file_is_one_fault() {
    let overrides = Overrides { file: Some("/nonexistent/interlock.toml".into()), flags: Vec::new() };
    let faults = load(&overrides, []).unwrap_err();
    assert!(faults.to_string().starts_with("/nonexistent/interlock.toml: cannot be read"), "{faults}");
}

#[test]
fn the_effective_configuration_reads_back_and_hides_the_password() {
    let config = read("[control]\nurl = \"mysql://u:secret@h:1\"\n", &[], &[]).unwrap();
    let text = config.effective();
    assert!(text.contains("mysql://u:***@h:1") && !text.contains("secret"), "{text}");
    let mut again = read(&text, &[], &[]).unwrap();
    again.control.url = config.control.url.clone();
    assert_eq!(again, config);
}

/// Loads a file's text for comparison.
fn layers(file: &str) -> Loaded {
    let mut temp = tempfile::NamedTempFile::new().unwrap();
    temp.write_all(file.as_bytes()).unwrap();
    let overrides = Overrides { file: Some(temp.path().to_owned()), flags: Vec::new() };
    load_layers(&overrides, []).unwrap()
}

#[test]
fn changes_are_found_by_value_and_secrets_too() {
    let old = layers("[reorder]\nhold_timeout = \"60s\"\n[control]\nurl = \"mysql://u:one@h:1\"\n");
    let same = layers("[reorder]\nhold_timeout = \"1m\"\n[control]\nurl = \"mysql://u:one@h:1\"\n");
    assert_eq!(old.changes(&same), []);
    let new = layers("[policy]\naction = \"reject\"\n[control]\nurl = \"mysql://u:two@h:1\"\n");
    let changes = old.changes(&new);
    let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["control.url", "policy.action", "reorder.hold_timeout"]);
    assert_eq!((changes[1].from.as_str(), changes[1].to.as_str()), ("\"flag\"", "\"reject\""));
    assert!(changes.iter().all(|change| !format!("{change:?}").contains("two")), "{changes:?}");
}

#[test]
fn only_the_picked_keys_are_taken_over() {
    let old = layers("[reorder]\nmax_held = 5\n[frontend]\nworkers = 1\n");
    let new = layers("[policy]\naction = \"reject\"\n[frontend]\nworkers = 2\n");
    let both = old.with(&new, keys::is_live).unwrap();
    assert_eq!(both.config.policy.action, Action::Reject);
    assert_eq!(both.config.frontend.workers, 1);
    assert_eq!(both.config.reorder.max_held, Config::default().reorder.max_held, "no longer set");
    // What is left to do.
    let left: Vec<String> = both.changes(&new).into_iter().map(|change| change.key).collect();
    assert_eq!(left, ["frontend.workers"]);
}

#[test]
fn the_file_names_the_keys_that_change_live() {
    let comment: String = DOCUMENTED
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| line[1..].to_owned())
        .collect();
    for live in keys::LIVE {
        let shown = if live.ends_with('.') { format!("{live}*") } else { (*live).to_owned() };
        assert!(comment.contains(&format!(" {shown}")), "{shown} is not in the head of interlock.toml");
        assert!(keys::KEYS.iter().any(|(key, _)| keys::is_live(key) && key.starts_with(live)), "{live}");
    }
    let (_, list) = comment.split_once("dropping a connection:").unwrap();
    let (list, _) = list.split_once(". A change").unwrap();
    assert_eq!(list.split(',').count(), keys::LIVE.len(), "{list}");
}

#[test]
fn every_fault_of_the_rules_is_told() {
    let file = "[[rules]]\naction = \"hold\"\n[[rules]]\nuser = \"web\"\n[[rules]]\naction = \"off\"\ntables = \"t\"\n\
                [[rules]]\naction = \"flag\"\n[[rules]]\naction = \"off\"\ndigest = 7\n";
    let faults = read(file, &[], &[]).unwrap_err();
    let keys = ["rules[1].action", "rules[2].action", "rules[3].tables", "rules[4]", "rules[5].digest"];
    // The first rule has no condition either, and so hides all others: that is a second fault of it.
    for key in keys.into_iter().chain(["rules[1]"]) {
        let told = |fault: &&String| fault.starts_with(&format!("FILE: {key}: found "));
        assert_eq!(faults.iter().filter(told).count(), 1, "{key} {faults:#?}");
    }
    assert_eq!(faults.len(), keys.len() + 1, "{faults:#?}");
}

#[test]
fn rules_are_read_from_file_and_environment() {
    let file = "[[rules]]\naction = \"off\"\nuser = \"batch\"\n[[rules]]\naction = \"reorder\"\n";
    let config = read(file, &[], &[]).unwrap();
    assert_eq!(config.rules.len(), 2);
    assert_eq!((config.rules[0].user.as_str(), config.rules[0].table.as_str()), ("batch", "*"));
    let inline = "[{action = \"flag\", schema = \"shop\"}]";
    let config = read(file, &[("INTERLOCK__RULES", inline)], &[]).unwrap();
    assert_eq!(config.rules.iter().map(|rule| rule.schema.as_str()).collect::<Vec<_>>(), ["shop"]);
    // What `check` prints can be read again.
    let again = read(&config.effective(), &[], &[]).unwrap();
    assert_eq!(again.rules, config.rules);
    assert!(read("", &[("INTERLOCK__RULES", "off")], &[]).is_err());
}
