//! The console, as its clients see it: the command-line clients of both servers, a session as PyMySQL has it,
//! and one of a graphical tool that looks at `information_schema` before anything else.

use std::net::TcpStream;
use std::process::Command;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::api::request;
use crate::shop::{SOON, Shop, in_each_shop, on_each_server, run};
use crate::support::{Interlock, Login, RawClient, free_port, wait_until};

/// `dba`, with the password `secret`.
const ACCOUNT: &str = "dba:*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";

/// Runs a check in front of each server, with a console on this port.
fn with_console(users: &str, check: impl Fn(&Shop, u16)) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let console = [("INTERLOCK__CONSOLE__LISTEN", address.as_str()), ("INTERLOCK__CONSOLE__USERS", users)];
    in_each_shop(&console, |shop| {
        wait_until("the console is open", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        check(&shop, port);
        drop(shop);
        wait_until("the port is free again", SOON, || TcpStream::connect(("127.0.0.1", port)).is_err());
    });
}

fn account(user: &str) -> Login {
    Login { user: user.into(), password: "secret".into(), ..Login::default() }
}

fn login(port: u16) -> RawClient {
    RawClient::login(port, &account("dba"))
}

fn error(client: &mut RawClient, sql: &str) -> u16 {
    client.query(sql)[0].error().unwrap_or_else(|| panic!("{sql} is not refused")).0
}

/// The one value of the answer.
fn value(client: &mut RawClient, sql: &str) -> String {
    let rows = client.rows(sql);
    assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}: {rows:?}");
    rows[0][0].clone().unwrap_or_else(|| panic!("{sql}: NULL"))
}

/// The server's own command-line client: what it prints, and whether it was content.
fn command_line(shop: &Shop, port: u16, password: &str, sql: &str) -> (bool, String) {
    let mut client = match shop.server.is_mysql() {
        true => {
            let root = Command::new("tests/support/mysql-root").output().expect("a script of the tests");
            Command::new(String::from_utf8_lossy(&root.stdout).trim().to_owned() + "/run/mysql")
        }
        false => Command::new("mariadb"),
    };
    let output = client
        .args(["--no-defaults", "--host=127.0.0.1", "--user=dba", "--batch", &format!("--port={port}")])
        .arg(format!("--execute={sql}"))
        .env("MYSQL_PWD", password)
        .output()
        .expect("the client of the server is installed with it");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn an_operator_sees_a_hold_and_ends_it_with_the_clients_of_both_servers() {
    with_console(ACCOUNT, |shop, port| {
        let (mut holder, held) = shop.hold();
        let ask = |sql: &str| {
            let (done, said) = command_line(shop, port, "secret", sql);
            assert!(done, "{sql}: {said}");
            said
        };
        let locks = ask("SHOW LOCKS WHERE state = 'granted'; SELECT COUNT(*) FROM interlock.waits");
        assert!(locks.contains("by_server") && locks.ends_with("COUNT(*)\n1\n"), "{locks}");
        let transactions =
            ask("SELECT session, state, blocks FROM interlock.transactions ORDER BY blocks DESC");
        let lines: Vec<&str> = transactions.lines().map(|line| line.split_once('\t').unwrap().1).collect();
        assert_eq!(lines[lines.len() - 3..], ["state\tblocks", "idle\t1", "held\t0"], "{transactions}");
        // What the clients' own command `status` asks.
        let status = "SELECT DATABASE(), USER() LIMIT 1; SHOW STATUS LIKE 'Ssl_cipher'; SELECT @@version_comment LIMIT 1;
            SELECT @@character_set_client, @@character_set_connection, @@character_set_server, @@character_set_database LIMIT 1";
        assert!(ask(status).contains("interlock console"));

        let timeline = ask("SHOW CONFLICT 1");
        for part in ["in the way: session", "  took X", ": held for"] {
            assert!(timeline.contains(part), "{part}: {timeline}");
        }
        let hold = ask("SELECT hold FROM interlock.holds LIMIT 1");
        let release = format!("RELEASE HOLD {}", hold.lines().last().expect("a row"));
        let (done, said) = command_line(shop, port, "wrong", &release);
        assert!(!done && said.contains("ERROR"), "{said}");
        assert_eq!(shop.rows("holds").len(), 1, "still held");
        ask(&release);
        assert_eq!(held.join().expect("no panic"), Some(0), "it went on");
        let (done, said) = command_line(shop, port, "secret", &release);
        assert!(!done && said.contains("ERROR 1094 (HY000)"), "no longer held: {said}");

        run(&mut holder, "ROLLBACK");
        drop(holder);
        shop.interlock.assert_nothing_is_left();
    });
}

#[test]
fn everything_that_help_names_works() {
    with_console(ACCOUNT, |shop, port| {
        let (holder, held) = shop.hold();
        let mut dba = login(port);
        for table in ["conflicts", "locks", "waits", "transactions", "sessions", "holds", "digests"] {
            let shown = dba.rows(&format!("SHOW {table}"));
            assert!(!shown.is_empty(), "{table}");
            let counted = value(&mut dba, &format!("SELECT COUNT(*) FROM interlock.{table}"));
            assert_eq!(counted, shown.len().to_string(), "{table}");
        }
        assert_eq!(dba.rows("SHOW SIGNATURES").len(), 0, "no deadlock yet");
        let help = dba.rows("HELP");
        assert_eq!(help, dba.rows("SHOW HELP"));
        let named =
            |what: &str| help.iter().any(|row| row[0].as_deref().is_some_and(|s| s.starts_with(what)));
        assert!(["SHOW LOCKS", "RELEASE HOLD", "KILL SESSION", "SET action"].into_iter().all(named));

        // A condition on text, number, order and limit; names as MySQL takes them.
        let sql =
            "SELECT `index`, mode FROM locks WHERE `table` = 'BATCH' AND session > 0 AND state LIKE 'gr%'
            ORDER BY `index` DESC, session LIMIT 1";
        assert_eq!(dba.rows(sql), [[Some("by_server".to_owned()), Some("X".to_owned())]]);
        assert_eq!(error(&mut dba, "SELECT colour FROM interlock.locks"), 1054);
        assert_eq!(error(&mut dba, "SELECT * FROM interlock.clocks"), 1146);
        assert_eq!(error(&mut dba, "SELEKT 1"), 1064);
        assert_eq!(error(&mut dba, "SELECT * FROM locks JOIN waits"), 1235);
        assert_eq!(error(&mut dba, "SET action = 'sleep'"), 1231);
        assert_eq!(error(&mut dba, "USE shop"), 1049);
        assert_eq!(error(&mut dba, "KILL SESSION 4000000"), 1094);

        assert_eq!(value(&mut dba, "SELECT action FROM interlock.status"), "reorder");
        run(&mut dba, "SET action = 'flag'");
        assert_eq!(value(&mut dba, "SELECT @@action"), "flag");
        assert_eq!(shop.interlock.status()["action"], "flag");
        // Nothing in the configuration has changed: what was set stays, and the answer says so.
        let said = dba.query("RELOAD CONFIG");
        assert!(String::from_utf8_lossy(&said[0].payload).contains("policy.action stays flag"), "{said:?}");
        assert_eq!(value(&mut dba, "SELECT @@action"), "flag");

        let held_session = value(&mut dba, "SELECT session FROM holds");
        run(&mut dba, &format!("KILL SESSION {held_session}"));
        assert_eq!(held.join().expect("no panic"), None, "its connection was closed");
        drop(holder);

        assert_ne!(dba.rows("SELECT * FROM interlock.conflicts_reset WHERE seq > 0").len(), 0);
        assert_eq!(value(&mut dba, "SELECT COUNT(*) FROM conflicts"), "0");
        shop.interlock.assert_nothing_is_left();
    });
}

#[test]
fn without_an_account_everybody_here_may_look_and_nobody_change() {
    with_console("", |shop, port| {
        let mut anybody = RawClient::login(port, &Login::default());
        assert_eq!(value(&mut anybody, "SELECT COUNT(*) FROM interlock.locks"), "0");
        for change in [
            "SET action = 'flag'",
            "SET GLOBAL action = flag",
            "KILL SESSION 1",
            "KILL 1",
            "RELEASE HOLD 1",
            "RELOAD CONFIG",
            "SELECT * FROM conflicts_reset",
            "SELECT * FROM interlock.digests_reset",
        ] {
            assert_eq!(error(&mut anybody, change), 1227, "{change}");
        }
        assert_eq!(shop.interlock.status()["action"], "reorder");
    });
}

#[test]
fn an_action_that_was_set_survives_reloads_and_accounts_change_with_them() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("interlock.toml");
    let console = format!("127.0.0.1:{}", free_port());
    let port = console.rsplit(':').next().expect("a port").parse().expect("a number");
    let write = |action: &str, keep: u32, token: &str, user: &str| {
        let text = format!(
            "[policy]\naction = \"{action}\"\n[conflicts]\nkeep = {keep}\n[admin]\ntoken = \"{token}\"\n\
             [console]\nlisten = \"{console}\"\nusers = [\"{user}\"]\n"
        );
        std::fs::write(&file, text).expect("it can be written");
    };
    on_each_server(|server| {
        write("flag", 100, "the-first-token-of-two", ACCOUNT);
        let path = file.to_str().expect("UTF-8");
        let unset = [("INTERLOCK__CONSOLE__LISTEN", console.as_str())];
        let interlock = Interlock::start_with(server, &["--config", path], &unset);
        wait_until("the console is open", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let mut dba = login(port);
        run(&mut dba, "SET action = 'reorder'");
        let reload = |dba: &mut RawClient| {
            String::from_utf8_lossy(&dba.query("RELOAD CONFIG")[0].payload[1..]).into_owned()
        };
        write("flag", 200, "the-first-token-of-two", ACCOUNT);
        let said = reload(&mut dba);
        assert!(said.contains("changed: conflicts.keep; policy.action stays reorder"), "{said:?}");
        assert_eq!(interlock.status()["action"], "reorder");

        write("reject", 200, "the-first-token-of-two", ACCOUNT);
        let said = reload(&mut dba);
        assert!(said.contains("changed: policy.action") && !said.contains("stays"), "{said:?}");
        assert_eq!(interlock.status()["action"], "reject");

        let other = ACCOUNT.replace("dba:", "ops:");
        write("reject", 200, "the-second-token-of-two", &other);
        let said = reload(&mut dba);
        assert!(said.contains("changed: admin.token, console.users"), "{said:?}");
        let ask = |token: &str| {
            request(&interlock, "POST /api/holds/1/release", &format!("Authorization: Bearer {token}\r\n")).0
        };
        assert_eq!((ask("the-first-token-of-two"), ask("the-second-token-of-two")), (401, 404));
        let refused = RawClient::connect(port).authenticate(&account("dba")).error();
        assert!(refused.is_some());
        assert!(RawClient::connect(port).authenticate(&account("ops")).is_ok());
        // Who is in stays in, and may go on.
        assert_eq!(value(&mut dba, "SELECT @@action"), "reject");

        write("sleep", 200, "the-second-token-of-two", &other);
        assert_eq!(error(&mut dba, "RELOAD CONFIG"), 1105);
        assert_eq!(interlock.status()["action"], "reject");
    });
}

/// What PyMySQL sends by itself, and what an application sends through it.
#[test]
fn a_session_as_pymysql_has_it() {
    with_console(ACCOUNT, |_, port| {
        let wrong = Login { user: "dba".into(), password: "Secret".into(), ..Login::default() };
        let refusal = RawClient::connect(port).authenticate(&wrong).error();
        assert!(matches!(refusal, Some((1045 | 1698, _))), "{refusal:?}");
        let schema = Some("interlock".to_owned());
        let login = Login { user: "dba".into(), password: "secret".into(), schema, ..Login::default() };
        let mut client = RawClient::login(port, &login);
        run(&mut client, "SET NAMES utf8mb4");
        run(&mut client, "SET AUTOCOMMIT = 0");
        assert_eq!(value(&mut client, "SELECT DATABASE()"), "interlock");
        assert_eq!(client.rows("SELECT * FROM locks WHERE session = 7").len(), 0);
        assert_eq!(error(&mut client, "SELECT * FROM nothing"), 1146);
        run(&mut client, "COMMIT");
        // COM_PING, COM_INIT_DB, COM_QUIT
        client.command(0x0e, b"");
        assert!(client.receive().is_ok());
        client.command(0x02, b"information_schema");
        assert!(client.receive().is_ok());
        assert_eq!(value(&mut client, "SELECT DATABASE()"), "information_schema");
        client.command(0x02, b"nowhere");
        assert_eq!(client.receive().error().map(|(code, _)| code), Some(1049));
        client.command(0x01, b"");
        assert_eq!(client.read_to_end().expect("the end"), b"");
    });
}

/// A driver of another make, which asks with prepared statements.
#[test]
fn a_driver_prepares_what_it_asks() {
    with_console(ACCOUNT, |shop, port| {
        let (mut holder, held) = shop.hold();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let url = format!("mysql://dba:secret@127.0.0.1:{port}/interlock");
            let mut dba = Conn::from_url(url).await.expect("it logs in");
            let sql = "SELECT user, held_ms, transaction, behind IS NULL FROM holds";
            let row: Option<(String, f64, u64, bool)> = dba.exec_first(sql, ()).await.expect("an answer");
            let (user, held_ms, transaction, alone) = row.expect("a hold");
            assert_eq!((&*user, alone), ("root", false));
            assert!(held_ms > 0.0 && transaction > 0, "{held_ms} {transaction}");
            let null: Option<Option<u64>> =
                dba.exec_first("SELECT errno FROM conflicts", ()).await.expect("one");
            assert_eq!(null, Some(None));
            for _ in 0..300 {
                let statement = dba.prep("SELECT 1").await.expect("closed ones make room");
                dba.close(statement).await.expect("it closes");
            }
            let refused = dba.prep("SELECT * FROM locks WHERE session = ?").await.expect_err("no parameters");
            assert!(matches!(&refused, mysql_async::Error::Server(error) if error.code == 1235), "{refused}");
            dba.ping().await.expect("still there");
            dba.disconnect().await.expect("it says goodbye");
        });
        run(&mut holder, "COMMIT");
        assert_eq!(held.join().expect("no panic"), Some(0));
    });
}

/// What Connector/J, MySQL Workbench, DBeaver and HeidiSQL ask when they connect and open the schema.
#[test]
fn a_graphical_tool_finds_its_way() {
    with_console(ACCOUNT, |_, port| {
        let mut tool = login(port);
        let first = "/* connector */SELECT  @@session.auto_increment_increment AS auto_increment_increment, \
            @@character_set_client AS character_set_client, @@lower_case_table_names AS lower_case_table_names, \
            @@max_allowed_packet AS max_allowed_packet, @@sql_mode AS sql_mode, @@time_zone AS time_zone, \
            @@transaction_isolation AS transaction_isolation, @@wait_timeout AS wait_timeout";
        let row = tool.rows(first).remove(0);
        assert_eq!(row[..4], ["1", "utf8mb4", "1", "1048576"].map(|text| Some(text.to_owned())));
        for sql in [
            "SET NAMES utf8mb4",
            "SET character_set_results = NULL",
            "SHOW WARNINGS",
            "SHOW ENGINES",
            "SHOW COLLATION",
            "SHOW PLUGINS",
            "SHOW /*!50002 GLOBAL */ STATUS",
            "SHOW TRIGGERS FROM `interlock`",
            "SHOW KEYS FROM `interlock`.`locks`",
            "SHOW PROCEDURE STATUS WHERE Db='interlock'",
            "SELECT * FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'interlock'",
            "SELECT * FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'interlock'",
        ] {
            run(&mut tool, sql);
        }
        let named = |rows: Vec<Vec<Option<String>>>| {
            rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(named(tool.rows("SHOW DATABASES LIKE 'inter%'")), ["interlock"]);
        assert_eq!(named(tool.rows("SHOW VARIABLES LIKE 'lower_case_%'")), ["lower_case_table_names"]);
        assert_eq!(named(tool.rows("SHOW TABLES FROM `interlock` LIKE 'loc%'")), ["locks"]);
        let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'interlock'";
        let tables = named(tool.rows(tables));
        assert_eq!(tables, named(tool.rows("SHOW FULL TABLES FROM `interlock`")));
        for table in &tables {
            let columns = format!(
                "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'interlock' \
                 AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
            );
            let columns = named(tool.rows(&columns));
            assert!(!columns.is_empty(), "{table}");
            assert_eq!(columns, named(tool.rows(&format!("SHOW FULL COLUMNS FROM `interlock`.`{table}`"))));
            let packets = tool.query(&format!("SELECT * FROM `interlock`.`{table}` LIMIT 0, 200"));
            assert_eq!(packets[0].payload, [columns.len() as u8], "{table}");
            assert_eq!(tool.rows(&format!("SHOW CREATE TABLE `interlock`.`{table}`")).len(), 1, "{table}");
        }
    });
}
