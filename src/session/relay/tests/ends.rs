//! How sessions end.

use tokio::io::AsyncWriteExt;

use super::support::*;
use crate::session::relay::End;
use crate::wire::command::COM_QUIT;
use crate::wire::error::ErrorPacket;

fn farewell(sequence: u8) -> Vec<u8> {
    ErrorPacket::shutdown().encode(sequence, true)
}

#[tokio::test(start_paused = true)]
async fn quit_is_passed_on() {
    let mut bench = Bench::new();
    bench.up(&command(COM_QUIT, b"")).await;
    assert_eq!(bench.end().await, End::Quit);
}

#[tokio::test(start_paused = true)]
async fn quit_waits_for_the_answers_before_it() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("A"), command(COM_QUIT, b"")].concat()).await.unwrap();
    bench.client.shutdown().await.unwrap();
    expect(&mut bench.server, &[query("A"), command(COM_QUIT, b"")].concat()).await;
    bench.down(&ok(1)).await;
    assert_eq!(bench.end().await, End::Quit);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_leaves() {
    let mut bench = Bench::new();
    bench.up(&query("BEGIN")).await;
    bench.down(&ok(0)).await;
    drop(bench.client);
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ClientClosed);
    expect_end(&mut bench.server).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_a_statement_is_noticed() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT SLEEP(100)")).await;
    drop(bench.client);
    expect_end(&mut bench.server).await;
    drop(bench.server);
    bench.relay.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_gets_its_answer() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT 1")).await;
    bench.client.shutdown().await.unwrap();
    expect_end(&mut bench.server).await;
    bench.down(&rows(&["a"], false)).await;
    expect_end(&mut bench.client).await;
    assert_eq!(bench.end().await, End::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_command_is_dropped_with_its_client() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("DELETE FROM t")[..9]).await.unwrap();
    drop(bench.client);
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ClientClosed);
    expect_end(&mut bench.server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_closes_the_client() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT 1")).await;
    bench.server.write_all(&rows(&["a"], false)[..20]).await.unwrap();
    drop(bench.server);
    expect(&mut bench.client, &rows(&["a"], false)[..20]).await;
    expect_end(&mut bench.client).await;
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ServerClosed);
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_server_arrive() {
    let mut bench = Bench::new();
    let words = packet(0, b"\xff\x1d\x04#08S01bye");
    bench.server.write_all(&words).await.unwrap();
    drop(bench.server);
    expect(&mut bench.client, &words).await;
    expect_end(&mut bench.client).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_drained() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT 1")).await;
    bench.down(&ok(0)).await;
    bench.drain.drain();
    expect(&mut bench.client, &farewell(0)).await;
    expect_end(&mut bench.client).await;
    assert_eq!(bench.end().await, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_answer_and_the_transaction() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT 1")).await;
    bench.drain.drain();
    silence(&mut bench.client).await;
    bench.script.0.lock().unwrap().busy = true;
    bench.down(&ok(0)).await;
    silence(&mut bench.client).await;
    bench.up(&query("COMMIT")).await;
    bench.script.0.lock().unwrap().busy = false;
    bench.server.write_all(&ok(0)).await.unwrap();
    expect(&mut bench.client, &[ok(0), farewell(0)].concat()).await;
    assert_eq!(bench.end().await, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn closing_answers_a_waiting_client() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT SLEEP(100)")).await;
    bench.drain.close();
    expect(&mut bench.client, &farewell(1)).await;
    assert_eq!(bench.end().await, End::Closed);
}

#[tokio::test(start_paused = true)]
async fn closing_answers_a_held_client() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("HOLD A")).await.unwrap();
    silence(&mut bench.server).await;
    bench.drain.close();
    expect(&mut bench.client, &farewell(1)).await;
    assert_eq!(bench.end().await, End::Closed);
}

#[tokio::test(start_paused = true)]
async fn closing_puts_nothing_into_an_answer() {
    let mut bench = Bench::new();
    bench.up(&query("SELECT 1")).await;
    bench.down(&rows(&["a"], false)[..20]).await;
    bench.drain.close();
    expect_end(&mut bench.client).await;
    assert_eq!(bench.end().await, End::Closed);
}
