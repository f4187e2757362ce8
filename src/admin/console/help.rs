//! What HELP shows.

/// Statement, and what it does.
pub(super) const HELP: &[(&str, &str)] = &[
    ("SHOW CONFLICTS", "conflicts that were found, newest first"),
    ("SHOW CONFLICT n", "one of them: what both sessions did, side by side"),
    ("SHOW LOCKS", "locks that open transactions hold or ask for"),
    ("SHOW WAITS", "who waits for whom"),
    ("SHOW TRANSACTIONS", "open transactions, oldest first"),
    ("SHOW SESSIONS", "client connections"),
    ("SHOW HOLDS", "statements that are held back now"),
    ("SHOW DIGESTS", "statements without their literals, and what became of them"),
    ("SHOW SIGNATURES", "deadlocks that are remembered by the statements of their parties"),
    ("SHOW STATUS", "figures since the start"),
    ("SHOW VARIABLES", "the configuration in force"),
    (
        "SELECT … FROM interlock.locks WHERE … ORDER BY … LIMIT …",
        "the same as tables; WHERE also after SHOW LOCKS and its like",
    ),
    ("SELECT * FROM interlock.conflicts_reset", "read conflicts (or digests) and clear them"),
    ("DESCRIBE interlock.locks", "the columns of a table and what they say"),
    ("RELEASE HOLD n", "let a held statement go on"),
    ("KILL SESSION n", "close a session; its transaction is rolled back"),
    (
        "SET action = 'flag' | 'reorder' | 'reject'",
        "what is done about conflicts, until a restart, or until the configuration file says something else than now",
    ),
    ("RELOAD CONFIG", "read the configuration again"),
    ("HELP, or SHOW HELP", "this; some clients keep HELP for themselves"),
];
