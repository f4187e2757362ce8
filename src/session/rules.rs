//! Which rule of the configuration a statement falls under.

use crate::sql::access::TableName;
use crate::sql::statement::Statement;
use crate::sql::tag::Tag;

/// The rules, in order.
#[derive(Clone, Debug, Default)]
pub struct Rules(pub Vec<Rule>);

/// One rule: all of its patterns must match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What is done, as a comment hint would say it.
    pub action: Tag,
    /// Schema of a table of the statement, or the default schema if it names no table.
    pub schema: Glob,
    /// Name of that table.
    pub table: Glob,
    /// The session's user.
    pub user: Glob,
    /// The statement's normalised text, or its digest in hexadecimal.
    pub digest: Glob,
}

/// A pattern: `*` stands for any text, `?` for any character; letters match in either case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob(Box<str>);

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The statement.
    pub statement: &'a Statement,
    /// Its normalised text.
    pub text: &'a str,
    /// Its digest.
    pub digest: u128,
    /// The session's user.
    pub user: &'a str,
    /// The session's default schema.
    pub schema: Option<&'a str>,
}

// === impl Rules ===

impl Rules {
    /// The position of the first rule that matches, and what it says.
    pub fn first(&self, facts: &Facts<'_>) -> Option<(usize, Tag)> {
        self.0.iter().position(|rule| rule.matches(facts)).map(|at| (at, self.0[at].action))
    }

    /// There are none: nothing has to be looked at.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    /// Do all of its patterns match?
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.user.matches(facts.user) && self.is_about(facts) && self.names(facts)
    }

    fn is_about(&self, facts: &Facts<'_>) -> bool {
        self.digest.matches(facts.text)
            || !self.digest.is_any() && self.digest.matches(&format!("{:032x}", facts.digest))
    }

    fn names(&self, facts: &Facts<'_>) -> bool {
        if self.schema.is_any() && self.table.is_any() {
            return true;
        }
        let tables = super::analyze::tables_named(facts.statement);
        let one = |table: &&TableName| {
            let schema = table.schema.as_deref().or(facts.schema).unwrap_or("");
            self.schema.matches(schema) && self.table.matches(&table.name)
        };
        match tables.as_slice() {
            [] => self.table.is_any() && self.schema.matches(facts.schema.unwrap_or("")),
            tables => tables.iter().any(one),
        }
    }
}

impl Glob {
    /// A pattern.
    pub fn new(pattern: &str) -> Glob {
        Glob(pattern.into())
    }

    fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// Does it match the whole text?
    pub fn matches(&self, text: &str) -> bool {
        if self.is_any() {
            return true;
        }
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where the last `*` was, and what it stands for so far: linear in practice, quadratic at worst.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(&c) if c == b'?' || c.eq_ignore_ascii_case(&text[t]) => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((at, from)) = star else { return false };
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::cache::PlanCache;
    use crate::sql::statement::SqlMode;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("shop", "SHOP", true),
            ("shop", "shops", false),
            ("shop*", "shop", true),
            ("*_log", "a_log_log", true),
            ("*_log", "a_logs", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("select * for update", "SELECT id FROM t WHERE x = ? FOR UPDATE", true),
            ("t?", "t1", true),
            ("t?", "t", false),
            ("", "", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    /// `"action schema table user digest"` for each rule.
    fn first(rules: &[[&str; 5]], sql: &str) -> Option<usize> {
        let tag = |word: &str| match word {
            "off" => Tag::Off,
            "flag" => Tag::Flag,
            _ => Tag::Reorder,
        };
        let rule = |r: &[&str; 5]| Rule {
            action: tag(r[0]),
            schema: Glob::new(r[1]),
            table: Glob::new(r[2]),
            user: Glob::new(r[3]),
            digest: Glob::new(r[4]),
        };
        let rules = Rules(rules.iter().map(rule).collect());
        let analysed = PlanCache::default().analyse(sql.as_bytes(), SqlMode::default());
        let plan = &analysed.plan;
        let facts = Facts {
            statement: &plan.statement,
            text: &plan.text,
            digest: plan.hash,
            user: "web",
            schema: Some("shop"),
        };
        rules.first(&facts).map(|(at, _)| at)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = [
            ["off", "*", "*", "batch", "*"],
            ["flag", "shop", "orders", "*", "*"],
            ["reorder", "audit", "*", "*", "*"],
            ["off", "*", "*", "*", "delete *"],
            ["flag", "sh*", "*", "*", "*"],
        ];
        assert_eq!(first(&rules, "UPDATE orders SET a = 1 WHERE id = 2"), Some(1));
        assert_eq!(first(&rules, "UPDATE audit.orders SET a = 1 WHERE id = 2"), Some(2));
        assert_eq!(first(&rules, "DELETE FROM items WHERE id = 2"), Some(3));
        assert_eq!(first(&rules, "SELECT * FROM items JOIN audit.log USING (id) FOR UPDATE"), Some(2));
        assert_eq!(first(&rules, "DO 1"), Some(4));
        assert_eq!(first(&rules[..4], "DO 1"), None);
    }
}
