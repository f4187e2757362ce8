//! Commands that wait, are held, or are rejected.

use tokio::io::AsyncWriteExt;

use super::support::*;
use crate::session::analysis::Verdict;
use crate::session::relay::{End, RelayLimits};
use crate::wire::error::ErrorPacket;

fn deadlock(sequence: u8) -> Vec<u8> {
    ErrorPacket::deadlock().encode(sequence, true)
}

#[tokio::test(start_paused = true)]
async fn a_command_waits_for_the_earlier_ones() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("A"), query("EARLIER B"), query("C")].concat()).await.unwrap();
    expect(&mut bench.server, &query("A")).await;
    silence(&mut bench.server).await;
    bench.down(&ok(1)).await;
    expect(&mut bench.server, &[query("EARLIER B"), query("C")].concat()).await;
    bench.down(&[ok(2), ok(3)].concat()).await;
    assert_eq!(bench.script.commands().len(), 4, "B was asked about twice");
}

#[tokio::test(start_paused = true)]
async fn a_held_command_goes_on_when_it_is_released() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("A"), query("HOLD B"), query("C")].concat()).await.unwrap();
    expect(&mut bench.server, &query("A")).await;
    bench.down(&ok(1)).await;
    silence(&mut bench.server).await;
    bench.script.release(Verdict::Forward);
    expect(&mut bench.server, &[query("HOLD B"), query("C")].concat()).await;
    bench.down(&[ok(2), ok(3)].concat()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_held_leaves_nothing_on_the_server() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("HOLD A"), query("B")].concat()).await.unwrap();
    silence(&mut bench.server).await;
    drop(bench.client);
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ClientClosed);
    expect_end(&mut bench.server).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_held_still_has_an_answer_to_come() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("A"), query("HOLD B")].concat()).await.unwrap();
    expect(&mut bench.server, &query("A")).await;
    bench.client.shutdown().await.unwrap();
    expect_end(&mut bench.server).await;
    bench.down(&ok(1)).await;
    assert_eq!(bench.end().await, End::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn a_long_held_command_does_not_hide_that_its_client_leaves() {
    let mut bench = Bench::new();
    let text = format!("HOLD {}", "x".repeat(500_000));
    bench.client.write_all(&query(&text)).await.unwrap();
    silence(&mut bench.server).await;
    drop(bench.client);
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_command_never_reaches_the_server() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("A"), query("REJECT B"), query("C")].concat()).await.unwrap();
    expect(&mut bench.server, &query("A")).await;
    silence(&mut bench.client).await;
    bench.server.write_all(&ok(1)).await.unwrap();
    expect(&mut bench.client, &[ok(1), deadlock(1)].concat()).await;
    expect(&mut bench.server, &query("C")).await;
    bench.down(&ok(3)).await;
    assert_eq!(bench.script.answers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_transaction_is_rolled_back_before_the_rejection() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("UNDO A"), query("B")].concat()).await.unwrap();
    expect(&mut bench.server, &query("ROLLBACK")).await;
    silence(&mut bench.client).await;
    for byte in ok(0) {
        bench.server.write_all(&[byte]).await.unwrap();
    }
    expect(&mut bench.client, &deadlock(1)).await;
    expect(&mut bench.server, &query("B")).await;
    bench.down(&ok(3)).await;
    assert_eq!(bench.script.answers().len(), 1, "the answer to ROLLBACK is interlock's own");
}

#[tokio::test(start_paused = true)]
async fn a_held_command_can_be_rejected() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("HOLD A")).await.unwrap();
    silence(&mut bench.server).await;
    bench.script.release(Verdict::Reject { error: ErrorPacket::deadlock(), rollback: true });
    expect(&mut bench.server, &query("ROLLBACK")).await;
    bench.server.write_all(&ok(0)).await.unwrap();
    expect(&mut bench.client, &deadlock(1)).await;
    bench.up(&query("B")).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_ends_the_session() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("UNDO A")).await.unwrap();
    expect(&mut bench.server, &query("ROLLBACK")).await;
    bench.server.write_all(&ErrorPacket::interrupted().encode(1, true)).await.unwrap();
    assert_eq!(bench.end().await, End::RollbackFailed);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_command_is_dropped_when_it_is_rejected() {
    let mut bench = Bench::with(8192, RelayLimits { max_analysed: 5_000, ..RelayLimits::default() });
    let text = format!("REJECT {}", "x".repeat(300_000));
    let bytes = query(&text);
    bench.client.write_all(&bytes[..200_000]).await.unwrap();
    silence(&mut bench.client).await;
    bench.client.write_all(&bytes[200_000..]).await.unwrap();
    expect(&mut bench.client, &deadlock(1)).await;
    bench.up(&query("B")).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_without_an_answer_is_rejected_in_silence() {
    let mut bench = Bench::new();
    let close = command(crate::wire::command::COM_STMT_CLOSE, b"REJECT ");
    bench.client.write_all(&close).await.unwrap();
    silence(&mut bench.client).await;
    bench.up(&query("B")).await;
}
