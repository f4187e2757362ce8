//! Prepared statements: parameters, cursors, long data, several results, MariaDB's bulk execution.

use crate::everywhere;
use crate::talk::{Reply, Talk};

const LONG: u16 = 3;
const STRING: u16 = 0xFE;
const BLOB: u16 = 252;
const DOUBLE: u16 = 5;
const DATE: u16 = 10;

#[test]
fn parameters_and_rows() {
    everywhere(|_, talk| {
        let none = talk.prepare("SELECT * FROM nothing WHERE a = ?");
        talk.query(
            "INSERT INTO t (id, name, body, d) VALUES (1, 'a', 'x', '2020-01-02'), (2, NULL, NULL, NULL)",
        );
        let select = talk.prepare("SELECT id, name, body, d, ?, ?, ?, ? FROM t WHERE id <= ? ORDER BY id");
        let number = 2i32.to_le_bytes();
        for id in [select, none] {
            let double = 2.5f64.to_le_bytes();
            let all: [Option<(u16, &[u8])>; 5] = [
                Some((STRING, b"\x04text")),
                Some((DOUBLE, &double)),
                Some((DATE, b"\x04\xe4\x07\x01\x02")),
                None,
                Some((LONG, &number)),
            ];
            talk.execute(id, 0, &all);
            talk.execute(id, 1, &all);
            for rows in [1, 9, 9] {
                fetch(talk, id, rows);
            }
            talk.command(0x1A, &id.to_le_bytes(), Reply::One);
        }
        for sql in
            ["DO 1", "BEGIN", "INSERT INTO n VALUES (?)", "SELECT * FROM n FOR UPDATE", "COMMIT", "SELECT ?"]
        {
            let id = talk.prepare(sql);
            let params: &[Option<(u16, &[u8])>] =
                if sql.contains('?') { &[Some((LONG, &number))] } else { &[] };
            talk.execute(id, 0, params);
            talk.execute(id, 0, params);
            // Too few parameters.
            talk.execute(id, 0, &[]);
        }
        talk.query("COMMIT");
        // Closing has no answer; the next command has its own.
        talk.command(0x19, &select.to_le_bytes(), Reply::Nothing);
        talk.execute(select, 0, &[]);
        talk.command(0x19, &none.to_le_bytes(), Reply::Nothing);
        talk.command(0x0E, &[], Reply::One);
    });
}

fn fetch(talk: &mut Talk, id: u32, rows: u32) {
    talk.command(0x1C, &[id.to_le_bytes(), rows.to_le_bytes()].concat(), Reply::UntilEnd);
}

#[test]
fn cursors() {
    everywhere(|_, talk| {
        talk.query("INSERT INTO t (name) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g')");
        let all = talk.prepare("SELECT id, name FROM t ORDER BY id");
        let some = talk.prepare("SELECT id, name FROM t WHERE id > ? FOR UPDATE");
        talk.query("BEGIN");
        let number = 3i32.to_le_bytes();
        for id in [all, some] {
            let params: &[Option<(u16, &[u8])>] = if id == some { &[Some((LONG, &number))] } else { &[] };
            talk.execute(id, 1, params);
            fetch(talk, id, 3);
            // Between two fetches other statements run.
            talk.query("SELECT 1");
            for _ in 0..3 {
                fetch(talk, id, 3);
            }
        }
        talk.execute(all, 1, &[]);
        talk.command(0x1A, &all.to_le_bytes(), Reply::One);
        fetch(talk, all, 1);
        talk.execute(all, 1, &[]);
        talk.command(0x19, &all.to_le_bytes(), Reply::Nothing);
        talk.query("COMMIT");
    });
}

#[test]
fn long_data() {
    everywhere(|_, talk| {
        let id = talk.prepare("INSERT INTO t (id, name, body) VALUES (?, ?, ?)");
        let chunk = |index: u16, data: &[u8]| [&id.to_le_bytes()[..], &index.to_le_bytes(), data].concat();
        let number = 1i32.to_le_bytes();
        let params: [Option<(u16, &[u8])>; 3] = [Some((LONG, &number)), Some((BLOB, b"")), Some((BLOB, b""))];
        talk.command(0x18, &chunk(2, &[b'x'; 100_000]), Reply::Nothing);
        talk.command(0x18, &chunk(2, b"the end"), Reply::Nothing);
        talk.command(0x18, &chunk(1, b"name"), Reply::Nothing);
        talk.execute(id, 0, &params);
        talk.query("SELECT id, name, LENGTH(body), RIGHT(body, 10) FROM t");
        // An error of long data comes with the execution; a reset forgets it.
        talk.command(0x18, &chunk(9, b"no such parameter"), Reply::Nothing);
        talk.execute(id, 0, &params);
        talk.command(0x1A, &id.to_le_bytes(), Reply::One);
        talk.command(0x18, &chunk(1, &[b'y'; 100]), Reply::Nothing);
        talk.command(0x18, &chunk(2, &[b'y'; 100]), Reply::Nothing);
        talk.execute(id, 0, &params);
        talk.query("SELECT 'in step'");
    });
}

#[test]
fn procedures_with_out_parameters() {
    everywhere(|_, talk| {
        talk.query(
            "CREATE PROCEDURE outs(IN a INT, OUT b INT, INOUT c TEXT)
             BEGIN SELECT a; SET b = a + 1; SET c = CONCAT(c, '!'); SELECT 'two', 2; END",
        );
        talk.query("CREATE PROCEDURE breaks() BEGIN SELECT 1; INSERT INTO n VALUES (1), (1); END");
        let outs = talk.prepare("CALL outs(?, ?, ?)");
        let breaks = talk.prepare("CALL breaks()");
        let number = 2i32.to_le_bytes();
        for cursor in [0, 1] {
            talk.execute(outs, cursor, &[Some((LONG, &number)), None, Some((STRING, b"\x02hi"))]);
            talk.execute(breaks, cursor, &[]);
        }
        talk.query("SELECT 'in step'");
    });
}

#[test]
fn bulk_execution() {
    everywhere(|server, talk| {
        let id = talk.prepare("INSERT INTO t (id, name) VALUES (?, ?)");
        // Three rows, with types; an indicator before each value, 1 for NULL.
        let mut body =
            [&id.to_le_bytes()[..], &128u16.to_le_bytes(), &LONG.to_le_bytes(), &STRING.to_le_bytes()]
                .concat();
        for (id, name) in [(10, Some("ten")), (11, None), (12, Some("twelve"))] {
            body.push(0);
            body.extend(i32::to_le_bytes(id));
            match name {
                Some(name) => body.extend([&[0, name.len() as u8], name.as_bytes()].concat()),
                None => body.push(1),
            }
        }
        talk.command(0xFA, &body, Reply::Results);
        talk.command(0xFA, &body, Reply::Results);
        talk.query("SELECT * FROM t");
        // The one that was prepared last.
        body[..4].fill(0xFF);
        talk.query("DELETE FROM t");
        if !server.is_mysql() {
            talk.command(0xFA, &body, Reply::Results);
        }
        talk.query("SELECT * FROM t");
    });
}

#[test]
fn metadata_once() {
    everywhere(|_, talk| {
        talk.query("INSERT INTO t (name) VALUES ('a'), ('b')");
        let id = talk.prepare("SELECT id, name FROM t");
        for _ in 0..3 {
            talk.execute(id, 0, &[]);
        }
        talk.query("ALTER TABLE t ADD COLUMN more INT");
        talk.execute(id, 0, &[]);
        talk.execute(id, 1, &[]);
        fetch(talk, id, 5);
        talk.query("SELECT POINT(1, 2), JSON_OBJECT('a', 1)");
    });
}
