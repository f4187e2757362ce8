//! Bad input and broken connections at every stage: no panic, no hang, nothing left, others unharmed.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use socket2::SockRef;
use support::{Interlock, Login, RawClient, Server, both};

const TABLE: &str = "CREATE TABLE test.r (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;
    INSERT INTO test.r VALUES (1, 0), (2, 0), (10, 0)";

/// Another client, which works all the time in between.
struct Bystander(RawClient);

impl Bystander {
    fn start(interlock: &Interlock) -> Bystander {
        let login = Login { schema: Some("test".into()), ..Login::default() };
        let client = RawClient::login(interlock.port, &login);
        client.set_timeout(Duration::from_secs(5));
        Bystander(client)
    }

    fn works(&mut self) {
        let begin = Instant::now();
        let answer = self.0.query("BEGIN; SELECT n FROM r WHERE id = 1 FOR UPDATE; COMMIT");
        assert!(answer.iter().all(|packet| packet.error().is_none()), "{answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
}

/// Runs a check on both servers; afterwards nothing must be left of it.
fn unharmed(check: impl Fn(&Server, &Interlock, &mut Bystander)) {
    both(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        assert!(root.query(TABLE).iter().all(|packet| packet.error().is_none()));
        // Broken logins are counted by the servers, which block the host in the end.
        root.query("SET GLOBAL max_connect_errors = 1000000");
        let mut interlock = Interlock::start(server, &["--action", "reorder"]);
        let mut bystander = Bystander::start(&interlock);
        check(server, &interlock, &mut bystander);
        bystander.works();
        drop(bystander);
        assert!(interlock.is_running());
        interlock.assert_nothing_is_left();
    });
}

fn connect(interlock: &Interlock) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", interlock.port)).expect("interlock listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a read timeout");
    stream
}

fn login(interlock: &Interlock) -> RawClient {
    let client = RawClient::login(interlock.port, &Login { schema: Some("test".into()), ..Login::default() });
    client.set_timeout(Duration::from_secs(5));
    client
}

/// Ends the writing side and reads what comes, to the end: it must come.
fn read_out(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection hangs");
    }
}

#[test]
fn random_bytes() {
    unharmed(|_, interlock, bystander| {
        let mut random = StdRng::seed_from_u64(7);
        for round in 0..60 {
            let mut bytes = vec![0; random.random_range(1..400)];
            random.fill_bytes(&mut bytes);
            let mut stream = connect(interlock);
            if round % 2 == 0 {
                let mut greeting = [0; 4];
                stream.read_exact(&mut greeting).expect("a greeting");
            }
            let _ = stream.write_all(&bytes);
            read_out(stream);
            // The same after a login.
            let mut client = login(interlock);
            let _ = client.try_send_bytes(&bytes);
            client.shut(Shutdown::Write);
            if let Err(error) = client.read_to_end() {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "round {round} hangs");
            }
            if round % 10 == 0 {
                bystander.works();
            }
        }
    });
}

#[test]
fn commands_of_random_content() {
    // Every command code with bodies that are too short, random, or valid but cut.
    unharmed(|_, interlock, bystander| {
        let mut random = StdRng::seed_from_u64(11);
        let statement = b"BEGIN; SELECT * FROM r WHERE id IN (1, 5) AND n = 'it''s' FOR UPDATE; COMMIT";
        for code in (0..=0x24).chain([0x80, 0xFA, 0xFB, 0xFF]) {
            // COM_SHUTDOWN (MariaDB obeys), and the binary log, which may never end.
            if [0x08, 0x12, 0x13, 0x1E].contains(&code) {
                continue;
            }
            let mut client = login(interlock);
            for length in [0, 1, 3, 4, 7, 9, 30, 200] {
                let mut body = vec![0; length];
                random.fill_bytes(&mut body);
                if code == 0x16 || code == 3 {
                    body = statement[..length.min(statement.len())].to_vec();
                }
                if code == 0x11 && length > 0 {
                    break; // the rounds that follow are not commands
                }
                let mut packet = (body.len() as u32 + 1).to_le_bytes().to_vec();
                packet.push(code);
                packet.extend(body);
                if client.try_send_bytes(&packet).is_err() {
                    break;
                }
            }
            client.shut(Shutdown::Write);
            if let Err(error) = client.read_to_end() {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "command {code:#x} hangs");
            }
        }
        bystander.works();
    });
}

#[test]
fn packets_of_wrong_size_and_order() {
    unharmed(|_, interlock, bystander| {
        let broken: [&[u8]; 8] = [
            b"",
            b"\x00\x00\x00\x00",                         // an empty command
            b"\x05\x00\x00\x00\x03DO",                   // cut
            b"\xff\xff\xff\x00\x03DO 1",                 // announces 16 MiB
            b"\x05\x00\x00\x09\x03DO 1",                 // number 9
            b"\x05\x00\x00\x00\x03DO 1\x05\x00\x00\x00", // a header of the next
            b"\x01\x00\x00\x00\x17",                     // an execution without an id
            b"\x05\x00\x00\x00\x03DO 1\x05\x00\x00\xff\x03DO 1",
        ];
        for bytes in broken {
            for _ in 0..3 {
                let mut client = login(interlock);
                client.send_bytes(bytes);
                client.shut(Shutdown::Write);
                if let Err(error) = client.read_to_end() {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:?} hangs");
                }
                // In place of a login.
                let mut stream = connect(interlock);
                let _ = stream.write_all(bytes);
                read_out(stream);
            }
            bystander.works();
        }
    });
}

#[test]
fn a_slow_writer() {
    unharmed(|_, interlock, bystander| {
        let mut client = login(interlock);
        let text = b"BEGIN; SELECT * FROM r WHERE id = 5 FOR UPDATE; COMMIT";
        let mut packet = (text.len() as u32 + 1).to_le_bytes().to_vec();
        packet.push(3);
        packet.extend(text);
        for (at, byte) in packet.iter().enumerate() {
            client.send_bytes(&[*byte]);
            std::thread::sleep(Duration::from_millis(20));
            if at % 20 == 0 {
                bystander.works();
            }
        }
        assert!(client.receive().is_ok());
    });
}

/// How a client goes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leave {
    Close,
    Reset,
    HalfClose,
}

#[test]
fn clients_that_leave_at_any_stage() {
    unharmed(|_, interlock, bystander| {
        let mut first = login(interlock);
        first.query("BEGIN; SELECT * FROM r WHERE id = 5 FOR UPDATE");
        let stages: &[&str] = &["", "login", "idle", "command", "result", "transaction", "held", "advance"];
        for leave in [Leave::Close, Leave::Reset, Leave::HalfClose] {
            for stage in stages {
                let stream = reach(interlock, stage);
                match leave {
                    Leave::Close => drop(stream),
                    Leave::Reset => {
                        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
                        drop(stream);
                    }
                    Leave::HalfClose if *stage == "held" => {
                        // It may still wait for its answer, which comes when the first has ended.
                        stream.shutdown(Shutdown::Write).expect("half closed");
                        std::thread::sleep(Duration::from_millis(50));
                        first.query("COMMIT");
                        read_out(stream);
                    }
                    Leave::HalfClose => read_out(stream),
                }
            }
            bystander.works();
        }
        drop(first);
    });
}

/// A client in some stage of its life.
fn reach(interlock: &Interlock, stage: &str) -> TcpStream {
    let mut stream = connect(interlock);
    let mut header = [0; 4];
    if stage.is_empty() {
        return stream;
    }
    stream.read_exact(&mut header).expect("a greeting");
    stream.read_exact(&mut vec![0; usize::from(header[0])]).expect("a greeting");
    if stage == "login" {
        stream.write_all(&[60, 0, 0, 1, 5, 0xA2]).expect("half a login");
        return stream;
    }
    let mut login = vec![0x0D, 0xA2, 0x0F, 0, 0, 0, 0, 1, 45];
    login.extend([0; 23]);
    login.extend(b"root\0\0test\0mysql_native_password\0");
    stream.write_all(&[&(login.len() as u32 | 1 << 24).to_le_bytes()[..], &login].concat()).expect("a login");
    // The account has no password: whatever is asked, the answer is empty.
    loop {
        stream.read_exact(&mut header).expect("an answer");
        let mut payload = vec![0; usize::from(header[0])];
        stream.read_exact(&mut payload).expect("an answer");
        match payload[0] {
            0 => break,
            0xFE => stream.write_all(&[0, 0, 0, header[3] + 1]).expect("an empty proof"),
            other => panic!("login: {other:#x}"),
        }
    }
    let mut send = |sql: &str| {
        let mut packet = (sql.len() as u32 + 1).to_le_bytes().to_vec();
        packet.push(3);
        packet.extend(sql.as_bytes());
        stream.write_all(&packet).expect("a command");
    };
    match stage {
        "idle" => {}
        "command" => stream.write_all(&[50, 0, 0, 0, 3, b'S', b'E']).expect("half a command"),
        "result" => send("SELECT REPEAT('x', 60000) FROM information_schema.COLUMNS LIMIT 500"),
        "transaction" => send("BEGIN; UPDATE r SET n = 1 WHERE id = 2"),
        "held" => {
            send("BEGIN");
            send("SELECT * FROM r WHERE id = 5 FOR UPDATE");
        }
        "advance" => {
            (0..50).for_each(|_| send("SELECT * FROM r; BEGIN; INSERT INTO r VALUES (99, 0); ROLLBACK"))
        }
        other => panic!("no stage {other}"),
    }
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(interlock.status()["held"], i32::from(stage == "held"), "stage {stage}");
    stream
}
