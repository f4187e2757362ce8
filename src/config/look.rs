//! Where people and programs look at interlock: the admin address and the console.

use serde::{Deserialize, Serialize};

use super::{Address, Secret, unset};

/// The admin address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Metrics, health and the JSON API over HTTP; `None` opens no port.
    #[serde(with = "unset")]
    pub listen: Option<Address>,
    /// What a request must show to change something; `None`: nothing can be changed over HTTP.
    #[serde(with = "unset")]
    pub token: Option<Secret>,
    /// Names under which browsers may reach the page and the API, besides addresses and `localhost`.
    pub hosts: Vec<String>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { listen: Some(Address::tcp("127.0.0.1", 6034)), token: None, hosts: Vec::new() }
    }
}

/// The console: a MySQL port of interlock's own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where MySQL clients reach it; `None` opens no port.
    #[serde(with = "unset")]
    pub listen: Option<Address>,
    /// `name:hash`, the hash as MySQL's `mysql_native_password` writes it.
    pub users: Vec<Secret>,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        ConsoleConfig { listen: Some(Address::tcp("127.0.0.1", 6035)), users: Vec::new() }
    }
}
