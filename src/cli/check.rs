//! `interlock check`: is the configuration good, what is in force, and which rule does a statement fall under?

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::ConfigArgs;
use crate::app::map;
use crate::config::{self, Config};
use crate::session::rules::Facts;
use crate::sql::cache::PlanCache;
use crate::sql::statement::SqlMode;
use crate::sql::tag::Tag;

/// Arguments of the command.
#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Show which rule this statement falls under, instead of the configuration.
    #[arg(long, value_name = "SQL")]
    statement: Option<String>,
    /// The user of the session that runs it.
    #[arg(long, value_name = "USER", default_value = "", requires = "statement")]
    user: String,
    /// The default schema of that session.
    #[arg(long, value_name = "SCHEMA", requires = "statement")]
    schema: Option<String>,
}

/// Prints every fault to standard error and exits 1, or the effective configuration to standard output.
pub fn run(args: &Args) -> ExitCode {
    match config::load(&args.config.overrides(), std::env::vars()) {
        Ok(config) => {
            match &args.statement {
                Some(sql) => print!("{}", explain(&config, sql, &args.user, args.schema.as_deref())),
                None => print!("{}", config.effective()),
            }
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::FAILURE
        }
    }
}

/// Every rule in order, with what it makes of a statement.
fn explain(config: &Config, sql: &str, user: &str, schema: Option<&str>) -> String {
    let analysed = PlanCache::default().analyse(sql.as_bytes(), SqlMode::default());
    let plan = &analysed.plan;
    let facts = Facts { statement: &plan.statement, text: &plan.text, digest: plan.hash, user, schema };
    let rules = map::rules(config);
    let first = rules.first(&facts);
    let mut text = format!("statement  {}\ndigest     {:032x}\n", plan.text, plan.hash);
    // Writing to a String cannot fail.
    for (at, (rule, shown)) in rules.0.iter().zip(&config.rules).enumerate() {
        let matches = match rule.matches(&facts) {
            true if first.is_some_and(|(first, _)| first == at) => "matches",
            true => "(also)",
            false => "-",
        };
        let conditions = [
            ("schema", &shown.schema),
            ("table", &shown.table),
            ("user", &shown.user),
            ("digest", &shown.digest),
        ];
        let given = conditions.iter().filter(|(_, glob)| glob.as_str() != "*");
        let given: Vec<String> = given.map(|(key, glob)| format!("{key} = \"{glob}\"")).collect();
        let given = if given.is_empty() { "everything".to_owned() } else { given.join(", ") };
        let _ = writeln!(text, "rule {:<5} {matches:8} {:8} {given}", at + 1, word(rule.action));
    }
    let default = serde_json::to_value(config.policy.action).unwrap_or_default();
    let (action, why) = match (analysed.digest.tag, first) {
        (Some(tag), _) => (word(tag).to_owned(), "the comment in the statement".to_owned()),
        (None, Some((at, tag))) => (word(tag).to_owned(), format!("rule {}", at + 1)),
        (None, None) => (default.as_str().unwrap_or_default().to_owned(), "policy.action".to_owned()),
    };
    let _ = writeln!(text, "action     {action}, by {why}");
    text
}

fn word(tag: Tag) -> &'static str {
    match tag {
        Tag::Off => "off",
        Tag::Flag => "flag",
        Tag::Reorder => "reorder",
        Tag::Reject => "reject",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_shown_in_order_with_their_match() {
        let rules = "[[rules]]\naction = \"off\"\nuser = \"batch*\"\n\
                     [[rules]]\naction = \"reorder\"\ntable = \"orders\"\n\
                     [[rules]]\naction = \"flag\"\n";
        let config: Config = toml::from_str(rules).unwrap();
        let sql = "UPDATE orders SET a = 1 WHERE id = 7";
        let text = explain(&config, sql, "web", Some("shop"));
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0].join(" "), "statement UPDATE orders SET a = ? WHERE id = ?");
        assert_eq!(words[2][..4], ["rule", "1", "-", "off"]);
        assert_eq!(words[3][..4], ["rule", "2", "matches", "reorder"]);
        assert_eq!(words[4][..4], ["rule", "3", "(also)", "flag"]);
        assert_eq!(words[5].join(" "), "action reorder, by rule 2");
        let hinted = explain(&config, "/* interlock:off */ UPDATE orders SET a = 1", "web", None);
        assert!(hinted.ends_with("off, by the comment in the statement\n"), "{hinted}");
        assert!(explain(&Config::default(), sql, "", None).ends_with("flag, by policy.action\n"));
    }
}
