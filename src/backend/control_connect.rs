//! One control connection: TLS, log-in, session settings, and what the server says of itself.

use std::time::{Duration, SystemTime};

use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};

use super::control::{ControlError, ControlOptions, ControlTls, ControlTlsMode};
use crate::catalog::{Flavour, ServerFacts};

/// Opens control connections.
#[derive(Debug)]
pub struct Connector {
    opts: Opts,
    /// For `preferred`: the same without TLS, if the server has none.
    plain: Option<Opts>,
    timeout: Duration,
}

/// Global values that the model needs. MariaDB calls the isolation level `tx_isolation` before 11.1, and
/// `SHOW VARIABLES` is no error for a name that does not exist.
const FACTS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'transaction_isolation', \
     'tx_isolation', 'autocommit', 'innodb_lock_wait_timeout', 'innodb_rollback_on_timeout', \
     'innodb_autoinc_lock_mode', 'lower_case_table_names')";

/// Seconds since 1970 on the server's clock, in its time zone.
const CLOCK: &str = "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', NOW())";

impl Connector {
    /// Fails if the URL cannot be used.
    pub fn new(options: &ControlOptions) -> Result<Connector, ControlError> {
        let opts = Opts::from_url(&options.url)?;
        let builder = OptsBuilder::from_opts(opts)
            // The driver would ask for the server's socket and connect again through it; the URL says where.
            .prefer_socket(false)
            .stmt_cache_size(0)
            .connect_attribute("program_name", "interlock-control")
            .tcp_keepalive(Some(Duration::from_secs(60)));
        let plain = Opts::from(builder.clone().ssl_opts(None));
        let secure = ssl_opts(&options.tls).map(|ssl| Opts::from(builder.ssl_opts(ssl)));
        let (opts, plain) = match (secure, options.tls.mode) {
            (None, _) => (plain, None),
            (Some(secure), ControlTlsMode::Preferred) => (secure, Some(plain)),
            (Some(secure), _) => (secure, None),
        };
        Ok(Connector { opts, plain, timeout: options.connect_timeout })
    }

    /// Connects, logs in, prepares the session. `statement_timeout` is what the server allows a statement.
    pub async fn connect(&self, statement_timeout: Duration) -> Result<(Conn, ServerFacts), ControlError> {
        let whole = async {
            let mut conn = self.log_in().await?;
            let mut facts = facts(conn.query(FACTS).await?);
            facts.clock_ahead = clock_ahead(conn.query_first(CLOCK).await?);
            conn.query_drop(settings(facts.flavour, statement_timeout)).await?;
            Ok((conn, facts))
        };
        match tokio::time::timeout(self.timeout, whole).await {
            Err(_) => Err(ControlError::TimedOut),
            Ok(result) => result.map_err(error),
        }
    }

    async fn log_in(&self) -> Result<Conn, Error> {
        match (Conn::new(self.opts.clone()).await, &self.plain) {
            (Err(Error::Driver(DriverError::NoClientSslFlagFromServer)), Some(plain)) => {
                Conn::new(plain.clone()).await
            }
            (result, _) => result,
        }
    }
}

/// An error of the driver: an answer of the server, or the end of the connection?
pub fn error(error: Error) -> ControlError {
    match error {
        Error::Server(error) => ControlError::Server(error.code, error.message),
        Error::Url(error) => ControlError::Url(error),
        error => ControlError::Connection(error.to_string()),
    }
}

fn ssl_opts(tls: &ControlTls) -> Option<SslOpts> {
    let accept_any = match tls.mode {
        ControlTlsMode::Disabled => return None,
        ControlTlsMode::Preferred | ControlTlsMode::Required => true,
        ControlTlsMode::VerifyCa | ControlTlsMode::VerifyIdentity => false,
    };
    let roots = tls.ca.iter().map(|ca| ca.clone().into()).collect();
    let identity =
        tls.identity.as_ref().map(|(cert, key)| ClientIdentity::new(cert.clone().into(), key.clone().into()));
    let opts = SslOpts::default()
        .with_root_certs(roots)
        // rustls wants at least one root even if nothing is verified.
        .with_disable_built_in_roots(!accept_any)
        .with_danger_accept_invalid_certs(accept_any)
        .with_danger_skip_domain_validation(tls.mode != ControlTlsMode::VerifyIdentity)
        .with_danger_tls_hostname_override(tls.server_name.clone())
        .with_client_identity(identity);
    Some(opts)
}

/// Session settings in one text.
///
/// An empty `sql_mode` makes literals and identifiers mean what this crate writes. Nothing here may wait for
/// a lock, or hold one: reads are uncommitted, and lock waits end after a second.
fn settings(flavour: Flavour, statement_timeout: Duration) -> String {
    let limit = match flavour {
        Flavour::MySql => format!("max_execution_time = {}", statement_timeout.as_millis().max(1)),
        Flavour::MariaDb => format!("max_statement_time = {}", statement_timeout.as_secs_f64().max(0.001)),
    };
    format!(
        "SET NAMES utf8mb4; SET SESSION sql_mode = '', autocommit = 1, lock_wait_timeout = 1, \
         innodb_lock_wait_timeout = 1, {limit}; SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"
    )
}

/// How far a clock is ahead of this machine's in UTC.
fn clock_ahead(theirs: Option<i64>) -> i64 {
    let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    theirs.map_or(0, |theirs| theirs - i64::try_from(ours).unwrap_or(0))
}

/// Reads the answer to [`FACTS`]; what is missing keeps its default.
fn facts(variables: Vec<(String, String)>) -> ServerFacts {
    let mut facts = ServerFacts::default();
    let on = |value: &str| matches!(value, "ON" | "1");
    for (name, value) in variables {
        match name.to_ascii_lowercase().as_str() {
            "version" => {
                if value.contains("MariaDB") {
                    facts.flavour = Flavour::MariaDb;
                }
                facts.version = value;
            }
            "transaction_isolation" | "tx_isolation" => facts.isolation = value,
            "autocommit" => facts.autocommit = on(&value),
            "innodb_lock_wait_timeout" => {
                facts.lock_wait_timeout = value.parse().unwrap_or(facts.lock_wait_timeout);
            }
            "innodb_rollback_on_timeout" => facts.rollback_on_timeout = on(&value),
            "innodb_autoinc_lock_mode" => {
                facts.autoinc_lock_mode = value.parse().unwrap_or(facts.autoinc_lock_mode);
            }
            "lower_case_table_names" => {
                facts.lower_case_table_names = value.parse().unwrap_or(facts.lower_case_table_names);
            }
            _ => {}
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_variables() {
        let list = [
            ("version", "10.11.6-MariaDB-log"),
            ("tx_isolation", "READ-COMMITTED"),
            ("autocommit", "OFF"),
            ("innodb_lock_wait_timeout", "7"),
            ("innodb_rollback_on_timeout", "ON"),
            ("innodb_autoinc_lock_mode", "1"),
            ("lower_case_table_names", "2"),
        ];
        let facts = facts(list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        assert_eq!(
            facts,
            ServerFacts {
                flavour: Flavour::MariaDb,
                version: "10.11.6-MariaDB-log".to_owned(),
                isolation: "READ-COMMITTED".to_owned(),
                autocommit: false,
                lock_wait_timeout: 7,
                rollback_on_timeout: true,
                autoinc_lock_mode: 1,
                lower_case_table_names: 2,
                clock_ahead: 0,
            }
        );
    }

    #[test]
    fn a_clock_is_ahead_by_its_time_zone() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let hours = clock_ahead(Some(now + 2 * 3_600));
        assert!((2 * 3_600 - 2..=2 * 3_600).contains(&hours), "{hours}");
        assert_eq!(clock_ahead(None), 0);
    }

    #[test]
    fn each_flavour_limits_statements_in_its_own_way() {
        let limit = Duration::from_millis(20);
        assert!(settings(Flavour::MySql, limit).contains("max_execution_time = 20"));
        assert!(settings(Flavour::MariaDb, limit).contains("max_statement_time = 0.02"));
    }
}
