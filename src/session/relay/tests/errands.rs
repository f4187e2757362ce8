//! Statements of interlock's own: before a command, behind one, and when nothing is under way.

use tokio::io::AsyncWriteExt;

use super::support::*;
use crate::session::relay::End;
use crate::wire::error::ErrorPacket;

#[tokio::test(start_paused = true)]
async fn what_comes_first_is_answered_before_the_command_goes_on() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("A"), query("FIRST B"), query("C")].concat()).await.unwrap();
    expect(&mut bench.server, &query("A")).await;
    silence(&mut bench.server).await;
    bench.down(&ok(1)).await;
    expect(&mut bench.server, &query("ASK")).await;
    silence(&mut bench.server).await;
    for byte in ok(0) {
        bench.server.write_all(&[byte]).await.unwrap();
    }
    expect(&mut bench.server, &[query("FIRST B"), query("C")].concat()).await;
    silence(&mut bench.client).await;
    bench.down(&[ok(2), ok(3)].concat()).await;
    assert_eq!(bench.script.answers().len(), 3, "the answer to ASK is interlock's own");
}

#[tokio::test(start_paused = true)]
async fn what_comes_first_can_end_the_command() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("FIRST A")).await.unwrap();
    expect(&mut bench.server, &query("ASK")).await;
    bench.server.write_all(&ErrorPacket::deadlock().encode(1, true)).await.unwrap();
    expect(&mut bench.client, &ErrorPacket::interrupted().encode(1, true)).await;
    bench.up(&query("B")).await;
    bench.down(&ok(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_wait_for_what_comes_first() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("FIRST A")).await.unwrap();
    expect(&mut bench.server, &query("ASK")).await;
    drop(bench.client);
    assert_eq!(bench.relay.await.unwrap().unwrap(), End::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn an_errand_follows_a_command_that_is_alone() {
    let mut bench = Bench::new();
    bench.client.write_all(&query("LAST")).await.unwrap();
    expect(&mut bench.server, &[query("LAST"), query("GIVE")].concat()).await;
    bench.client.write_all(&query("B")).await.unwrap();
    expect(&mut bench.server, &query("B")).await;
    bench.server.write_all(&[ok(1), ok(9), ok(2)].concat()).await.unwrap();
    expect(&mut bench.client, &[ok(1), ok(2)].concat()).await;
    silence(&mut bench.client).await;
    assert_eq!(bench.script.0.lock().unwrap().done, [Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn an_errand_waits_where_commands_are_pipelined() {
    let mut bench = Bench::new();
    bench.client.write_all(&[query("LAST"), query("B")].concat()).await.unwrap();
    expect(&mut bench.server, &[query("LAST"), query("B")].concat()).await;
    silence(&mut bench.server).await;
    bench.down(&[ok(1), ok(2)].concat()).await;
}

#[tokio::test(start_paused = true)]
async fn an_errand_runs_when_nothing_is_under_way() {
    let mut bench = Bench::new();
    bench.up(&query("A")).await;
    bench.script.0.lock().unwrap().errand = Some("TIDY".to_owned());
    silence(&mut bench.server).await;
    bench.down(&ok(1)).await;
    expect(&mut bench.server, &query("TIDY")).await;
    bench.up(&query("B")).await;
    let failed = ErrorPacket::interrupted().encode(1, true);
    bench.server.write_all(&[failed, ok(2)].concat()).await.unwrap();
    expect(&mut bench.client, &ok(2)).await;
    silence(&mut bench.client).await;
    assert_eq!(bench.script.0.lock().unwrap().done, [Err(1317)]);
}
