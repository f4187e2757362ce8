//! COM_QUERY and its results.

use crate::everywhere;
use crate::talk::Reply;

/// Statements whose answers are compared one by one.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "",
    ";",
    "SELEC 1",
    "/* only a comment */",
    "SELECT 1; DO 2; SELECT 'a', 'b' UNION ALL SELECT NULL, ''; SELECT 3 FROM DUAL WHERE 0",
    "SELECT 1; SELECT * FROM nothing; SELECT 3",
    "INSERT INTO t (name) VALUES ('a'), ('b'), ('c')",
    "INSERT INTO t (name) SELECT CONCAT('row ', a.id, b.id) FROM t a, t b, t c, t d",
    "INSERT IGNORE INTO t (id, name) VALUES (1, 'double'); SHOW WARNINGS",
    "INSERT INTO t (id, name) VALUES (1, 'double')",
    "INSERT INTO t (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE name = 'updated'",
    "REPLACE INTO t (id, name) VALUES (2, 'replaced'), (1000, 'new')",
    "UPDATE t SET name = 'z' WHERE id BETWEEN 3 AND 20",
    "UPDATE t SET d = 'no date' WHERE id = 3",
    "DELETE FROM t WHERE id = 20",
    "SELECT id, name, body, d FROM t ORDER BY id",
    "SELECT * FROM t a JOIN t b ON a.id > b.id ORDER BY a.id, b.id LIMIT 1500",
    // An error after rows have been sent.
    "SELECT id, EXP(id * 20) FROM t ORDER BY id",
    "SELECT id, EXP(id * 20), REPEAT('x', 5000) FROM t ORDER BY id; SELECT 2",
    "SELECT REPEAT('x', 70000), NULL, REPEAT('y', 250), REPEAT('z', 251)",
    "SET @a = 5, NAMES utf8mb4; SELECT @a",
    "SET NAMES latin1",
    "SELECT _latin1 x'E4F6'",
    "SET NAMES utf8mb4",
    "BEGIN",
    "SELECT * FROM t WHERE id = 3 FOR UPDATE",
    "SELECT * FROM t WHERE id = 30000 FOR UPDATE",
    "INSERT INTO n VALUES (1)",
    "SAVEPOINT s; INSERT INTO n VALUES (2); ROLLBACK TO s; RELEASE SAVEPOINT s; RELEASE SAVEPOINT s",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "START TRANSACTION READ ONLY; INSERT INTO n VALUES (9)",
    "COMMIT",
    "SET autocommit = 0",
    "SELECT COUNT(*) FROM n",
    "SET autocommit = 1",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN; SELECT * FROM n FOR UPDATE; COMMIT",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN; SELECT * FROM n; CREATE TABLE made (a INT); DROP TABLE made",
    "XA START 'x'; INSERT INTO n VALUES (77); XA END 'x'; XA PREPARE 'x'; XA ROLLBACK 'x'",
    "LOCK TABLES n WRITE; INSERT INTO n VALUES (5); UNLOCK TABLES",
    "USE mysql",
    "SELECT DATABASE()",
    "USE conv",
    "SHOW CREATE TABLE t; DESCRIBE t",
    "PREPARE p FROM 'SELECT ? + 1'; SET @x = 4; EXECUTE p USING @x; DEALLOCATE PREPARE p; EXECUTE p USING @x",
    "CREATE PROCEDURE three() BEGIN SELECT 1; SELECT 2, 3; SELECT id FROM t WHERE id < 5; END",
    "CREATE PROCEDURE fails() BEGIN SELECT 1; INSERT INTO n VALUES (5); SELECT 2; END",
    "CREATE PROCEDURE outs(IN a INT, OUT b INT, INOUT c TEXT) BEGIN SET b = a + 1; SET c = CONCAT(c, '!'); END",
    "CALL three(); SELECT 4",
    "CALL fails(); SELECT 4",
    "SET @c = 'x'; CALL outs(1, @b, @c); SELECT @b, @c",
    "CHECK TABLE n; ANALYZE TABLE n",
    "EXPLAIN SELECT * FROM n WHERE id = 5",
    "FLUSH TABLES",
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own words', MYSQL_ERRNO = 12345",
    "SELECT SLEEP(0.01)",
    "SELECT 1 INTO OUTFILE '/nowhere/file'",
    "TRUNCATE TABLE n",
    "DROP TABLE IF EXISTS never_there",
];

#[test]
fn statements() {
    everywhere(|_, talk| {
        for statement in STATEMENTS {
            talk.query(statement);
        }
        talk.query(b"SELECT '\xff\xfe', \xe4");
        talk.query(b"SELECT 'nul\0byte'");
    });
}

#[test]
fn local_files() {
    everywhere(|_, talk| {
        let load = "LOAD DATA LOCAL INFILE 'any' INTO TABLE t FIELDS TERMINATED BY ',' (id, name)";
        // Each login says whether it can send files at all; the server refuses where it cannot.
        let asks =
            |talk: &crate::talk::Talk| talk.record.last().is_some_and(|(_, all)| all[0].contains("\\xfb"));
        let end = |talk: &mut crate::talk::Talk, sequence: u8| {
            talk.send_long(sequence, &[]);
            talk.read("end of file".into(), Reply::Results);
        };
        talk.query(load);
        if !asks(talk) {
            talk.query("SELECT 1");
            return;
        }
        talk.send_long(2, b"1,a\n2,b\n");
        talk.send_long(3, b"3,c\n");
        end(talk, 4);
        // An empty file.
        talk.query(load);
        end(talk, 2);
        // Double keys and a broken line are warnings; more statements follow.
        talk.query(format!("{load}; SHOW WARNINGS; SELECT COUNT(*) FROM t"));
        talk.send_long(2, b"1,again\nx,y\n900");
        end(talk, 3);
        // A line that is cut by packets, and many packets.
        talk.query(load);
        for at in 0..300u32 {
            let lines = format!("{},name {at}\n{}", at + 1000, at + 5000);
            talk.send_long((at + 2) as u8, lines.as_bytes());
        }
        talk.send_long(302u32 as u8, &[]);
        talk.read("many packets".into(), Reply::Results);
        talk.query("SELECT COUNT(*), MAX(id) FROM t");
        talk.query("LOAD DATA LOCAL INFILE 'any' INTO TABLE nothing");
        if asks(talk) {
            end(talk, 2);
        }
        talk.query("SELECT 'still in step'");
    });
}

#[test]
fn attributes_go_with_a_statement() {
    everywhere(|server, talk| {
        if !server.is_mysql() {
            return;
        }
        let attributed = talk.query_body(b"").len() == 2;
        if attributed {
            // Two attributes: a string "k" = "value", and NULL.
            let mut body = vec![2, 1, 0b10, 1];
            body.extend([0xFE, 0, 1, b'k', 6, 0, 1, b'n']);
            body.extend(b"\x05valueSELECT 1; BEGIN; SELECT * FROM t FOR UPDATE; COMMIT");
            talk.command(3, &body, Reply::Results);
        }
        talk.query("SELECT 2");
    });
}
