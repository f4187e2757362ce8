//! Payloads of 16 MiB − 1 and beyond, which take several packets, in both directions.

use crate::support::raw::capability::{DEFAULT, DEPRECATE_EOF};
use crate::support::{Interlock, Kind, Login, Server};
use crate::talk::{FULL, Reply, same};

const SERVER_OPTIONS: &[&str] = &["--max-allowed-packet=64M", "--innodb-log-buffer-size=16M"];

fn with_large_packets(script: impl Fn(&mut crate::talk::Talk)) {
    for kind in Kind::ALL {
        let Some(server) = Server::start_with(kind, SERVER_OPTIONS) else { continue };
        let interlock = Interlock::start(&server, &["--action", "reorder"]);
        for capabilities in [DEFAULT, DEFAULT | DEPRECATE_EOF] {
            let login = Login { schema: Some("conv".into()), capabilities, ..Login::default() };
            same(&server, &interlock, &login, crate::SETUP, &script);
        }
        interlock.assert_nothing_is_left();
    }
}

#[test]
fn from_the_client() {
    with_large_packets(|talk| {
        let frame = "SELECT LENGTH('')".len() + 1;
        for length in [FULL - 1, FULL, FULL + 1, 2 * FULL] {
            let text = vec![b'x'; length - frame];
            talk.query([b"SELECT LENGTH('", &text[..], b"')"].concat());
        }
        let id = talk.prepare("SELECT LENGTH(?)");
        let chunk = [&id.to_le_bytes()[..], &[0, 0], &vec![b'y'; FULL]].concat();
        talk.command(0x18, &chunk, Reply::Nothing);
        talk.execute(id, 0, &[Some((252, b""))]);
    });
}

#[test]
fn from_the_server() {
    with_large_packets(|talk| {
        // A length of 4 bytes in front of the value up to 2^24 - 1, of 9 bytes beyond; the latter begins
        // with 0xFE, as an EOF packet does.
        for length in [FULL - 5, FULL - 4, FULL - 3, FULL, FULL + 1, 2 * FULL - 9] {
            talk.query(format!("SELECT REPEAT('x', {length}) UNION ALL SELECT 'short'; SELECT 2"));
        }
        let id = talk.prepare(&format!("SELECT REPEAT('x', {FULL}), 5"));
        talk.execute(id, 0, &[]);
        talk.query("SELECT REPEAT('x', 67108865)");
    });
}
