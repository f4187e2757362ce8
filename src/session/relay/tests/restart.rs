//! A transaction that a deadlock has ended is run again, and its client notices nothing.

use tokio::io::AsyncWriteExt;

use super::support::*;
use crate::session::analysis::Replayed;
use crate::session::relay::{End, RelayLimits};
use crate::wire::command::COM_STMT_CLOSE;
use crate::wire::error::ErrorPacket;

fn deadlock() -> Vec<u8> {
    ErrorPacket::deadlock().encode(1, true)
}

/// A transaction of BEGIN and A, whose B is under way; so many restarts are possible.
async fn begun(restarts: usize) -> Bench {
    let mut bench = Bench::new();
    begin(&mut bench, restarts).await;
    bench
}

async fn begin(bench: &mut Bench, restarts: usize) {
    {
        let mut state = bench.script.0.lock().unwrap();
        (state.keeps, state.restarts) = (true, restarts);
    }
    for (text, answer) in [("BEGIN", ok(0)), ("A", rows(&["1"], false))] {
        bench.up(&query(text)).await;
        bench.down(&answer).await;
    }
}

/// The server is asked whether it has undone everything, and says so.
async fn undone(bench: &mut Bench) {
    checked(bench, &["1213", "1213", "4094"]).await;
    expect(&mut bench.server, &query("ROLLBACK")).await;
    bench.server.write_all(&ok(0)).await.unwrap();
}

/// Byte by byte.
async fn checked(bench: &mut Bench, warnings: &[&str]) {
    expect(&mut bench.server, &query("SHOW WARNINGS")).await;
    for byte in rows(warnings, false) {
        bench.server.write_all(&[byte]).await.unwrap();
    }
}

async fn again(bench: &mut Bench, text: &str, answer: &[u8]) {
    expect(&mut bench.server, &query(text)).await;
    bench.server.write_all(answer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_client_gets_the_second_answer_only() {
    let mut bench = begun(1).await;
    bench.up(&query("B")).await;
    // However the error arrives, no byte of it may have gone on.
    for byte in deadlock() {
        bench.server.write_all(&[byte]).await.unwrap();
        silence(&mut bench.client).await;
    }
    undone(&mut bench).await;
    again(&mut bench, "BEGIN", &ok(0)).await;
    again(&mut bench, "A", &rows(&["1"], false)).await;
    expect(&mut bench.server, &query("B")).await;
    silence(&mut bench.client).await;
    bench.down(&ok(7)).await;
    // It goes on as ever, and after its end there is nothing to be run again.
    bench.up(&query("COMMIT")).await;
    bench.down(&deadlock()).await;
    let state = bench.script.0.lock().unwrap();
    assert_eq!((state.replayed.as_slice(), state.deadlocks.len()), (&[Replayed::Same][..], 1));
}

#[tokio::test(start_paused = true)]
async fn another_answer_ends_it_with_the_error() {
    let mut bench = begun(1).await;
    bench.up(&query("B")).await;
    bench.server.write_all(&deadlock()).await.unwrap();
    undone(&mut bench).await;
    again(&mut bench, "BEGIN", &ok(0)).await;
    again(&mut bench, "A", &rows(&["2"], false)).await;
    silence(&mut bench.client).await;
    expect(&mut bench.server, &query("ROLLBACK")).await;
    bench.server.write_all(&ok(0)).await.unwrap();
    expect(&mut bench.client, &deadlock()).await;
    bench.up(&query("C")).await;
    bench.down(&ok(1)).await;
    assert_eq!(bench.script.0.lock().unwrap().replayed, [Replayed::Differs]);
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_in_the_middle_begins_it_anew() {
    let mut bench = begun(2).await;
    bench.up(&query("B")).await;
    bench.server.write_all(&deadlock()).await.unwrap();
    undone(&mut bench).await;
    again(&mut bench, "BEGIN", &ok(0)).await;
    again(&mut bench, "A", &deadlock()).await;
    undone(&mut bench).await;
    again(&mut bench, "BEGIN", &ok(0)).await;
    again(&mut bench, "A", &rows(&["1"], false)).await;
    // Now all is used up.
    again(&mut bench, "B", &deadlock()).await;
    expect(&mut bench.client, &deadlock()).await;
    assert_eq!(bench.script.0.lock().unwrap().deadlocks.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_is_decided_anew() {
    let mut bench = begun(1).await;
    bench.client.write_all(&[query("ONCE B"), query("COMMIT")].concat()).await.unwrap();
    again(&mut bench, "ROLLBACK", &ok(0)).await;
    checked(&mut bench, &["1292"]).await;
    again(&mut bench, "BEGIN", &ok(0)).await;
    again(&mut bench, "A", &rows(&["1"], false)).await;
    silence(&mut bench.client).await;
    expect(&mut bench.server, &[query("ONCE B"), query("COMMIT")].concat()).await;
    bench.down(&[ok(1), ok(2)].concat()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_undone_is_not_run_twice() {
    let mut bench = begun(1).await;
    bench.up(&query("B")).await;
    bench.server.write_all(&deadlock()).await.unwrap();
    checked(&mut bench, &["1213", "1196"]).await;
    again(&mut bench, "ROLLBACK", &ok(0)).await;
    expect(&mut bench.client, &deadlock()).await;
    assert_eq!(bench.script.0.lock().unwrap().replayed, [Replayed::NotUndone]);

    let mut bench = begun(1).await;
    bench.client.write_all(&query("ONCE B")).await.unwrap();
    again(&mut bench, "ROLLBACK", &ok(0)).await;
    checked(&mut bench, &["1196"]).await;
    expect(&mut bench.client, &deadlock()).await;
    bench.up(&query("C")).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_meanwhile_ends_it() {
    let mut bench = begun(1).await;
    bench.script.0.lock().unwrap().pauses = true;
    bench.up(&query("B")).await;
    bench.server.write_all(&deadlock()).await.unwrap();
    undone(&mut bench).await;
    silence(&mut bench.server).await;
    drop(bench.client);
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ClientClosed);
    expect_end(&mut bench.server).await;
}

#[tokio::test(start_paused = true)]
async fn a_replayed_command_can_be_held() {
    let mut bench = Bench::new();
    bench.script.0.lock().unwrap().keeps = true;
    begin(&mut bench, 1).await;
    bench.client.write_all(&query("HOLD C")).await.unwrap();
    silence(&mut bench.server).await;
    bench.script.release(crate::session::analysis::Verdict::Forward);
    again(&mut bench, "HOLD C", &ok(1)).await;
    expect(&mut bench.client, &ok(1)).await;
    bench.up(&query("B")).await;
    bench.server.write_all(&deadlock()).await.unwrap();
    undone(&mut bench).await;
    again(&mut bench, "BEGIN", &ok(0)).await;
    again(&mut bench, "A", &rows(&["1"], false)).await;
    silence(&mut bench.server).await;
    bench.script.release(crate::session::analysis::Verdict::Forward);
    again(&mut bench, "HOLD C", &ok(1)).await;
    expect(&mut bench.server, &query("B")).await;
    bench.down(&ok(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_transaction_is_not_kept() {
    let mut bench = begun(1).await;
    bench.up(&query(&"x".repeat(5000))).await;
    bench.down(&ok(1)).await;
    bench.up(&query("B")).await;
    bench.down(&deadlock()).await;
    assert!(bench.script.0.lock().unwrap().deadlocks.iter().all(|deadlock| !deadlock.whole));
}

#[tokio::test(start_paused = true)]
async fn pipelined_commands_are_not_run_again() {
    let mut bench = begun(1).await;
    bench.up(&[query("B"), query("C")].concat()).await;
    bench.down(&[deadlock(), ok(1)].concat()).await;
    assert_eq!(bench.script.0.lock().unwrap().deadlocks, []);
}

#[tokio::test(start_paused = true)]
async fn a_short_packet_at_the_servers_end_is_passed_on() {
    let mut bench = Bench::with(64, RelayLimits::default());
    begin(&mut bench, 1).await;
    bench.up(&query("B")).await;
    bench.server.write_all(&deadlock()[..6]).await.unwrap();
    silence(&mut bench.client).await;
    drop(bench.server);
    expect(&mut bench.client, &deadlock()[..6]).await;
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ServerClosed);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_open_is_closed_when_nothing_is_under_way() {
    let mut bench = begun(1).await;
    bench.script.0.lock().unwrap().closed = vec![7, 0x0102_0304];
    bench.up(&query("BESIDE")).await;
    bench.down(&ok(1)).await;
    let close = |id: u32| command(COM_STMT_CLOSE, &id.to_le_bytes());
    expect(&mut bench.server, &[close(7), close(0x0102_0304)].concat()).await;
    bench.up(&query("BESIDE")).await;
    bench.down(&ok(2)).await;
}

#[tokio::test(start_paused = true)]
async fn generated_keys_are_the_same_again() {
    let inserted = packet(1, &[0, 1, 9, 3, 0, 0, 0]);
    let other = packet(1, &[0, 1, 10, 3, 0, 0, 0]);
    for (answer, left) in [(&inserted, false), (&other, false), (&other, true)] {
        let mut bench = begun(1).await;
        bench.up(&query("INSERT")).await;
        bench.down(&inserted).await;
        bench.up(&query("B")).await;
        bench.server.write_all(&deadlock()).await.unwrap();
        undone(&mut bench).await;
        again(&mut bench, "BEGIN", &ok(0)).await;
        again(&mut bench, "A", &rows(&["1"], false)).await;
        expect(&mut bench.server, &[query("SET INSERT_ID = 9"), query("INSERT")].concat()).await;
        bench.server.write_all(&[&ok(0)[..], answer].concat()).await.unwrap();
        if *answer == inserted {
            expect(&mut bench.server, &query("B")).await;
            bench.down(&ok(2)).await;
            continue;
        }
        again(&mut bench, "ROLLBACK", &ok(0)).await;
        let found: &[&str] = if left { &["1"] } else { &[] };
        again(&mut bench, "SELECT 1 FROM DUAL WHERE @@insert_id <> 0", &rows(found, false)).await;
        match left {
            // The next INSERT of the client's must not get the key.
            true => assert_eq!(bench.end().await, End::RollbackFailed),
            false => expect(&mut bench.client, &deadlock()).await,
        }
    }
}
