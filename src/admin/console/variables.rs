//! `SHOW VARIABLES` and `@@name`: the configuration in force, and what clients ask of every server.

use super::Console;

/// What clients ask for before they do anything, with the answers of a server that has little.
const OF_EVERY_SERVER: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("autocommit", "ON"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("character_set_system", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("collation_database", "utf8mb4_general_ci"),
    ("collation_server", "utf8mb4_general_ci"),
    ("datadir", ""),
    ("default_storage_engine", "interlock"),
    ("event_scheduler", "OFF"),
    ("foreign_key_checks", "ON"),
    ("have_ssl", "DISABLED"),
    ("hostname", "interlock"),
    ("init_connect", ""),
    ("interactive_timeout", "28800"),
    ("license", "Apache-2.0"),
    ("lower_case_table_names", "1"),
    ("max_allowed_packet", "1048576"),
    ("net_buffer_length", "16384"),
    ("net_read_timeout", "60"),
    ("net_write_timeout", "60"),
    ("performance_schema", "OFF"),
    ("port", "0"),
    ("query_cache_size", "0"),
    ("query_cache_type", "OFF"),
    ("read_only", "ON"),
    ("server_id", "0"),
    ("socket", ""),
    ("sql_auto_is_null", "OFF"),
    ("sql_mode", ""),
    ("sql_safe_updates", "OFF"),
    ("sql_select_limit", "18446744073709551615"),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("transaction_read_only", "OFF"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("tx_read_only", "OFF"),
    ("unique_checks", "ON"),
    ("version_comment", "interlock console"),
    ("version_compile_machine", std::env::consts::ARCH),
    ("version_compile_os", std::env::consts::OS),
    ("wait_timeout", "28800"),
];

/// The version that clients see: they read the number to know what they may ask.
pub(super) fn version() -> String {
    format!("8.0.99-interlock-{}", env!("CARGO_PKG_VERSION"))
}

/// The configuration first, then what clients want to know of every server.
pub(super) fn variables(console: &Console) -> Vec<(String, String)> {
    let mut variables = (console.variables)();
    variables.push(("action".to_owned(), (console.view.action)()));
    variables.push(("version".to_owned(), version()));
    variables.extend(OF_EVERY_SERVER.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    variables
}
