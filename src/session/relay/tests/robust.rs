//! Nonsense from both sides: no panic, no hang, and bytes still pass.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::*;
use crate::session::analysis::Verdict;
use crate::session::relay::RelayLimits;

/// One move of the game.
#[derive(Clone, Debug)]
enum Move {
    Client(Vec<u8>),
    Server(Vec<u8>),
    Release,
    CloseClient,
    CloseServer,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let texts = prop::sample::select(vec!["A", "EARLIER A", "HOLD A", "REJECT A", "UNDO A", "LOAD"]);
    prop_oneof![
        texts.prop_map(query),
        (any::<u8>(), any::<Vec<u8>>()).prop_map(|(code, body)| command(code, &body)),
        prop::sample::select(vec![ok(1), rows(&["a"], false), rows(&[], true), packet(1, b"\xfbx"), ok(0)]),
        any::<Vec<u8>>(),
        (any::<u8>(), any::<Vec<u8>>()).prop_map(|(sequence, payload)| packet(sequence, &payload)),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => bytes().prop_map(Move::Client),
        6 => bytes().prop_map(Move::Server),
        2 => Just(Move::Release),
        1 => Just(Move::CloseClient),
        1 => Just(Move::CloseServer),
    ];
    prop::collection::vec(one, 0..30)
}

async fn play(moves: Vec<Move>) {
    let limits = RelayLimits { max_analysed: 100, max_pending: 4, ..RelayLimits::default() };
    let bench = Bench::with(512, limits);
    let (mut from_client, client) = tokio::io::split(bench.client);
    let (mut from_server, server) = tokio::io::split(bench.server);
    let (mut client, mut server) = (Some(client), Some(server));
    let read = tokio::spawn(async move {
        let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
        let _ =
            tokio::join!(from_client.read_to_end(&mut to_client), from_server.read_to_end(&mut to_server));
    });
    for step in moves {
        let pause = tokio::time::sleep(Duration::from_millis(1));
        match step {
            Move::Client(bytes) => {
                if let Some(client) = &mut client {
                    let _ = tokio::time::timeout(Duration::from_secs(1), client.write_all(&bytes)).await;
                }
            }
            Move::Server(bytes) => {
                if let Some(server) = &mut server {
                    let _ = tokio::time::timeout(Duration::from_secs(1), server.write_all(&bytes)).await;
                }
            }
            Move::Release => {
                let holder = bench.script.0.lock().unwrap().holder.is_some();
                if holder {
                    bench.script.release(Verdict::Forward);
                }
            }
            Move::CloseClient => {
                if let Some(mut client) = client.take() {
                    let _ = client.shutdown().await;
                }
            }
            Move::CloseServer => {
                if let Some(mut server) = server.take() {
                    let _ = server.shutdown().await;
                }
            }
        }
        pause.await;
    }
    for end in [&mut client, &mut server] {
        if let Some(mut end) = end.take() {
            let _ = end.shutdown().await;
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), bench.relay).await;
    ended.expect("the relay ends when both sides have").expect("no panic").expect("a usual end");
    read.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_game_ends(moves in moves()) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(play(moves));
    }
}
