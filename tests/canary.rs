//! Secrets stay where they are: passwords and literals go through a working interlock, and none of them comes
//! out of its logs, metrics, pages or records.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Interlock, Login, RawClient, Server, both, free_port, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// Each is used once or more below. Some are numbers, as they stand in a text and as they are in binary.
const CANARIES: &[&str] = &[
    "canary-client-password",
    "canary-wrong-password",
    "canary-control-password",
    "canary-next-password",
    "canary-literal",
    "canary-prepared",
    "canary-duplicate",
    "canary-new-account",
    "canary-comment",
    "canary-like",
    "canary-tag",
    "canary-deadlock",
    "canary-admin-token",
    // The hash of the console's password.
    "14E65567ABDB5135",
    "770077007",
];

/// Tables of the API; those that this version does not have are not found.
const PAGES: &[&str] = &[
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/status",
    "/api/conflicts?after=0",
    "/api/conflicts/1",
    "/api/groups",
    "/api/sessions",
    "/api/transactions",
    "/api/locks",
    "/api/waits",
    "/api/holds",
    "/api/digests",
    "/api/hazards",
    "/api/signatures",
    "/api/tables",
    "/api/advice",
    "/openapi.json",
    "/api/openapi.json",
    "/nothing?q=canary",
];

fn prepare(server: &Server) {
    let mut root = RawClient::login(server.port, &Login::default());
    for sql in [
        "CREATE TABLE test.c (id INT PRIMARY KEY, name VARCHAR(60), UNIQUE KEY (name)) ENGINE=InnoDB",
        "INSERT INTO test.c VALUES (10, 'canary-duplicate'), (20, 'canary-like')",
        "CREATE USER 'teller'@'%' IDENTIFIED BY 'canary-client-password'",
        "GRANT ALL ON *.* TO 'teller'@'%'",
        "CREATE USER 'control'@'%' IDENTIFIED BY 'canary-control-password'",
        "GRANT SELECT, TRIGGER ON test.* TO 'control'@'%'",
    ] {
        assert!(root.query(sql).iter().all(|packet| packet.error().is_none()), "{sql}");
    }
}

fn teller(password: &str) -> Login {
    Login {
        user: "teller".into(),
        password: password.into(),
        schema: Some("test".into()),
        ..Login::default()
    }
}

/// Everything that a client may do with a secret, with conflicts, errors and a hold on its way.
fn work(server: &Server, interlock: &Interlock) {
    let good = teller("canary-client-password");
    let mut first = RawClient::login(interlock.port, &good);
    let mut refused = RawClient::connect(interlock.port);
    assert!(refused.authenticate(&teller("canary-wrong-password")).error().is_some());
    let mut second = RawClient::login(interlock.port, &good);
    // A conflict, and a hold of the second, on literals.
    let locking = "SELECT * FROM c WHERE name = 'canary-literal' AND id <> 770077007 FOR UPDATE";
    wait_until("a conflict is seen", SOON, || {
        first.query("BEGIN");
        first.query(locking);
        second.query(&format!("BEGIN; {locking} /* canary-comment */; ROLLBACK"));
        second.query(&format!(
            "{locking} /*customer='canary-tag',route='%2Fusers%2F770077007%2F%3Fname=canary-tag'*/"
        ));
        first.query("ROLLBACK");
        !interlock.conflicts().is_empty()
    });
    // While a transaction is open, so that the tables of the API have rows.
    first.query("BEGIN");
    first.query(locking);
    for sql in [
        "INSERT INTO c VALUES (770077007, 'canary-duplicate')",
        "SELECT * FROM c WHERE name LIKE 'canary-like%' AND id = 0x2de6b50f OR name = _utf8mb4'canary-literal'",
        "CREATE USER 'other'@'%' IDENTIFIED BY 'canary-new-account'",
        "SET PASSWORD FOR 'other'@'%' = 'canary-new-account'",
        "THIS IS NOT SQL 'canary-literal' 770077007",
        "SELECT 'canary-literal' FROM nowhere WHERE 770077007",
        "CALL nothing('canary-literal')",
    ] {
        second.query(sql);
    }
    // A prepared statement with a text as its parameter.
    second.command(0x16, b"SELECT * FROM c WHERE name = ? FOR UPDATE");
    let id = second.receive().payload[1..5].to_vec();
    // One parameter, its end, two columns, their end.
    (0..5).for_each(|_| drop(second.receive()));
    let text = b"canary-prepared";
    let execution = [&id[..], &[0, 1, 0, 0, 0, 0, 1, 0xfd, 0, text.len() as u8], text].concat();
    second.command(0x17, &execution);
    let answer = second.receive();
    assert!(answer.error().is_none(), "{answer:?}");
    // A wrong change of user, after which servers may close.
    let mut third = RawClient::login(interlock.port, &good);
    if server.is_mysql() {
        third.change_user(&teller("canary-wrong-password"));
    }
    for page in PAGES {
        check(page, &interlock.get(page).expect("the admin address answers").1);
    }
    drop((first, second, third));
}

/// A deadlock that the server ends: it becomes a record, a signature, and lines of two files.
fn deadlock(interlock: &Interlock) {
    let good = teller("canary-client-password");
    let (mut first, mut second) =
        (RawClient::login(interlock.port, &good), RawClient::login(interlock.port, &good));
    let set = |client: &mut RawClient, id: u32| {
        let sql = format!("/* interlock:flag */ UPDATE c SET name = 'canary-deadlock-{id}' WHERE id = {id}");
        client.query(&sql)[0].error().map(|(code, _)| code)
    };
    first.query("BEGIN");
    second.query("BEGIN");
    assert_eq!((set(&mut first, 10), set(&mut second, 20)), (None, None));
    let waiting = std::thread::spawn(move || {
        let ended = set(&mut first, 20);
        first.query("ROLLBACK");
        ended
    });
    wait_until("the first one waits", SOON, || interlock.status()["wait_edges"] != 0);
    let ended = [set(&mut second, 10), waiting.join().expect("it is answered")];
    assert!(ended.contains(&Some(1213)), "{ended:?}");
    second.query("ROLLBACK");
    wait_until("it is remembered", SOON, || {
        interlock.get("/api/signatures").is_some_and(|(_, body)| body.contains("UPDATE c SET name"))
    });
}

/// Everything that the console shows, and what the page is sent.
fn looks(interlock: &Interlock, console: u16) {
    let login = Login { user: "dba".into(), password: "secret".into(), ..Login::default() };
    let mut dba = RawClient::login(console, &login);
    for what in [
        "CONFLICTS",
        "CONFLICT 1",
        "LOCKS",
        "WAITS",
        "TRANSACTIONS",
        "SESSIONS",
        "HOLDS",
        "DIGESTS",
        "SIGNATURES",
        "STATUS",
        "VARIABLES",
        "PROCESSLIST",
    ] {
        let rows = dba.rows(&format!("SHOW {what}"));
        let cells: Vec<String> = rows.into_iter().flatten().flatten().collect();
        check(&format!("SHOW {what}"), &cells.join("\n"));
    }
    let mut stream = TcpStream::connect(("127.0.0.1", interlock.admin_port)).expect("it listens");
    stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("text"));
    check("/api/events", &lines.find(|line| line.starts_with("data:")).expect("an event"));
}

fn check(place: &str, text: &str) {
    for canary in CANARIES {
        if let Some(at) = text.find(canary) {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            panic!("{place} shows {canary}: {}", text[start..].lines().next().unwrap_or_default());
        }
    }
}

fn control(server: &Server) -> String {
    format!("[control]\nurl = \"mysql://control:canary-control-password@{}\"\n", server.address())
}

/// Settings with secrets of their own, and files that are written.
fn more(folder: &Path, console: u16) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "[admin]\ntoken = \"canary-admin-token\"\n[console]\nlisten = \"127.0.0.1:{console}\"\n\
         users = [\"dba:*14E65567ABDB5135D0CFD9A70B3032C179A49EE7\"]\n[conflicts]\nfile = \"{}\"\n[state]\ndir = \"{}\"\n",
        at("conflicts.jsonl"),
        at("state")
    )
}

fn interlock(server: &Server, file: &Path, environment: &[(&str, &str)]) -> Interlock {
    let config = file.to_str().expect("a text");
    Interlock::start_bare(
        &["--upstream", &server.address(), "--config", config, "--action", "reorder"],
        &[&[("INTERLOCK__REORDER__HOLD_TIMEOUT", "200ms")], environment].concat(),
    )
}

#[test]
fn nothing_secret_is_shown() {
    both(|server| {
        prepare(server);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("interlock.toml");
        let console = free_port();
        let settings = more(folder.path(), console);
        std::fs::write(&file, control(server) + &settings).unwrap();
        let said =
            Command::new(env!("CARGO_BIN_EXE_interlock")).arg("check").arg("--config").arg(&file).output();
        let said = said.expect("the program starts");
        assert!(said.status.success(), "{said:?}");
        check(
            "interlock check",
            &(String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr)),
        );
        // From the environment an empty address would win over the file's.
        let address = format!("127.0.0.1:{console}");
        let environment =
            [("INTERLOCK__LOG__LEVEL", "trace"), ("INTERLOCK__CONSOLE__LISTEN", address.as_str())];
        let mut interlock = interlock(server, &file, &environment);
        work(server, &interlock);
        deadlock(&interlock);
        for page in PAGES {
            check(page, &interlock.get(page).expect("the admin address answers").1);
        }
        wait_until("the console is open", SOON, || TcpStream::connect(("127.0.0.1", console)).is_ok());
        looks(&interlock, console);
        // A reload with another password, and one with a fault in it.
        for text in [
            "[control]\nurl = \"mysql://control:canary-next-password@127.0.0.1:1\"\n",
            "[control]\nurl = \"pg://control:canary-next-password@127.0.0.1:1\"\n",
        ] {
            std::fs::write(&file, text.to_owned() + &settings).unwrap();
            interlock.signal("HUP");
            wait_until("it is read", SOON, || {
                let lines = interlock.output();
                let (taken, refused) = ("configuration read again", "refused, the old one stays");
                if text.contains("pg://") { lines.contains(refused) } else { lines.contains(taken) }
            });
        }
        assert!(
            interlock.output().contains("this change needs a restart key=\"control.url\""),
            "it was seen"
        );
        interlock.signal("TERM");
        assert!(interlock.wait(SOON).success());
        let output = interlock.output();
        assert!(output.contains("DEBUG"), "everything was logged");
        check("the log", &output);
        for (name, words) in
            [("conflicts.jsonl", "SELECT * FROM c"), ("state/signatures.json", "UPDATE c SET name")]
        {
            let text = std::fs::read_to_string(folder.path().join(name)).expect("it was written");
            assert!(text.contains(words), "{name} says something: {text}");
            check(name, &text);
        }
    });
}

#[test]
fn unredacted_the_canaries_are_found() {
    // That the other test can fail: the records are where the literals would be.
    both(|server| {
        prepare(server);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("interlock.toml");
        std::fs::write(&file, format!("redact = false\n{}", control(server))).unwrap();
        let interlock = interlock(server, &file, &[]);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(server, &interlock)));
        let text = found.expect_err("literals are shown");
        let text = text.downcast_ref::<String>().expect("a message");
        assert!(text.contains("shows canary-") || text.contains("shows 770077007"), "{text}");
        // Passwords are not, whatever the setting.
        for page in PAGES {
            let body = interlock.get(page).expect("the admin address answers").1;
            for canary in CANARIES.iter().filter(|canary| canary.ends_with("-password")) {
                assert!(!body.contains(canary), "{page} shows {canary}");
            }
        }
    });
}
