//! The other commands, what belongs to a connection, and commands that come before the last is answered.

use crate::everywhere;
use crate::support::Login;
use crate::support::raw::capability::DEPRECATE_EOF;
use crate::talk::Reply;

#[test]
fn connection_commands() {
    everywhere(|_, talk| {
        talk.command(0x0E, &[], Reply::One); // PING
        talk.command(0x0E, b"with a body", Reply::One);
        talk.command(0x02, b"mysql", Reply::One); // INIT_DB
        talk.query("SELECT DATABASE()");
        talk.command(0x02, b"nowhere", Reply::One);
        talk.command(0x02, b"conv", Reply::One);
        talk.command(0x09, &[], Reply::Kind); // STATISTICS
        talk.command(0x1B, &[1, 0], Reply::One); // SET_OPTION: multi statements off
        talk.query("SELECT 1; SELECT 2");
        talk.command(0x1B, &[0, 0], Reply::One);
        talk.query("SELECT 1; SELECT 2");
        talk.command(0x1B, &[9, 9], Reply::One);
        talk.command(0x04, b"t\0%", Reply::UntilEnd); // FIELD_LIST
        talk.command(0x04, b"nothing\0", Reply::UntilEnd);
        talk.command(0x0D, &[], Reply::One); // DEBUG
        talk.command(0x0C, &u32::MAX.to_le_bytes(), Reply::One); // PROCESS_KILL of nobody
        talk.command(0x05, b"made", Reply::One); // CREATE_DB, DROP_DB: no longer there
        talk.command(0x06, b"made", Reply::One);
        for code in [0x00, 0x0B, 0x0F, 0x10, 0x13, 0x1D, 0x30, 0x80, 0xEE] {
            talk.command(code, b"what is this", Reply::One);
        }
        talk.query("SELECT 'in step'");
    });
}

#[test]
fn reset_ends_what_belongs_to_a_session() {
    everywhere(|_, talk| {
        talk.query("SET @a = 1; CREATE TEMPORARY TABLE temp (a INT); BEGIN; INSERT INTO n VALUES (1)");
        let id = talk.prepare("SELECT 1");
        talk.command(0x1F, &[], Reply::One);
        talk.query("SELECT @a; SELECT COUNT(*) FROM n; SELECT * FROM temp");
        talk.execute(id, 0, &[]);
        talk.command(0x1F, &[], Reply::One);
        let next = talk.prepare("SELECT 2");
        talk.execute(id, 0, &[]);
        talk.execute(next, 0, &[]);
    });
}

#[test]
fn users_change() {
    everywhere(|_, talk| {
        let login = |user: &str, password: &str, schema: Option<&str>| Login {
            user: user.into(),
            password: password.into(),
            schema: schema.map(str::to_owned),
            ..Login::default()
        };
        talk.query("SET @a = 1; BEGIN; INSERT INTO n VALUES (1)");
        talk.change_user(&login("root", "", Some("conv")));
        talk.query("SELECT @a, CURRENT_USER(), DATABASE(); SELECT * FROM n");
        for _ in 0..2 {
            talk.change_user(&login("app", "app", None));
            talk.query("SELECT CURRENT_USER(), DATABASE()");
        }
        talk.change_user(&login("app", "app", Some("conv")));
        talk.query("SELECT * FROM t");
        talk.change_user(&login("app", "wrong", Some("conv")));
        talk.command(0x0E, &[], Reply::One);
    });
}

#[test]
fn replication_commands() {
    everywhere(|_, talk| {
        let mut register = 99u32.to_le_bytes().to_vec();
        register.extend([0; 3]); // no host, user, password
        register.extend([0; 10]);
        talk.command(0x15, &register, Reply::One);
        talk.query("SELECT 'in step'");
        // From a file that is not there: one error, and the connection goes on or ends.
        let mut dump = vec![4, 0, 0, 0, 1, 0, 99, 0, 0, 0];
        dump.extend(b"nothing.000001");
        talk.command(0x12, &dump, Reply::UntilEnd);
        talk.command(0x0E, &[], Reply::One);
        talk.query("SELECT 'in step'");
    });
}

#[test]
fn commands_in_advance() {
    everywhere(|_, talk| {
        let mut all = Vec::new();
        let mut kinds = Vec::new();
        let mut add = |code: u8, body: &[u8], reply| {
            all.extend((body.len() as u32 + 1).to_le_bytes());
            all.push(code);
            all.extend(body);
            kinds.push(reply);
        };
        let body = |sql: &str| talk.query_body(sql.as_bytes());
        for round in 0..20 {
            add(3, &body("SELECT 1; SELECT 2"), Reply::Results);
            add(0x0E, &[], Reply::One);
            add(3, &body("BEGIN"), Reply::Results);
            add(3, &body(&format!("SELECT * FROM t WHERE id = {round} FOR UPDATE")), Reply::Results);
            add(3, &body(&format!("INSERT INTO t (id) VALUES ({})", round + 1)), Reply::Results);
            add(3, &body("INSERT INTO t (id) VALUES (1)"), Reply::Results);
            add(0x16, b"SELECT * FROM t WHERE id = ?", Reply::Prepared);
            add(0x19, &77u32.to_le_bytes(), Reply::Nothing);
            add(3, &body("COMMIT"), Reply::Results);
            add(0x1F, &[], Reply::One);
            add(0x02, b"conv", Reply::One);
            add(0xEE, b"unknown", Reply::One);
        }
        // MySQL's servers read one command at a time; what else has come waits in the socket.
        talk.send_bytes(&all);
        for (at, reply) in kinds.into_iter().enumerate() {
            talk.read(format!("answer {at}"), reply);
        }
    });
}

#[test]
fn bytes_one_by_one() {
    everywhere(|_, talk| {
        let body = talk.query_body(b"BEGIN; SELECT * FROM t WHERE id = 7 FOR UPDATE; COMMIT");
        let mut all = (body.len() as u32 + 1).to_le_bytes().to_vec();
        all.push(3);
        all.extend(body);
        all.iter().for_each(|byte| talk.send_bytes(&[*byte]));
        talk.read("answer".into(), Reply::Results);
        talk.query("SELECT 1");
    });
}

#[test]
fn without_eof_packets_an_empty_result_is_one_packet_shorter() {
    // The tests' own reader tells the forms apart, or all of the above would prove nothing.
    crate::both(|server| {
        let login = Login { capabilities: Login::default().capabilities | DEPRECATE_EOF, ..Login::default() };
        let mut talk = crate::talk::Talk::start(server.port, &login);
        talk.query("SELECT 1 FROM DUAL WHERE 0");
        assert_eq!(talk.record[1].1.len(), 3);
        let mut talk = crate::talk::Talk::start(server.port, &Login::default());
        talk.query("SELECT 1 FROM DUAL WHERE 0");
        assert_eq!(talk.record[1].1.len(), 4);
    });
}
