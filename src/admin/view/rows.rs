//! The tables that the API, the console and the page show: one definition of each.
//!
//! A field is a column; its doc comment is the column's description in the OpenAPI file, in the console's
//! `HELP` and in its `information_schema.columns`. Nothing else describes them, so nothing can differ.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

/// Locks that open transactions hold, or have asked for and not yet been told about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Lock {
    /// Schema of the table.
    pub schema: String,
    /// Table that is locked.
    pub table: String,
    /// Index whose records or gaps are locked; `PRIMARY` is the clustered one.
    pub index: String,
    /// Number of the transaction.
    pub transaction: u64,
    /// Number of the session that runs it.
    pub session: Option<u64>,
    /// The server's `CONNECTION_ID()` of that session.
    pub server_thread: Option<u32>,
    /// `S` (shared) or `X` (exclusive).
    pub mode: String,
    /// What is locked: `record`, `gap`, `next-key`, `record or gap` (not known which), `insert intention`.
    pub kind: String,
    /// As the server writes it in `performance_schema.data_locks.LOCK_MODE`; null where that is not decided.
    pub lock_mode: Option<String>,
    /// `granted`: the statement was answered; `asked`: it is under way, the lock may be waited for.
    pub state: String,
    /// How sure the model is of it: `certain`, `likely` or `unknown`.
    pub certainty: String,
    /// Same text, same part of the index: a number without meaning outside of this process.
    pub place: String,
    /// The part of the index in words.
    pub range: String,
    /// First key that the statement named; `?` while literals are redacted.
    pub low: String,
    /// Where the named part ends.
    pub high: String,
}

/// Who waits for whom: held by interlock, or expected to wait at the server.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Wait {
    /// Number of the transaction that waits.
    pub waiter: u64,
    /// Number of its session.
    pub waiter_session: Option<u64>,
    /// The statement that waits.
    pub waiter_statement: Option<Arc<str>>,
    /// Number of the transaction that is waited for.
    pub holder: u64,
    /// Number of its session.
    pub holder_session: Option<u64>,
    /// The newest statement of that session.
    pub holder_statement: Option<Arc<str>>,
    /// `interlock`: it is held back; `server`: it has been passed on and is expected to wait there.
    pub at: String,
    /// How sure the model is of it.
    pub certainty: String,
}

/// Open transactions, oldest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Transaction {
    /// Number of the transaction; null while it has asked for no lock.
    pub transaction: Option<u64>,
    /// Number of its session.
    pub session: u64,
    /// The server's `CONNECTION_ID()`.
    pub server_thread: u32,
    /// User name.
    pub user: Arc<str>,
    /// Program name, if it told one.
    pub program: Option<String>,
    /// `running`, `idle`, `held` (by interlock), `waiting` (expected to, at the server) or `prepared` (XA).
    pub state: String,
    /// Milliseconds since it began.
    pub age_ms: f64,
    /// Statements since BEGIN.
    pub statements: u64,
    /// Its locks in the model, as far as they were looked at.
    pub locks: u64,
    /// Transactions that wait for it.
    pub blocks: u64,
    /// The newest statement.
    pub statement: Option<Arc<str>>,
}

/// Client connections, oldest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Session {
    /// Number of the session: what `KILL SESSION` takes.
    pub session: u64,
    /// The server's `CONNECTION_ID()`.
    pub server_thread: u32,
    /// User name.
    pub user: Arc<str>,
    /// The client's address.
    pub client: String,
    /// Program name, if it told one.
    pub program: Option<String>,
    /// `running`, `idle`, `held` or `waiting`.
    pub state: String,
    /// A transaction is open.
    pub in_transaction: bool,
    /// Number of the transaction that has asked for locks.
    pub transaction: Option<u64>,
    /// Milliseconds since it logged in.
    pub connected_ms: f64,
    /// The newest statement that reports remember: of the open transaction, or the last one.
    pub statement: Option<Arc<str>>,
}

/// Statements that interlock holds back now, oldest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Hold {
    /// Number of the hold: what `RELEASE HOLD` takes.
    pub hold: u64,
    /// Number of the held session.
    pub session: u64,
    /// The server's `CONNECTION_ID()` of that session.
    pub server_thread: Option<u32>,
    /// User name.
    pub user: Option<Arc<str>>,
    /// Its transaction.
    pub transaction: u64,
    /// The held statement.
    pub statement: Option<Arc<str>>,
    /// Milliseconds that it has been held.
    pub held_ms: f64,
    /// Milliseconds after which it goes on whatever is in its way.
    pub deadline_ms: f64,
    /// Transactions that it is held behind.
    pub behind: String,
    /// Number of the conflict that it is held for.
    pub conflict: u64,
}

/// Statements without their literals, since they came into the digest cache; most of the server's time first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Digest {
    /// The digest's number, 32 hexadecimal digits; the same in every process.
    pub digest: String,
    /// The statement.
    pub text: Arc<str>,
    /// Executions that were answered.
    pub executions: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that failed with a deadlock.
    pub deadlocks: u64,
    /// Conflicts that its executions met.
    pub conflicts: u64,
    /// Executions that were held.
    pub holds: u64,
    /// The server's time, milliseconds in all.
    pub server_ms: f64,
    /// The server's time, milliseconds on average.
    pub average_ms: f64,
}

impl Digest {
    /// A digest that nobody has run.
    pub fn new(hash: u128, text: Arc<str>) -> Digest {
        Digest {
            digest: format!("{hash:032x}"),
            text,
            executions: 0,
            errors: 0,
            deadlocks: 0,
            conflicts: 0,
            holds: 0,
            server_ms: 0.0,
            average_ms: 0.0,
        }
    }
}

/// Deadlocks that are remembered by the statements of their parties, the newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Signature {
    /// Name of the signature; the same deadlock has the same name in every process.
    pub signature: String,
    /// Parties of the deadlock.
    pub parties: u64,
    /// How the parties are known: from the `model`, from the report of the `server`, or by `chance`.
    pub known_by: String,
    /// How often it has happened.
    pub deadlocks: u64,
    /// How often it was about to form again.
    pub matches: u64,
    /// How many of the holds turned out needless.
    pub needless: u64,
    /// How far it is trusted, 0 to 1; needless holds lower it, another deadlock restores it.
    pub trust: f64,
    /// It is trusted enough to hold somebody.
    pub armed: bool,
    /// When it happened first, RFC 3339.
    pub first_seen: String,
    /// When it happened or matched last, RFC 3339.
    pub last_seen: String,
    /// The statements of each party, parties separated by ` | `.
    pub statements: String,
}

/// Conflicts that were found, newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Conflict {
    /// Number of the conflict: what `SHOW CONFLICT` takes.
    pub seq: u64,
    /// When it was found, RFC 3339.
    pub time: String,
    /// `hazard`, `wait` or `deadlock`.
    pub kind: String,
    /// Which known shape it has: `gap_then_insert`, `opposite_order` and the like.
    pub pattern: String,
    /// `before` the statement was passed on, or `after` the server had reported it.
    pub detected: String,
    /// How sure the model was.
    pub certainty: String,
    /// What interlock did: `flagged`, `held` or `rejected`.
    pub action: String,
    /// What came of it: `pending`, `happened`, `averted`, `restarted` or `did_not_happen`.
    pub outcome: String,
    /// The server's error, if it came to one.
    pub errno: Option<u16>,
    /// Milliseconds that the statement was held.
    pub held_ms: f64,
    /// With `flag`: `reorder` would have held this statement.
    pub would_hold: bool,
    /// With `flag`: for how long, milliseconds; 0 until all that stood in the way has ended.
    pub would_hold_ms: f64,
    /// Schema of the table.
    pub schema: String,
    /// Table where they met.
    pub table: String,
    /// Index where they met.
    pub index: String,
    /// The part of the index in words.
    pub range: String,
    /// Mode and kind that were asked for.
    pub mode: String,
    /// The name of the deadlock that once happened like this, if that is how it was found.
    pub signature: Option<String>,
    /// The session whose statement met it.
    pub session: u64,
    /// Its statement.
    pub statement: Option<Arc<str>>,
    /// The sessions in the way.
    pub holders: String,
    /// Their newest statements.
    pub holder_statements: String,
}

/// interlock's state in figures.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Status {
    /// interlock's version.
    pub version: String,
    /// The strongest thing that is done about a conflict: `flag`, `reorder` or `reject`.
    pub action: String,
    /// Literals are replaced by `?` in all that is shown.
    pub redact: bool,
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// Client connections now.
    pub sessions: u64,
    /// Transactions now that have asked for locks.
    pub transactions: u64,
    /// Locks in the model now.
    pub locks: u64,
    /// Edges in the wait-for graph now.
    pub wait_edges: u64,
    /// Statements held now.
    pub held: u64,
    /// Conflicts found since the start.
    pub conflicts: u64,
    /// Conflicts that would have come to something, but for interlock.
    pub averted: u64,
    /// Conflicts that were foreseen and happened.
    pub happened: u64,
    /// Conflicts that were foreseen and did not happen.
    pub did_not_happen: u64,
    /// Deadlock errors of the server that had been foreseen.
    pub deadlocks_foreseen: u64,
    /// Deadlock errors of the server that had not.
    pub deadlocks_missed: u64,
    /// Cycles found in the order in which transactions lock: deadlocks that may come.
    pub hazards: u64,
    /// Holds that ended.
    pub holds: u64,
    /// Seconds that statements were held, in all.
    pub held_seconds: f64,
    /// Statements that were refused with error 1213.
    pub rejected: u64,
    /// Deadlock victims whose transaction was run again: their clients have noticed nothing but time.
    pub restarted: u64,
}
