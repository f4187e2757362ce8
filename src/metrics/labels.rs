//! The labels of the families: closed sets, without values of users.

use super::label::{label, label_for};
use crate::lock::mode::Certainty;
use crate::scheduler::conflict::{ConflictKind, HoldEnd, Taken};
use crate::sql::statement::OpaqueReason;

label! {
    /// How a connection ended.
    ConnectionEnd = "end" {
        /// The client said goodbye, or closed after its login.
        Client = "client",
        /// The server closed.
        Server = "server",
        /// Over `frontend.max_connections`.
        Refused = "refused",
        /// The server could not be reached.
        Unreachable = "unreachable",
        /// The server refused the login.
        Denied = "denied",
        /// The login was not complete in time, or the client left before.
        Login = "login",
        /// TLS was missing or failed.
        Tls = "tls",
        /// A connection failed, or spoke nonsense.
        Error = "error",
        /// interlock shut down.
        Shutdown = "shutdown",
        /// An operator closed the session.
        Killed = "killed",
    }
}

label! {
    /// Kinds of commands.
    CommandKind = "command" {
        /// COM_QUERY
        Query = "query",
        /// COM_STMT_PREPARE
        Prepare = "prepare",
        /// COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE
        Execute = "execute",
        /// COM_STMT_FETCH
        Fetch = "fetch",
        /// COM_STMT_CLOSE, COM_STMT_RESET, COM_STMT_SEND_LONG_DATA
        Statement = "statement",
        /// COM_INIT_DB
        InitDb = "init_db",
        /// COM_PING
        Ping = "ping",
        /// COM_RESET_CONNECTION
        Reset = "reset_connection",
        /// COM_CHANGE_USER
        ChangeUser = "change_user",
        /// COM_QUIT
        Quit = "quit",
        /// Everything else: relayed.
        Other = "other",
    }
}

label! {
    /// Kinds of statements, as the analysis read them.
    StatementKind = "kind" {
        /// A read that locks nothing.
        Select = "select",
        /// A locking read.
        LockingSelect = "locking_select",
        /// INSERT, REPLACE
        Insert = "insert",
        /// UPDATE
        Update = "update",
        /// DELETE
        Delete = "delete",
        /// Begin, commit, rollback, savepoints, XA.
        Transaction = "transaction",
        /// SET, USE
        Session = "session",
        /// LOCK TABLES, UNLOCK TABLES
        TableLock = "table_lock",
        /// Data definition.
        Ddl = "ddl",
        /// CALL, DO, HANDLER, LOAD DATA, …
        Routine = "routine",
        /// SHOW, EXPLAIN, KILL, …
        Harmless = "harmless",
        /// Not understood.
        Opaque = "opaque",
    }
}

label! {
    /// Which way bytes went.
    Direction = "direction" {
        /// From the client to the server.
        ToServer = "to_server",
        /// From the server to the client.
        ToClient = "to_client",
    }
}

label! {
    /// What came of reading the configuration again.
    Reloaded = "result" {
        /// Something changed, or would after a restart.
        Applied = "applied",
        /// It says what is in force; certificates were read again.
        Unchanged = "unchanged",
        /// It is faulty: the old one stays.
        Refused = "refused",
    }
}

label! {
    /// What came of a prediction.
    Prediction = "outcome" {
        /// What was predicted came.
        Hit = "hit",
        /// interlock kept the statement back, so it did not come.
        Averted = "averted",
        /// It did not come.
        FalseAlarm = "false_alarm",
        /// It came without having been predicted.
        Miss = "miss",
    }
}

label! {
    /// What the statements of a conflict do to each other: a closed set of shapes that are known to end in
    /// deadlocks or queues, each with advice of its own.
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    Pattern = "pattern" {
        /// Both found nothing and locked the gap; then each inserts into it.
        GapThenInsert = "gap_then_insert",
        /// An insert meets the range lock of a search that found rows (a scan, a poll, a clean-up).
        RangeAndInsert = "range_and_insert",
        /// Both read with a shared lock, then one changes what both have read.
        SharedThenExclusive = "shared_then_exclusive",
        /// Two transactions lock the same rows or tables in opposite order.
        OppositeOrder = "opposite_order",
        /// Two inserts of one unique key.
        DuplicateKey = "duplicate_key",
        /// Several workers claim rows of one queue.
        QueueClaim = "queue_claim",
        /// Several transactions change one row.
        HotRow = "hot_row",
        /// Overlapping searches of many rows.
        OverlappingRanges = "overlapping_ranges",
        /// What once ended in a deadlock was about to form again: its signature says so, where is not known.
        KnownDeadlock = "known_deadlock",
        /// None of these.
        Other = "other",
    }
}

label! {
    /// Was the server's deadlock known before?
    Predicted = "predicted" {
        /// It was.
        Yes = "yes",
        /// It was not.
        No = "no",
    }
}

label! {
    /// Why a statement went on without the model's advice.
    FailOpen = "reason" {
        /// Not read: syntax.
        Syntax = "syntax",
        /// Not read: longer than `frontend.max_statement_bytes`.
        TooLong = "too_long",
        /// Not read: no text of a known character set.
        NotText = "not_text",
        /// Read, but of a shape that the model does not know.
        Shape = "shape",
        /// A prepared statement beyond `limits.prepared_statements`.
        PreparedLimit = "prepared_limit",
        /// More locks than `limits.locks_per_transaction`.
        LockLimit = "lock_limit",
        /// More locks of all sessions together than `limits.locks`.
        LockTableFull = "lock_table_full",
        /// More savepoints than `limits.savepoints`.
        SavepointLimit = "savepoint_limit",
        /// The definition of a table is not known.
        TableNotLoaded = "table_not_loaded",
        /// SKIP LOCKED: which rows is the server's choice.
        SkipLocked = "skip_locked",
        /// A trigger runs statements that are not seen.
        Trigger = "trigger",
        /// INSERT … SELECT
        InsertSelect = "insert_select",
        /// A list of too many rows.
        ManyRows = "many_rows",
        /// A routine runs statements that are not seen.
        Routine = "routine",
        /// `reorder.max_queue` or `reorder.max_held`.
        HoldLimit = "hold_limit",
        /// Something else.
        Other = "other",
    }
}

label! {
    /// How the load of a table's definition ended.
    CatalogLoad = "result" {
        /// A new definition.
        Loaded = "loaded",
        /// The same as before.
        Unchanged = "unchanged",
        /// No such table, or not visible.
        Absent = "absent",
        /// The table changed meanwhile.
        Outdated = "outdated",
        /// The server could not be asked.
        Failed = "failed",
    }
}

label! {
    /// How a neighbour probe ended.
    Probe = "result" {
        /// Answered.
        Answered = "answered",
        /// Cannot be asked.
        Unsupported = "unsupported",
        /// No answer in time.
        TimedOut = "timed_out",
        /// Too many at a time.
        Busy = "busy",
        /// The server could not be asked, or answered with an error.
        Failed = "failed",
    }
}

label! {
    /// What came of taking the name of a gap on the server.
    Coordination = "outcome" {
        /// The name was free: it came within two milliseconds.
        Taken = "taken",
        /// Another connection had it and gave it back in time; or the server took long.
        Waited = "waited",
        /// Another connection had it until the time was over.
        TimedOut = "timed_out",
        /// Another connection had it, and the session could not wait: it has locks that others may want.
        NotFree = "not_free",
        /// The server saw a cycle.
        Cycle = "cycle",
        /// The statement was killed while it waited.
        Killed = "killed",
        /// The server refused the question.
        Refused = "refused",
        /// Not asked for: the client would notice, or the session's state forbids it.
        Skipped = "skipped",
        /// The server reported a deadlock all the same to a transaction that had a name.
        Deadlocked = "deadlocked",
    }
}

label! {
    /// What came of a deadlock whose victim's transaction was to be run again.
    Restarted = "outcome" {
        /// It was: the client has noticed nothing but time.
        Done = "done",
        /// An answer was another one than the client had seen.
        Differs = "differs",
        /// It has run what cannot be repeated, or nothing is known of it.
        NotRepeatable = "not_repeatable",
        /// Over `reorder.retry_max_bytes`.
        TooLarge = "too_large",
        /// It has met deadlocks too often.
        DeadlockedAgain = "deadlocked_again",
        /// A table of another engine has kept its changes, or the server does not say that none has.
        NotUndone = "not_undone",
        /// It was killed while it was held.
        Killed = "killed",
        /// The client or the server left meanwhile.
        ClientGone = "client_gone",
    }
}

label! {
    /// How a question for an access path ended.
    Explain = "result" {
        /// Answered.
        Answered = "answered",
        /// The server could not be asked, or answered with an error.
        Failed = "failed",
    }
}

label! {
    /// What became of a conflict's record.
    RecordFate = "fate" {
        /// Kept in memory.
        Kept = "kept",
        /// Pushed out of memory by a newer one.
        PushedOut = "pushed_out",
        /// Written to the file.
        Written = "written",
        /// The file could not be written, or not fast enough.
        Lost = "lost",
    }
}

label! {
    /// Where the time of statements went.
    TimeSpent = "where" {
        /// The server, from a command's last byte to its answer's first.
        Server = "server",
        /// interlock: reading, locks, decision.
        Analysis = "analysis",
        /// Held.
        Held = "held",
    }
}

label_for!(ConflictKind = "kind" { Hazard = "hazard", Wait = "wait", Deadlock = "deadlock", });
label_for!(Taken = "action" { Flagged = "flagged", Held = "held", Rejected = "rejected", });
label_for!(Certainty = "certainty" { Unknown = "unknown", Likely = "likely", Certain = "certain", });
label_for!(HoldEnd = "end" {
    Released = "released",
    HolderStalled = "holder_stalled",
    Deadline = "deadline",
    ClientGone = "client_gone",
    Killed = "killed",
    Operator = "operator",
    Shutdown = "shutdown",
});

impl CommandKind {
    /// The kind of a command byte (`COM_*`).
    pub fn of(code: u8) -> CommandKind {
        match code {
            0x01 => CommandKind::Quit,
            0x02 => CommandKind::InitDb,
            0x03 => CommandKind::Query,
            0x0e => CommandKind::Ping,
            0x11 => CommandKind::ChangeUser,
            0x16 => CommandKind::Prepare,
            0x17 | 0xfa => CommandKind::Execute,
            0x18..=0x1a => CommandKind::Statement,
            0x1c => CommandKind::Fetch,
            0x1f => CommandKind::Reset,
            _ => CommandKind::Other,
        }
    }
}

impl FailOpen {
    /// The reason that the intent gives as a word; words that are not known here are `Other`.
    pub fn of(word: &str) -> FailOpen {
        use super::label::Label;
        FailOpen::ALL.iter().copied().find(|reason| reason.text() == word).unwrap_or(FailOpen::Other)
    }
}

impl From<OpaqueReason> for FailOpen {
    fn from(reason: OpaqueReason) -> FailOpen {
        match reason {
            OpaqueReason::Syntax => FailOpen::Syntax,
            OpaqueReason::TooLong => FailOpen::TooLong,
            OpaqueReason::NotText => FailOpen::NotText,
            OpaqueReason::Shape => FailOpen::Shape,
        }
    }
}

/// A MySQL error number; numbers that are not in the list below are counted as `other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(usize);

/// Numbers with a series of their own, ascending. They are the ones that tell of logins, locks, keys and
/// lost connections; the text is the label.
const ERRNOS: &[(u16, &str)] = &[
    (1040, "1040"),
    (1044, "1044"),
    (1045, "1045"),
    (1049, "1049"),
    (1053, "1053"),
    (1054, "1054"),
    (1062, "1062"),
    (1064, "1064"),
    (1129, "1129"),
    (1146, "1146"),
    (1153, "1153"),
    (1158, "1158"),
    (1159, "1159"),
    (1160, "1160"),
    (1161, "1161"),
    (1205, "1205"),
    (1213, "1213"),
    (1216, "1216"),
    (1217, "1217"),
    (1290, "1290"),
    (1317, "1317"),
    (1451, "1451"),
    (1452, "1452"),
    (1467, "1467"),
    (1614, "1614"),
    (1792, "1792"),
    (1836, "1836"),
    (1927, "1927"),
    (1969, "1969"),
    (2002, "2002"),
    (2003, "2003"),
    (2006, "2006"),
    (2013, "2013"),
    (3024, "3024"),
    (3058, "3058"),
    (3572, "3572"),
];

impl Errno {
    /// The label of an error number.
    pub fn of(code: u16) -> Errno {
        Errno(ERRNOS.binary_search_by_key(&code, |(number, _)| *number).unwrap_or(ERRNOS.len()))
    }
}

impl super::label::Labels for Errno {
    fn names() -> Vec<&'static str> {
        vec!["errno"]
    }

    fn series() -> Vec<Vec<&'static str>> {
        ERRNOS.iter().map(|(_, text)| vec![*text]).chain([vec!["other"]]).collect()
    }

    fn index(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::label::Labels;

    #[test]
    fn errnos_are_found() {
        assert!(ERRNOS.is_sorted_by_key(|(number, _)| *number));
        assert!(ERRNOS.iter().all(|(number, text)| number.to_string() == *text));
        assert_eq!(Errno::series()[Errno::of(1213).index()], ["1213"]);
        assert_eq!(Errno::series()[Errno::of(1).index()], ["other"]);
    }

    #[test]
    fn words_of_the_intent_are_reasons() {
        assert_eq!(FailOpen::of("insert_select"), FailOpen::InsertSelect);
        assert_eq!(FailOpen::of("never heard"), FailOpen::Other);
    }
}
