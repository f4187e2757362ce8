//! Values that are shown to nobody: the URL of the control connections, tokens, password hashes.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// `mysql://user:password@host:port`. `Debug`, `Display` and serialisation mask the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct ControlUrl(String);

impl ControlUrl {
    /// The URL with its password, for the one place that logs in with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ControlUrl {
    fn from(text: String) -> Self {
        ControlUrl(text)
    }
}

impl fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ControlUrl {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&masked(&self.0))
    }
}

/// A token or a password hash. `Debug` and serialisation show `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// The secret, for the one place that compares with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str("***")
    }
}

/// The URL with `***` for its password. A text in which no password can be told apart is hidden whole.
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    // The last `@` ends the account: a password that was not percent-encoded may hold one.
    let Some((account, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    match account.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_masked() {
        let check = |url: &str, expected: &str| assert_eq!(masked(url), expected);
        check("mysql://u:secret@db:3306", "mysql://u:***@db:3306");
        check("mysql://u:se:cr@et@db:3306/x", "mysql://u:***@db:3306/x");
        check("mysql://u@db:3306", "mysql://u@db:3306");
        check("mysql://db", "mysql://db");
        check("u:secret@db", "***");
        assert_eq!(format!("{:?}", ControlUrl("mysql://u:secret@db".into())), "mysql://u:***@db");
    }
}
