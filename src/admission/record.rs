//! A conflict as it is shown: `GET /api/conflicts`.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::advice::Advice;
use super::comment::Tags;
use super::deadlock::Reported;
use super::groups::GroupId;
use crate::id::SessionId;
use crate::lock::mode::Certainty;
use crate::metrics::labels::Pattern;
use crate::scheduler::conflict::{ConflictKind, Taken};

/// One conflict.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Record {
    /// Counts up from 1.
    pub seq: u64,
    /// When it was found, RFC 3339.
    pub time: String,
    /// Hazard, wait or deadlock.
    #[schemars(with = "String")]
    pub kind: ConflictKind,
    /// Which known shape it has.
    #[schemars(with = "String")]
    pub pattern: Pattern,
    /// Before the statement was passed on, or after the server had reported it.
    pub detected: Detected,
    /// How sure the model was.
    #[schemars(with = "String")]
    pub certainty: Certainty,
    /// What interlock did.
    #[schemars(with = "String")]
    pub action: Taken,
    /// What came of it.
    pub outcome: Outcome,
    /// The server's error, if it came to one.
    pub errno: Option<u16>,
    /// How long the statement was held, milliseconds.
    pub held_ms: f64,
    /// With `flag`: `reorder` would have held this statement.
    pub would_hold: bool,
    /// With `flag`: for how long, milliseconds; 0 until all that stood in the way has ended.
    pub would_hold_ms: f64,
    /// Where. All empty if only the statements told of it.
    pub resource: Resource,
    /// The name of the deadlock that once happened like this, if that is how it was found.
    pub signature: Option<String>,
    /// Whose statement met the conflict; of a deadlock, the party that the server is expected to choose as its
    /// victim.
    pub requester: Party,
    /// Who was in the way.
    pub holders: Vec<Party>,
    /// Conflicts of one kind are counted together under this name.
    #[schemars(with = "String")]
    pub group: GroupId,
    /// What to change in the application, and why.
    pub advice: Arc<[Advice]>,
    /// The parties of the deadlock as the server reports it, if it was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<Reported>>")]
    pub server: Vec<Reported>,
    /// The server is being asked.
    #[serde(skip)]
    pub asking: bool,
    /// The session whose transaction is being run again because of it.
    #[serde(skip)]
    pub restarting: Option<SessionId>,
}

impl Record {
    /// More will be known of it.
    pub(super) fn is_open(&self) -> bool {
        self.outcome == Outcome::Pending || self.asking || self.restarting.is_some()
    }
}

/// When a conflict was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detected {
    /// Before the statement was passed on.
    Before,
    /// The server has reported it.
    After,
}

/// What came of a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// The wait or the deadlock came.
    Happened,
    /// It would have come, but for interlock.
    Averted,
    /// It did not come.
    DidNotHappen,
    /// It came, but the victim's transaction was run again (`reorder.retry`): its client has not noticed.
    Restarted,
}

/// A place in the database.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Resource {
    /// Schema.
    pub schema: String,
    /// Table.
    pub table: String,
    /// Index.
    pub index: String,
    /// Columns of the index, in order.
    pub columns: Vec<String>,
    /// Which part of the index, in words.
    pub range: String,
    /// All of it in words: "the gap of `batch.server_id` between 7 and 12".
    pub place: String,
    /// The mode and kind that were asked for: `X insert intention`.
    pub mode: String,
}

/// A session in a conflict.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Party {
    /// interlock's number.
    pub session: u64,
    /// The server's `CONNECTION_ID()`.
    pub server_thread: u32,
    /// User name.
    pub user: Arc<str>,
    /// Program name, if it told one.
    pub program: Option<String>,
    /// The connection's attributes, as the client told them.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// Milliseconds since its transaction began, when the conflict was found: aligns the parties' times.
    pub age_ms: f64,
    /// Its newest statement.
    pub statement: Option<Arc<str>>,
    /// The number of that one's digest.
    #[serde(skip)]
    pub digest: u128,
    /// Its statements since BEGIN.
    pub transaction: Arc<[Step]>,
}

/// One statement of a transaction.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Step {
    /// Milliseconds since the transaction began.
    pub at_ms: f64,
    /// When its locks were known to be held, on the same clock; nothing if it took none, or is under way.
    pub answered_ms: Option<f64>,
    /// The statement; literals are replaced by `?` unless `redact = false`.
    pub statement: Arc<str>,
    /// What its comment says of where it comes from (sqlcommenter).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Tags,
    /// The locks that it took.
    pub locks: Arc<[Resource]>,
    /// How many more there are.
    pub more_locks: usize,
}
