//! Commands and answers of every kind pass unchanged and are told to the analysis.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::*;
use crate::session::analysis::Answer;
use crate::session::relay::{End, RelayLimits};
use crate::wire::command::*;
use crate::wire::outcome::OutcomeKind;
use crate::wire::packet::MAX_PAYLOAD;

#[tokio::test(start_paused = true)]
async fn a_query_and_its_rows() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT 1")).await;
    bench.down(&rows(&["a", "b"], false)).await;
    assert_eq!(bench.script.commands(), [(COM_QUERY, b"SELECT 1".to_vec())]);
    let result = OutcomeKind::Rows { rows: 2, cursor: false };
    assert_eq!(bench.script.answers(), [Answer { result, status: Some(2), last: true, ..Answer::default() }]);
}

#[tokio::test(start_paused = true)]
async fn no_byte_of_a_command_goes_on_before_it_is_complete() {
    let mut bench = Bench::new();
    let bytes = query("SELECT 1");
    for byte in &bytes[..bytes.len() - 1] {
        bench.client.write_all(&[*byte]).await.unwrap();
        silence(&mut bench.server).await;
    }
    assert_eq!(bench.script.commands(), []);
    bench.client.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
    expect(&mut bench.server, &bytes).await;
    for byte in rows(&["x"], false) {
        bench.down(&[byte]).await;
    }
    assert_eq!(bench.script.answers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pipelined_commands_keep_their_order() {
    let mut bench = Bench::new();
    let sent = [query("A"), command(COM_STMT_CLOSE, &[1, 0, 0, 0]), query("B"), query("C")].concat();
    bench.up(&sent).await;
    bench.down(&[ok(1), rows(&["x"], true), ok(2), ok(3)].concat()).await;
    let told: Vec<(u64, bool)> = bench
        .script
        .answers()
        .iter()
        .map(|answer| match answer.result {
            OutcomeKind::Ok { affected, .. } => (affected, answer.last),
            OutcomeKind::Rows { rows, .. } => (100 + rows, answer.last),
            _ => (0, answer.last),
        })
        .collect();
    assert_eq!(told, [(1, true), (0, true), (101, false), (2, true), (3, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_command_beyond_the_limit_is_streamed() {
    let mut bench = Bench::with(8192, RelayLimits { max_analysed: 10_000, ..RelayLimits::default() });
    let text = "x".repeat(3_000_000);
    let bytes = query(&text);
    let (client, server) = (&mut bench.client, &mut bench.server);
    tokio::join!(async { client.write_all(&bytes).await.unwrap() }, expect(server, &bytes));
    bench.down(&ok(1)).await;
    let told = bench.script.0.lock().unwrap().told[0].clone();
    let Told::Command { body, length, truncated, .. } = told else { panic!("{told:?}") };
    assert_eq!((body.len(), length, truncated), (4095, text.len() + 1, true));
}

#[tokio::test(start_paused = true)]
async fn a_long_command_within_the_limit_is_seen_whole() {
    let mut bench = Bench::with(8192, RelayLimits::default());
    let text = "y".repeat(1_000_000);
    let bytes = query(&text);
    let (client, server) = (&mut bench.client, &mut bench.server);
    tokio::join!(async { client.write_all(&bytes).await.unwrap() }, expect(server, &bytes));
    assert_eq!(bench.script.commands(), [(COM_QUERY, text.into_bytes())]);
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_several_packets() {
    let mut bench = Bench::new();
    let mut bytes = vec![0xFF, 0xFF, 0xFF, 0];
    bytes.push(COM_QUERY);
    bytes.resize(4 + MAX_PAYLOAD, b'z');
    bytes.extend([5, 0, 0, 1]);
    bytes.extend(b"zzzzz");
    let next = query("NEXT");
    let (client, server) = (&mut bench.client, &mut bench.server);
    let send = async {
        client.write_all(&bytes).await.unwrap();
        client.write_all(&next).await.unwrap();
    };
    tokio::join!(send, async {
        expect(server, &bytes).await;
        expect(server, &next).await;
    });
    assert_eq!(bench.script.commands().len(), 2);
    bench.down(&[ok(1), ok(2)].concat()).await;
}

#[tokio::test(start_paused = true)]
async fn a_local_file_is_no_command() {
    let mut bench = Bench::new();
    bench.up(&query("LOAD DATA LOCAL")).await;
    bench.down(&packet(1, b"\xfb/tmp/x")).await;
    bench.up(&packet(2, b"\x01looks like COM_QUIT")).await;
    bench.up(&packet(3, b"\x03SELECT 1")).await;
    bench.up(&packet(4, b"")).await;
    bench.down(&ok(2)).await;
    bench.up(&query("SELECT 2")).await;
    assert_eq!(bench.script.commands().len(), 2);
    assert_eq!(bench.script.answers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_rounds_of_a_change_of_user_are_no_commands() {
    let mut bench = Bench::new();
    bench.up(&command(COM_CHANGE_USER, b"joe\0\0shop\0")).await;
    bench.down(&packet(1, b"\xfecaching_sha2_password\0salt")).await;
    bench.up(&packet(2, b"proof")).await;
    bench.down(&packet(3, &[1, 4])).await;
    bench.up(&packet(4, &[2])).await;
    bench.down(&packet(5, b"\x01-----BEGIN PUBLIC KEY-----")).await;
    bench.up(&packet(6, b"secret")).await;
    // A command that is sent too early waits for the end of it.
    bench.client.write_all(&query("SELECT 1")).await.unwrap();
    silence(&mut bench.server).await;
    bench.down(&packet(7, &[0, 0, 0, 2, 0, 0, 0])).await;
    expect(&mut bench.server, &query("SELECT 1")).await;
    assert_eq!(bench.script.commands().len(), 2);
    assert_eq!(bench.script.answers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_user_can_be_left_to_the_caller() {
    let limits = RelayLimits { bridge_change_user: true, ..RelayLimits::default() };
    let mut bench = Bench::with(8192, limits);
    let change = command(COM_CHANGE_USER, b"joe\0\0shop\0");
    bench.client.write_all(&[query("A"), change.clone(), query("B")].concat()).await.unwrap();
    expect(&mut bench.server, &query("A")).await;
    silence(&mut bench.server).await;
    bench.down(&ok(1)).await;
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ChangeUser(change));
}

#[tokio::test(start_paused = true)]
async fn a_binary_log_is_only_relayed() {
    let mut bench = Bench::new();
    bench.up(&command(COM_REGISTER_SLAVE, &[0; 18])).await;
    bench.down(&ok(0)).await;
    bench.up(&command(COM_BINLOG_DUMP, &[0; 10])).await;
    bench.down(b"anything \xff\xff\xff at all").await;
    bench.up(b"\x01\0\0\0\x01 semi-synchronous").await;
    assert_eq!(bench.script.commands().len(), 2);
    bench.drain.drain();
    assert_eq!(bench.end().await, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_sends_unasked_passes() {
    let mut bench = Bench::new();
    bench.down(&packet(0, b"\xff\x11\x10#HY000idle too long")).await;
    bench.up(&query("SELECT 1")).await;
    bench.down(&ok(1)).await;
    assert_eq!(bench.script.answers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_holds_the_server_back() {
    let mut bench = Bench::with(1024, RelayLimits::default());
    bench.up(&query("SELECT many")).await;
    let values = vec!["0123456789".repeat(20); 5_000];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let bytes = rows(&values, false);
    let (mut from_server, mut to_server) = tokio::io::split(bench.server);
    let answer = bytes.clone();
    let writer = tokio::spawn(async move { to_server.write_all(&answer).await.unwrap() });
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(!writer.is_finished(), "nobody reads, so the server cannot have written all");
    let mut got = vec![0; bytes.len()];
    bench.client.read_exact(&mut got).await.unwrap();
    assert!(got == bytes);
    bench.client.write_all(&query("B")).await.unwrap();
    let mut next = vec![0; query("B").len()];
    from_server.read_exact(&mut next).await.unwrap();
    let result = OutcomeKind::Rows { rows: 5_000, cursor: false };
    assert_eq!(bench.script.answers()[0].result, result);
}

#[tokio::test(start_paused = true)]
async fn pipelined_commands_beyond_the_limit_wait() {
    let mut bench = Bench::with(8192, RelayLimits { max_pending: 2, ..RelayLimits::default() });
    bench.client.write_all(&[query("A"), query("B"), query("C")].concat()).await.unwrap();
    bench.client.shutdown().await.unwrap();
    expect(&mut bench.server, &[query("A"), query("B")].concat()).await;
    silence(&mut bench.server).await;
    bench.down(&ok(1)).await;
    expect(&mut bench.server, &query("C")).await;
    bench.down(&[ok(2), ok(3)].concat()).await;
    assert_eq!(bench.end().await, End::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn the_analysis_hears_of_a_command_that_was_sent_once_the_server_has_room_for_it() {
    let mut bench = Bench::with(64, RelayLimits::default());
    let sent = |bench: &Bench| bench.script.0.lock().unwrap().sent.last().copied();
    bench.up(&query("A")).await;
    assert_eq!(sent(&bench), Some(1));
    bench.down(&ok(1)).await;
    let long = query(&"B".repeat(100));
    bench.client.write_all(&long[..50]).await.unwrap();
    bench.client.write_all(&long[50..]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!((bench.script.commands().len(), sent(&bench)), (2, Some(1)), "the server does not read");
    expect(&mut bench.server, &long).await;
    tokio::task::yield_now().await;
    assert_eq!(sent(&bench), Some(2));
}

#[tokio::test(start_paused = true)]
async fn an_error_right_behind_a_request_for_a_file_passes() {
    let mut bench = Bench::new();
    bench.up(&query("LOAD DATA LOCAL")).await;
    bench.down(&[packet(1, b"\xfb/tmp/x"), packet(2, b"\xff\x01\x00no")].concat()).await;
    bench.up(&packet(2, b"")).await;
    bench.up(&query("B")).await;
    bench.down(&ok(1)).await;
    assert_eq!(bench.script.answers().len(), 2);
}

#[test]
fn an_idle_session_is_small() {
    let size = std::mem::size_of::<crate::session::relay::Relay>();
    assert!(size <= 640, "{size} bytes for every connection");
}
