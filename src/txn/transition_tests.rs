//! Conversations and what they leave behind.

use super::effect::{After, Effect, Ending, Outcome, Runs};
use super::state::{Open, SessionDefaults, TransactionState, XaState};
use crate::sql::cache::PlanCache;
use crate::sql::statement::{Isolation, SqlMode, Statement};

const IN: u16 = 1;
const AUTO: u16 = 2;

struct Session {
    state: TransactionState,
    cache: PlanCache,
}

impl Session {
    fn new() -> Self {
        Session::with(SessionDefaults::default())
    }

    fn with(defaults: SessionDefaults) -> Self {
        Session { state: TransactionState::new(defaults, None), cache: PlanCache::default() }
    }

    fn plan(&mut self, text: &str) -> Statement {
        self.cache.analyse(text.as_bytes(), SqlMode::default()).plan.statement.clone()
    }

    fn before(&mut self, text: &str) -> Effect {
        let statement = self.plan(text);
        self.state.before(&statement)
    }

    fn ok(&mut self, text: &str, status: u16) -> After {
        let statement = self.plan(text);
        self.state.after(&statement, Outcome::Ok { status })
    }

    fn error(&mut self, text: &str, code: u16) -> After {
        let statement = self.plan(text);
        self.state.after(&statement, Outcome::Error { code })
    }
}

const COMMITTED: After = After::Ended(Ending::Committed);
const ROLLED_BACK: After = After::Ended(Ending::RolledBack);

#[test]
fn begin_and_commit() {
    let mut s = Session::new();
    assert!(s.before("BEGIN").begins);
    assert_eq!(s.ok("BEGIN", IN | AUTO), After::Continues);
    assert_eq!((s.state.open(), s.state.number()), (Open::Explicit, 1));
    assert_eq!(s.before("SELECT * FROM t FOR UPDATE").runs, Runs::Transaction);
    assert_eq!(s.before("SELECT * FROM t FOR UPDATE").transaction, 1);
    assert_eq!(s.ok("SELECT * FROM t FOR UPDATE", IN | AUTO), After::Continues);
    assert_eq!(s.before("COMMIT").ends, Some(Ending::Committed));
    assert_eq!(s.ok("COMMIT", AUTO), COMMITTED);
    assert_eq!(s.state.open(), Open::No);
}

#[test]
fn autocommit_statements_are_transactions_of_their_own() {
    let mut s = Session::new();
    assert_eq!(s.before("UPDATE t SET a = 1").runs, Runs::Alone);
    assert_eq!(s.before("UPDATE t SET a = 1").transaction, 1);
    assert_eq!(s.ok("UPDATE t SET a = 1", AUTO), COMMITTED);
    assert_eq!(s.error("UPDATE t SET a = 1", 1062), ROLLED_BACK);
    assert_eq!(s.state.number(), 2);
    assert_eq!(s.ok("SELECT 1", AUTO), After::Continues);
    assert_eq!(s.state.number(), 2);
}

#[test]
fn begin_inside_a_transaction_commits_it_without_a_zero_between() {
    let mut s = Session::new();
    s.ok("BEGIN", IN | AUTO);
    let effect = s.before("START TRANSACTION");
    assert_eq!((effect.ends, effect.begins, effect.transaction), (Some(Ending::Committed), true, 2));
    assert_eq!(s.ok("START TRANSACTION", IN | AUTO), COMMITTED);
    assert_eq!((s.state.is_open(), s.state.number()), (true, 2));
    assert_eq!(s.ok("COMMIT AND CHAIN", IN | AUTO), COMMITTED);
    assert_eq!((s.state.open(), s.state.number()), (Open::Explicit, 3));
    assert_eq!(s.ok("ROLLBACK AND CHAIN", IN | AUTO), ROLLED_BACK);
    assert_eq!((s.state.is_open(), s.state.number()), (true, 4));
}

#[test]
fn autocommit_off() {
    let mut s = Session::new();
    s.ok("SET autocommit = 0", 0);
    assert!(!s.state.autocommit());
    assert_eq!(s.before("SELECT 1").runs, Runs::Outside);
    s.ok("SELECT 1", 0);
    assert!(!s.state.is_open());
    let effect = s.before("SELECT * FROM t");
    assert_eq!((effect.runs, effect.begins, effect.transaction), (Runs::Transaction, true, 1));
    assert_eq!(s.ok("SELECT * FROM t", IN), After::Continues);
    assert_eq!((s.state.open(), s.state.number()), (Open::Implicit, 1));
    assert_eq!(s.before("SET autocommit = 1").ends, Some(Ending::Committed));
    assert_eq!(s.ok("SET autocommit = 1", AUTO), COMMITTED);
    // It was on already: nothing ends.
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.before("SET autocommit = 1").ends, None);
    assert_eq!(s.ok("SET autocommit = 1", IN | AUTO), After::Continues);
}

#[test]
fn a_failed_first_statement_opens_a_transaction_with_autocommit_off() {
    let mut s = Session::new();
    s.ok("SET autocommit = 0", 0);
    assert_eq!(s.error("INSERT INTO t VALUES (1)", 1062), After::StatementRolledBack);
    assert!(s.state.is_open() && s.state.uncertain());
    assert_eq!(s.ok("SELECT 1", IN), After::Continues);
    assert!(s.state.is_open() && !s.state.uncertain());
}

#[test]
fn errors() {
    let mut s = Session::new();
    s.ok("BEGIN", IN | AUTO);
    for code in [1062, 1064, 1146, 1317, 1205, 3058, 3572] {
        assert_eq!(s.error("UPDATE t SET a = 1", code), After::StatementRolledBack, "{code}");
        assert!(s.state.is_open());
    }
    assert_eq!(s.error("UPDATE t SET a = 1", 1213), ROLLED_BACK);
    assert!(!s.state.is_open());
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.error("SELECT 1", 1053), ROLLED_BACK);
}

#[test]
fn rollback_on_timeout() {
    let mut s = Session::with(SessionDefaults { rollback_on_timeout: true, ..SessionDefaults::default() });
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.error("UPDATE t SET a = 1", 1205), ROLLED_BACK);
}

#[test]
fn deadlock_of_user_locks_on_mariadb_keeps_the_transaction() {
    let mut s = Session::with(SessionDefaults { mariadb: true, ..SessionDefaults::default() });
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.error("SELECT GET_LOCK('a', 1)", 1213), After::StatementRolledBack);
    assert_eq!(s.error("DO GET_LOCK('a', 1)", 1213), After::StatementRolledBack);
    assert_eq!(s.error("DO f(1)", 1213), After::StatementRolledBack);
    assert!(s.state.uncertain());
    assert_eq!(s.error("SELECT * FROM t FOR UPDATE", 1213), ROLLED_BACK);
}

#[test]
fn implicit_commits() {
    let texts = [
        "CREATE TABLE u (a int)",
        "TRUNCATE t",
        "GRANT ALL ON *.* TO x",
        "LOCK TABLES t READ",
        "ANALYZE TABLE t",
    ];
    for text in texts {
        let mut s = Session::new();
        s.ok("BEGIN", IN | AUTO);
        assert_eq!(s.before(text).ends, Some(Ending::Committed), "{text}");
        assert_eq!(s.ok(text, AUTO), COMMITTED, "{text}");
        // What fails has committed already, unless it was not even read.
        s.ok("BEGIN", IN | AUTO);
        assert_eq!(s.error(text, 1050), COMMITTED, "{text}");
        s.ok("BEGIN", IN | AUTO);
        assert_eq!(s.error(text, 1064), After::StatementRolledBack, "{text}");
        assert!(s.state.is_open());
    }
    let mut s = Session::new();
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.ok("CREATE TEMPORARY TABLE u (a int)", IN | AUTO), After::Continues);
    assert_eq!(s.ok("UNLOCK TABLES", IN | AUTO), After::Continues);
}

#[test]
fn the_server_is_the_authority() {
    let mut s = Session::new();
    assert_eq!(s.ok("CALL p()", IN | AUTO), After::Continues);
    assert_eq!((s.state.open(), s.state.uncertain()), (Open::Implicit, true));
    assert_eq!(s.ok("CALL p()", AUTO), After::Ended(Ending::Unknown));
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.ok("SELECT * FROM t", AUTO), After::Ended(Ending::Unknown));
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.state.observed(IN | AUTO), After::Continues);
    assert_eq!(s.state.observed(AUTO), After::Ended(Ending::Unknown));
}

#[test]
fn isolation_levels() {
    let mut s = Session::new();
    s.ok("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", AUTO);
    assert_eq!(s.before("SELECT 1").isolation, Isolation::Serializable);
    s.ok("SELECT 1", AUTO);
    let effect = s.before("SELECT * FROM t");
    assert_eq!((effect.isolation, effect.select_locks), (Isolation::Serializable, false));
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.state.isolation(), Isolation::Serializable);
    assert!(s.before("SELECT * FROM t").select_locks);
    s.ok("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", IN | AUTO);
    assert_eq!(s.state.isolation(), Isolation::Serializable);
    s.ok("COMMIT AND CHAIN", IN | AUTO);
    assert_eq!(s.state.isolation(), Isolation::Serializable);
    s.ok("COMMIT", AUTO);
    assert_eq!(s.state.isolation(), Isolation::ReadCommitted);
    // The one-shot level is used up by an autocommit statement too.
    s.ok("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", AUTO);
    s.ok("SELECT * FROM t", AUTO);
    assert_eq!(s.state.isolation(), Isolation::ReadCommitted);
    // The session's level goes before an earlier one-shot level.
    s.ok("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", AUTO);
    s.ok("SET SESSION transaction_isolation = 'REPEATABLE-READ'", AUTO);
    assert_eq!(s.before("BEGIN").isolation, Isolation::RepeatableRead);
    // It is refused inside a transaction (1568).
    s.ok("BEGIN", IN | AUTO);
    s.error("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 1568);
    s.ok("COMMIT", AUTO);
    assert_eq!(s.state.isolation(), Isolation::RepeatableRead);
}

#[test]
fn access_modes() {
    let mut s = Session::new();
    assert!(s.before("START TRANSACTION READ ONLY").read_only);
    s.ok("START TRANSACTION READ ONLY", IN | AUTO | 0x2000);
    assert!(s.state.read_only());
    s.ok("COMMIT", AUTO);
    assert!(!s.state.read_only());
    s.ok("SET SESSION TRANSACTION READ ONLY", AUTO);
    assert!(s.state.read_only() && !s.before("START TRANSACTION READ WRITE").read_only);
}

#[test]
fn savepoints() {
    let mut s = Session::new();
    s.ok("SAVEPOINT a", AUTO);
    assert!(s.state.savepoints().is_empty());
    s.ok("BEGIN", IN | AUTO);
    s.ok("SAVEPOINT a", IN | AUTO);
    s.ok("SAVEPOINT b", IN | AUTO);
    assert_eq!(s.state.marker(), 2);
    assert_eq!(s.ok("ROLLBACK TO A", IN | AUTO), After::RolledBackTo(1));
    assert_eq!((s.state.savepoints().len(), s.state.marker()), (1, 3));
    assert_eq!(s.error("ROLLBACK TO b", 1305), After::StatementRolledBack);
    s.ok("SAVEPOINT a", IN | AUTO);
    assert_eq!(s.ok("ROLLBACK TO a", IN | AUTO), After::RolledBackTo(4));
    s.ok("RELEASE SAVEPOINT a", IN | AUTO);
    assert!(s.state.savepoints().is_empty());
    let most = SessionDefaults::default().max_savepoints;
    for n in 0..300 {
        s.ok(&format!("SAVEPOINT s{n}"), IN | AUTO);
        assert_eq!(s.state.take_forgotten(), n >= most, "{n}");
    }
    assert_eq!(s.state.savepoints().len(), most);
    s.ok("COMMIT", AUTO);
    assert!(s.state.savepoints().is_empty());
}

#[test]
fn xa_on_mysql_detaches_at_prepare() {
    let mut s = Session::new();
    s.ok("XA START 'x'", IN | AUTO);
    assert_eq!((s.state.xa(), s.state.open()), (XaState::Active, Open::Explicit));
    assert_eq!(s.error("COMMIT", 1399), After::StatementRolledBack);
    assert_eq!(s.error("CREATE TABLE t (a int)", 1399), After::StatementRolledBack);
    s.ok("XA END 'x'", IN | AUTO);
    assert_eq!(s.ok("XA PREPARE 'x'", AUTO), After::Prepared);
    assert!(!s.state.is_open());
    assert_eq!(s.ok("XA COMMIT 'x'", AUTO), After::PreparedEnded(Ending::Committed));
}

#[test]
fn xa_on_mariadb_stays_with_the_session() {
    let mut s = Session::with(SessionDefaults { mariadb: true, ..SessionDefaults::default() });
    s.ok("XA START 'x'", IN | AUTO);
    s.ok("XA END 'x'", IN | AUTO);
    assert_eq!(s.ok("XA PREPARE 'x'", IN | AUTO), After::Prepared);
    assert_eq!(s.state.xa(), XaState::Prepared);
    assert_eq!(s.ok("XA ROLLBACK 'x'", AUTO), After::PreparedEnded(Ending::RolledBack));
    assert!(!s.state.is_open());
    s.ok("XA START 'x'", IN | AUTO);
    s.ok("XA END 'x'", IN | AUTO);
    assert_eq!(s.ok("XA COMMIT 'x' ONE PHASE", AUTO), COMMITTED);
}

#[test]
fn lock_tables() {
    let mut s = Session::new();
    s.ok("LOCK TABLES t WRITE", AUTO);
    assert!(s.state.tables_locked());
    s.ok("UNLOCK TABLES", AUTO);
    assert!(!s.state.tables_locked());
    s.ok("LOCK TABLES t WRITE", AUTO);
    s.ok("BEGIN", IN | AUTO);
    assert!(!s.state.tables_locked());
}

#[test]
fn connection_commands() {
    let mut s = Session::new();
    s.ok("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", AUTO);
    s.ok("USE a", AUTO);
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.state.reset_connection(), ROLLED_BACK);
    assert_eq!((s.state.isolation(), s.state.schema()), (Isolation::RepeatableRead, Some("a")));
    assert_eq!(s.state.change_user(Some("b".into())), After::Continues);
    assert_eq!(s.state.schema(), Some("b"));
    s.ok("BEGIN", IN | AUTO);
    assert_eq!(s.state.disconnected(), ROLLED_BACK);
}

#[test]
fn several_statements_in_one_text() {
    let mut s = Session::new();
    let Statement::Multi(parts) = s.plan("BEGIN; UPDATE t SET a = 1; COMMIT; UPDATE t SET a = 2") else {
        panic!("not split");
    };
    let effects = s.state.before_each(&Statement::Multi(parts.clone()));
    let runs: Vec<_> = effects.iter().map(|effect| (effect.runs, effect.transaction)).collect();
    assert_eq!(runs, [(Runs::Outside, 1), (Runs::Transaction, 1), (Runs::Outside, 1), (Runs::Alone, 2)]);
    let answers = [IN | AUTO, IN | AUTO, AUTO, AUTO];
    let after: Vec<_> =
        parts.iter().zip(answers).map(|(part, status)| s.state.after(part, Outcome::Ok { status })).collect();
    assert_eq!(after, [After::Continues, After::Continues, COMMITTED, COMMITTED]);
}

#[test]
fn session_settings() {
    let mut s = Session::new();
    s.ok("SET sql_mode = 'ANSI', foreign_key_checks = 0, innodb_lock_wait_timeout = 3", AUTO);
    assert!(s.state.sql_mode().ansi_quotes && !s.state.foreign_key_checks());
    assert_eq!(s.state.lock_wait_timeout(), 3);
    s.state.reset_connection();
    assert_eq!(s.state.lock_wait_timeout(), 50);
}
