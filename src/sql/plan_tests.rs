//! Texts and the plans that they must give: what is written, defined, set, and run elsewhere.

use super::sketch::{check, statement_of};
use super::statement::{NamedLock, Statement};
use super::value::Scalar;

#[test]
fn get_or_create() {
    check("BEGIN", "Begin { read_only: None, snapshot: false }");
    check("SELECT * FROM batch WHERE server_id = 10 FOR UPDATE", "select X:batch{server_id=0}");
    check(
        "SELECT * FROM `batch` WHERE `batch`.`server_id` = ? LIMIT ? FOR UPDATE",
        "select X:batch{server_id=0} limit",
    );
    check("INSERT INTO batch (server_id, n) VALUES (10, NULL)", "insert batch(server_id,n) [0,1]");
    check(
        "INSERT INTO batch VALUES (10, NOW(), DEFAULT), (11, NOW(), DEFAULT)",
        "insert batch [0,_,default]",
    );
    check("COMMIT", "Commit { chain: false, release: false }");
}

#[test]
fn transaction_control() {
    check("begin work", "Begin { read_only: None, snapshot: false }");
    check("START TRANSACTION", "Begin { read_only: None, snapshot: false }");
    check("START TRANSACTION WITH CONSISTENT SNAPSHOT", "Begin { read_only: None, snapshot: true }");
    check(
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        "Begin { read_only: Some(true), snapshot: true }",
    );
    check(
        "START TRANSACTION READ WRITE, WITH CONSISTENT SNAPSHOT",
        "Begin { read_only: Some(false), snapshot: true }",
    );
    check("/* x */ COMMIT;", "Commit { chain: false, release: false }");
    check("COMMIT WORK AND CHAIN", "Commit { chain: true, release: false }");
    check("COMMIT AND NO CHAIN NO RELEASE", "Commit { chain: false, release: false }");
    check("COMMIT AND NO CHAIN RELEASE", "Commit { chain: false, release: true }");
    check("ROLLBACK RELEASE", "Rollback { chain: false, release: true }");
    check("ROLLBACK AND CHAIN", "Rollback { chain: true, release: false }");
    check("SAVEPOINT Sp1", "Savepoint(\"sp1\")");
    check("SAVEPOINT `S 1`", "Savepoint(\"s 1\")");
    check("ROLLBACK WORK TO SAVEPOINT a", "RollbackTo(\"a\")");
    check("ROLLBACK TO a", "RollbackTo(\"a\")");
    check("RELEASE SAVEPOINT a", "ReleaseSavepoint(\"a\")");
    check("XA START 'a','b',1", "Xa(Start)");
    check("XA BEGIN x'4d'", "Xa(Start)");
    check("XA END 'a'", "Xa(End)");
    check("XA PREPARE 'a'", "Xa(Prepare)");
    check("XA COMMIT 'a' ONE PHASE", "Xa(Commit)");
    check("XA ROLLBACK 'a'", "Xa(Rollback)");
    check("XA RECOVER", "Xa(Recover)");
    check("LOCK TABLES a WRITE, b.c AS d READ LOCAL", "a write,b.c read");
    check("LOCK TABLE t LOW_PRIORITY WRITE WAIT 5", "t write");
    check("UNLOCK TABLES", "UnlockTables");
    check("LOCK INSTANCE FOR BACKUP", "Harmless");
    check("USE `a b`", "Use(\"a b\")");
}

#[test]
fn set() {
    check("SET autocommit=0", "Set([Autocommit(Some(false))])");
    check("SET AUTOCOMMIT = ON", "Set([Autocommit(Some(true))])");
    check(
        "set session autocommit = 1, @x = 5, sql_mode=''",
        "Set([Autocommit(Some(true)), Variable(\"x\", Scalar(Slot(1))), \
         SqlMode(Some(SqlMode { ansi_quotes: false, no_backslash_escapes: false }))])",
    );
    check("SET @@autocommit := OFF", "Set([Autocommit(Some(false))])");
    check("SET @@session.autocommit = DEFAULT", "Set([Autocommit(None)])");
    check("SET @@SESSION.`autocommit` = 0", "Set([Autocommit(Some(false))])");
    check("SET GLOBAL autocommit = 0", "Set([])");
    check("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "Set([Isolation(Next, Some(ReadCommitted))])");
    check(
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "Set([Isolation(Session, Some(Serializable)), ReadOnly(Session, Some(true))])",
    );
    check("SET LOCAL TRANSACTION READ WRITE", "Set([ReadOnly(Session, Some(false))])");
    check(
        "SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "Set([Isolation(Global, Some(RepeatableRead))])",
    );
    check("SET transaction_isolation = 'READ-COMMITTED'", "Set([Isolation(Session, Some(ReadCommitted))])");
    check(
        "SET @@transaction_isolation = 'READ-UNCOMMITTED'",
        "Set([Isolation(Next, Some(ReadUncommitted))])",
    );
    check(
        "SET @@session.tx_isolation = \"repeatable-read\"",
        "Set([Isolation(Session, Some(RepeatableRead))])",
    );
    check("SET SESSION tx_isolation = SERIALIZABLE", "Set([Isolation(Session, Some(Serializable))])");
    check(
        "SET @@global.transaction_isolation = 'SERIALIZABLE'",
        "Set([Isolation(Global, Some(Serializable))])",
    );
    check(
        "SET PERSIST transaction_isolation = 'SERIALIZABLE'",
        "Set([Isolation(Global, Some(Serializable))])",
    );
    check("SET transaction_isolation = @x", "Set([Isolation(Session, None)])");
    check("SET transaction_read_only = 1", "Set([ReadOnly(Session, Some(true))])");
    check(
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
        "Set([SqlMode(Some(SqlMode { ansi_quotes: true, no_backslash_escapes: true }))])",
    );
    check(
        "SET sql_mode = ANSI",
        "Set([SqlMode(Some(SqlMode { ansi_quotes: true, no_backslash_escapes: false }))])",
    );
    check("SET sql_mode = CONCAT(@@sql_mode, ',ANSI')", "Set([SqlMode(None)])");
    check(
        "SET foreign_key_checks = 0, unique_checks = 0",
        "Set([ForeignKeyChecks(Some(false)), UniqueChecks(Some(false))])",
    );
    check("SET innodb_lock_wait_timeout = 3", "Set([LockWaitTimeout(Some(3))])");
    check("SET NAMES utf8mb4 COLLATE utf8mb4_bin", "Set([])");
    check("SET CHARACTER SET utf8", "Set([])");
    check("SET NAMES 'utf8', autocommit = 0", "Set([Autocommit(Some(false))])");
    check("SET PASSWORD = 'x'", "ddl SET PASSWORD: ");
    check("SET STATEMENT max_statement_time=1 FOR SELECT * FROM t WHERE a = 5", "select t{a=1}");
    check("SET @a = 5", "Set([Variable(\"a\", Scalar(Slot(0)))])");
    check("SET RESOURCE GROUP rg", "Set([])");
}

#[test]
fn inserts() {
    check("INSERT INTO t SET a = 1, b = DEFAULT", "insert t(a,b) [0,default]");
    check("INSERT t VALUES (1, DEFAULT(a), 'x'), (2, DEFAULT(a), 'y')", "insert t [0,default,1]");
    check("INSERT IGNORE INTO s.t (a) VALUES (1)", "insert ignore s.t(a) [0]");
    check("INSERT LOW_PRIORITY IGNORE t VALUE (1)", "insert ignore t [0]");
    check("INSERT INTO t PARTITION (p0, p1) (id) VALUES (1)", "insert t(id) [0]");
    check(
        "INSERT INTO t (a,b) VALUES (1,2) ON DUPLICATE KEY UPDATE b = VALUES(b), c = c + 1",
        "insert t(a,b) [0,1] dup(b=new.b,c=_)",
    );
    check(
        "INSERT INTO t (a,b) VALUES (1,2),(3,4) AS n ON DUPLICATE KEY UPDATE b = n.b",
        "insert t(a,b) [0,1] dup(b=new.b)",
    );
    check(
        "INSERT INTO t (a,b) VALUES (1,2) AS n (x,y) ON DUPLICATE KEY UPDATE b = n.y, a = 5",
        "insert t(a,b) [0,1] dup(b=new.b,a=2)",
    );
    check("REPLACE INTO t VALUES (1)", "replace t [0]");
    check("REPLACE DELAYED t SET a = 1", "replace t(a) [0]");
    check("INSERT INTO t VALUES ()", "insert t []");
    check("INSERT INTO t (a) SELECT b FROM u WHERE c = 3 FOR SHARE", "insert t(a) select S:u{c=0}");
    check("INSERT INTO t TABLE u", "insert t select u");
    check("INSERT INTO t (a,b) VALUES (1,NOW()),(DEFAULT,2)", "insert t(a,b) [0,_]");
    check("INSERT INTO t (a,b) VALUES (1,NULL),(2,TRUE),(-3,'x')", "insert t(a,b) [0,1]");
    check("INSERT INTO t (a) VALUES (1) RETURNING id", "insert t(a) [0]");
    check("/*!40000 INSERT */ INTO `order` (`key`) VALUES (1)", "insert order(key) [0]");
    check("INSERT INTO t WITH c AS (SELECT 1 AS x) SELECT x FROM c", "insert t select");
}

#[test]
fn updates_and_deletes() {
    check("UPDATE t SET a = 1, b = b + 1, c = NULL WHERE id = 2", "update X:t{id=3} set a=0,b=_,c=2");
    check(
        "UPDATE LOW_PRIORITY IGNORE t SET a = 1 ORDER BY b DESC LIMIT 3",
        "update X:t set a=0 order b- limit",
    );
    check(
        "UPDATE t1, t2 SET t1.a = t2.b WHERE t1.id = t2.id AND t2.c = 5",
        "update X:t1{id=t2.id} t2{id=t1.id & c=0} set t1.a=_",
    );
    check(
        "UPDATE a JOIN b ON a.id = b.a SET a.x = 1 WHERE b.y = 2",
        "update X:a{id=b.a} b{a=a.id & y=1} set a.x=0",
    );
    check("UPDATE a JOIN b ON a.id = b.a SET x = 1", "update X:a{id=b.a} X:b{a=a.id} set x=0");
    check("UPDATE t SET a = (SELECT max(b) FROM u) WHERE id = 1", "update X:t{id=0} +u set a=_");
    check(
        "WITH c AS (SELECT id FROM u WHERE x = 1) UPDATE t SET a = 2 WHERE id IN (SELECT id FROM c)",
        "update X:t{id=c.id} +u{x=0} set a=1",
    );
    check("UPDATE t PARTITION (p0) SET a = 1 WHERE id = 2", "update X:t{id=1} set a=0");
    check("DELETE FROM t WHERE id = 1", "delete X:t{id=0}");
    check(
        "DELETE LOW_PRIORITY QUICK IGNORE FROM t WHERE id = 1 ORDER BY a LIMIT 1",
        "delete X:t{id=0} order a limit",
    );
    check(
        "DELETE t1 FROM t1 JOIN t2 ON t1.id = t2.id WHERE t2.x = 1",
        "delete X:t1{id=t2.id} t2{id=t1.id & x=0}",
    );
    check("DELETE t1.* FROM t1 JOIN t2 ON t1.id = t2.id", "delete X:t1{id=t2.id} t2{id=t1.id}");
    check("DELETE a, b FROM t1 AS a JOIN t2 AS b ON a.id = b.id", "delete X:t1/a{id=b.id} X:t2/b{id=a.id}");
    check(
        "DELETE FROM a, b USING t1 AS a JOIN t2 AS b ON a.id = b.id",
        "delete X:t1/a{id=b.id} X:t2/b{id=a.id}",
    );
    check("DELETE FROM t AS x WHERE x.id = 1", "delete X:t/x{id=0}");
    check("DELETE FROM t WHERE id IN (SELECT id FROM u)", "delete X:t{id=u.id} +u");
}

#[test]
fn definitions_and_administration() {
    check(
        "CREATE TABLE IF NOT EXISTS s.t (id INT, FOREIGN KEY (p) REFERENCES parent (id))",
        "ddl CREATE TABLE: s.t,parent",
    );
    check("CREATE TEMPORARY TABLE t (a INT NOT NULL DEFAULT NULL)", "ddl CREATE TABLE: t (no commit)");
    check("CREATE TABLE t (id INT) PARTITION BY HASH(id) PARTITIONS 4", "ddl CREATE TABLE: t");
    check("CREATE TABLE t SELECT * FROM u", "ddl CREATE TABLE: t");
    check("CREATE UNIQUE INDEX i ON t (a)", "ddl CREATE INDEX: t");
    check("CREATE FULLTEXT INDEX i ON t (a)", "ddl CREATE INDEX: t");
    check("CREATE OR REPLACE ALGORITHM=MERGE VIEW v AS SELECT 1", "ddl CREATE VIEW: v");
    check(
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; SET @b = 2; END",
        "ddl CREATE TRIGGER: t",
    );
    check("CREATE DEFINER=`a`@`b` PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "ddl CREATE ROUTINE: ");
    check("CREATE USER u@h IDENTIFIED BY 'x'", "ddl CREATE: ");
    check("ALTER TABLE t ADD COLUMN a INT, RENAME TO u", "ddl ALTER TABLE: t,u");
    check("ALTER TABLE t RENAME COLUMN a TO b", "ddl ALTER TABLE: t");
    check("ALTER ONLINE TABLE t ENGINE=InnoDB", "ddl ALTER TABLE: t");
    check("ALTER TABLE t WAIT 5 DROP KEY a, DROP KEY b", "ddl ALTER TABLE: t");
    check("DROP TABLE IF EXISTS a, s.b CASCADE", "ddl DROP TABLE: a,s.b");
    check("DROP TEMPORARY TABLE a", "ddl DROP TABLE: a (no commit)");
    check("DROP INDEX i ON t", "ddl DROP INDEX: t");
    check("TRUNCATE TABLE t", "ddl TRUNCATE: t");
    check("RENAME TABLE a TO b, c TO s.d", "ddl RENAME TABLE: a,b,c,s.d");
    check("OPTIMIZE LOCAL TABLE a, b", "ddl OPTIMIZE: a,b");
    check("CHECK TABLE a", "ddl CHECK: a");
    check("FLUSH TABLES WITH READ LOCK", "ddl FLUSH TABLES WITH READ LOCK: ");
    check("FLUSH TABLES a WITH READ LOCK", "a read");
    check("GRANT SELECT ON a.* TO b", "ddl GRANT: ");
    check("CACHE INDEX t IN c", "ddl CACHE INDEX: ");
    check("ANALYZE TABLE a", "ddl ANALYZE: a");
    check("START SLAVE", "ddl START: ");
    for text in [
        "SHOW WARNINGS LIMIT 5",
        "KILL HARD 5",
        "KILL CONNECTION 5",
        "KILL QUERY ID 5",
        "KILL QUERY @thread",
        "KILL QUERY 5 + 1",
        "EXPLAIN FOR CONNECTION 5",
        "DESC t",
        "HELP 'x'",
        "EXPLAIN SELECT * FROM t FOR UPDATE",
        "GET DIAGNOSTICS @a = NUMBER",
        "SIGNAL SQLSTATE '45000'",
        "PURGE BINARY LOGS TO 'x'",
        "CHECKSUM TABLE t",
        "CLONE LOCAL DATA DIRECTORY 'x'",
        "",
        " ",
        "-- x",
        "/* */",
    ] {
        check(text, "Harmless");
    }
    check("EXPLAIN ANALYZE SELECT * FROM t WHERE id = 1 FOR UPDATE", "select X:t{id=0}");
    check("ANALYZE FORMAT=JSON SELECT * FROM t WHERE id = 1", "select t{id=0}");
}

#[test]
fn routines() {
    check("CALL p(1, 2)", "routine CALL: ");
    check("DO GET_LOCK('a', 1)", "NamedLocks([Get { name: Slot(0), timeout: Slot(1) }])");
    check("HANDLER t OPEN", "routine HANDLER: t");
    check("HANDLER s.t READ FIRST", "routine HANDLER: s.t");
    check("LOAD DATA LOCAL INFILE 'x' INTO TABLE s.t FIELDS TERMINATED BY ','", "routine LOAD DATA: s.t");
    check("LOAD XML INFILE 'x' INTO TABLE t", "routine LOAD XML: t");
    check("EXECUTE s USING @a", "routine EXECUTE: ");
    check("BEGIN NOT ATOMIC UPDATE t SET a = 1; SELECT 2; END", "routine BEGIN: t");
}

#[test]
fn several_statements() {
    check("SELECT 1; SELECT * FROM t WHERE a = 2;", "select; select t{a=1}");
    check(
        "BEGIN; INSERT INTO t VALUES (1),(2); INSERT INTO t VALUES (3); COMMIT",
        "Begin { read_only: None, snapshot: false }; insert t [0]; insert t [1]; Commit { chain: false, release: false }",
    );
    check(";;", "Harmless");
    check("; SELECT 1", "select");
}

#[test]
fn what_cannot_be_read() {
    check("SELEC 1", "opaque Syntax: ");
    check("UPDATE t SET WHERE", "opaque Syntax: t");
    check("DELETE FROM t FOR PORTION OF p FROM 1 TO 2", "opaque Syntax: t");
    check("SELECT 'open FROM t", "opaque Syntax: ");
    check("SELECT NEXT VALUE FOR s", "select");
    check(&format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)), "select");
}

#[test]
fn what_applications_send() {
    check("SELECT * FROM (t1, t2) LEFT JOIN t3 ON t3.a = t1.a", "select t1 t2 t3{a=t1.a}");
    check("SELECT * FROM ((t1, t2), (SELECT a FROM u) x)", "select t1 t2 +u");
    check(
        "INSERT INTO t (a) SELECT * FROM (SELECT 1) AS tmp WHERE NOT EXISTS (SELECT a FROM t WHERE a = 1) LIMIT 1",
        "insert t(a) select +t{a=1} limit",
    );
    check("INSERT INTO t (a) SELECT b FROM u ON DUPLICATE KEY UPDATE a=1", "insert t(a) select u dup(a=0)");
    check("INSERT INTO t (a) (SELECT a FROM u)", "insert t(a) select u");
    check("INSERT INTO t (a, b) VALUES ROW(1,2), ROW(3,4)", "insert t(a,b) [0,1]");
    check(
        "UPDATE t SET a = CASE id WHEN 1 THEN 2 WHEN 2 THEN NULL ELSE a END WHERE id IN (1,2)",
        "update X:t{id in 3*} set a=_",
    );
    check(
        "UPDATE t INNER JOIN (SELECT id FROM u WHERE s = 1 LIMIT 5 FOR UPDATE) x ON t.id=x.id SET t.a = 1",
        "update X:t{id=x.id} +X:u{s=0} set t.a=2",
    );
    check("LOCK TABLES `t` READ /*!32311 LOCAL */, u WRITE", "t read,u write");
    check(
        "/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */",
        "Set([Variable(\"old_foreign_key_checks\", Scalar(Unknown)), ForeignKeyChecks(Some(false))])",
    );
    check("SET SESSION NET_READ_TIMEOUT= 86400, SESSION NET_WRITE_TIMEOUT= 86400", "Set([])");
    check(
        "SELECT c_last, w_tax FROM customer, warehouse WHERE w_id = 1 AND c_w_id = w_id AND c_id = 3",
        "select customer{…} warehouse{…}",
    );
    check(
        "SELECT DISTINCT t0.id AS c0 FROM t t0 LEFT OUTER JOIN u u1 ON (t0.id = u1.t_id AND u1.k IN ('a','b')) \
         WHERE t0.z = 'q' FOR UPDATE OF t0 SKIP LOCKED",
        "select X~:t/t0{z=1} u/u1{t_id=t0.id & k in 0*}",
    );
    check(
        "SELECT * FROM t WHERE s = 'x' AND (l IS NULL OR l < '2020') ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
        "select X~:t{s=0…} order id limit",
    );
    check("DELETE FROM session WHERE session.user = 5", "delete X:session{user=0}");
    check(
        "UPDATE user SET end = 5, offset = 2 WHERE type = 1 AND key = 2",
        "update X:user{type=2 & key=3} set end=0,offset=1",
    );
    check(
        "SELECT a FROM t WHERE b = 1 UNION SELECT c FROM u WHERE d = 2 LIMIT 3",
        "select t{b=0} u{d=1} limit",
    );
}

#[test]
fn named_locks_are_found_in_any_form() {
    let named = |text: &str| match statement_of(text) {
        Statement::NamedLocks(calls) => calls,
        other => panic!("{other:?}"),
    };
    let get = |name, timeout| NamedLock::Get { name, timeout };
    assert_eq!(named("SELECT GET_LOCK('a', 10)"), [get(Scalar::Slot(0), Scalar::Slot(1))]);
    assert_eq!(named("DO get_lock(concat('a', 1), -1)"), [get(Scalar::Unknown, Scalar::Slot(2))]);
    assert_eq!(named("SET @got = GET_LOCK(?, 0)"), [get(Scalar::Slot(0), Scalar::Slot(1))]);
    assert_eq!(
        named("SELECT RELEASE_LOCK('a'), RELEASE_ALL_LOCKS()"),
        [NamedLock::Release(Scalar::Slot(0)), NamedLock::ReleaseAll]
    );
}

#[test]
fn create_table_select_has_a_source() {
    let Statement::Ddl { tables, source, reads, .. } =
        statement_of("CREATE TABLE a (x INT) AS SELECT * FROM b")
    else {
        panic!("no definition");
    };
    assert_eq!((tables.len(), reads.len()), (1, 0));
    assert_eq!(source.map(|s| s.tables[0].table.name.clone()).as_deref(), Some("b"));
    let Statement::Ddl { tables, source, reads, .. } = statement_of("CREATE TABLE a LIKE b") else {
        panic!("no definition");
    };
    assert_eq!((tables.len(), reads.len(), source.is_some()), (1, 1, false));
}
