//! Logins that go wrong end soon, are explained, and leave nothing open.

use proptest::prelude::*;

use super::*;

/// Takes the greeting, sends `bytes`, and gives the error that comes back, if one does.
async fn provoke(bytes: &[u8]) -> (Result<LoggedIn, LoginError>, Option<(u8, Vec<u8>)>) {
    let bench = Bench::new().await;
    let mut answer = None;
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                refuse(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                client.write_all(bytes).await.expect("interlock reads");
                client.shutdown().await.expect("interlock reads");
                let mut rest = Vec::new();
                let _ = client.read_to_end(&mut rest).await;
                if rest.len() > 4 {
                    answer = Some((rest[3], rest.split_off(4)));
                }
            },
        )
        .await;
    (outcome, answer)
}

/// `bytes` must be answered with `error` as packet 2.
async fn check(bytes: &[u8], error: &[u8]) {
    let (outcome, answer) = provoke(bytes).await;
    assert!(outcome.is_err());
    let (_, payload) = answer.expect("an error");
    assert!(payload.starts_with(error), "{}", String::from_utf8_lossy(&payload));
}

#[tokio::test]
async fn garbage_is_a_bad_handshake() {
    check(b"\x04\x00\x00\x01\x00\x02\x00\x00", b"\xff\x13\x04#08S01Bad handshake").await;
    check(b"\x00\x00\x00\x01", b"\xff\x13\x04#08S01Bad handshake").await;
    check(b"\x05\x00\x00\x01\x85\x00\x00\x00\x00", b"\xff\x13\x04#08S01Bad handshake").await;
}

#[tokio::test]
async fn a_packet_out_of_order_is_a_bad_handshake() {
    check(b"\x05\x00\x00\x07\x85\x00\x00\x00\x00", b"\xff\x13\x04#08S01Bad handshake (client: packet out")
        .await;
}

#[tokio::test]
async fn a_large_packet_is_not_waited_for() {
    check(b"\xff\xff\xff\x01\x85\x00\x00", b"\xff\x13\x04#08S01Bad handshake (client: packet of").await;
}

#[tokio::test]
async fn tls_that_is_not_offered_is_a_bad_handshake() {
    let mut request = b"\x20\x00\x00\x01".to_vec();
    request.extend_from_slice(&response(true)[..32]);
    check(&request, b"\xff\x13\x04#08S01Bad handshake (client asked for TLS").await;
}

#[tokio::test]
async fn a_client_that_leaves_is_not_an_error_for_anybody_else() {
    for bytes in [&b""[..], b"\x20", b"\x20\x00\x00\x01\x00\x01"] {
        let (outcome, answer) = provoke(bytes).await;
        assert!(matches!(outcome, Err(LoginError::ClientLeft)));
        assert_eq!(answer, None);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let mut bench = Bench::new().await;
    let (closed, _) = pair().await;
    bench.backend.address = endpoint(closed.local_addr().expect("an address"));
    drop(closed);
    let settings =
        Settings::new(bench.backend.clone(), bench.handshake_timeout, false, None).expect("good settings");
    let (mut client, far) = pair().await;
    let (outcome, packet) =
        tokio::join!(login(&settings, far.into(), Peer::Local, None), async { read(&mut client).await });
    assert!(matches!(outcome, Err(LoginError::Connect(_))));
    let message =
        format!("interlock: can't connect to upstream {} (connection refused)", bench.backend.address);
    // No SQLSTATE: the client has not said which protocol it speaks.
    assert_eq!(packet, (0, [b"\xff\xd3\x07", message.as_bytes()].concat()));
}

/// MariaDB refuses the address in a PROXY header with a number that the client has used already.
#[tokio::test]
async fn an_error_of_the_server_may_carry_any_number() {
    for (payload, number) in [(&b"\xff\x69\x04#HY000Host"[..], 1), (b"\x00\x00\x00\x02\x00\x00\x00", 1)] {
        let is_error = payload[0] == 0xff;
        let bench = Bench::new().await;
        let outcome = bench
            .run(
                async |mut server| {
                    write(&mut server, 0, GREETING).await;
                    read(&mut server).await;
                    write(&mut server, number, payload).await;
                },
                async |mut client| {
                    read(&mut client).await;
                    write(&mut client, 1, &response(false)).await;
                    let (sequence, answer) = read(&mut client).await;
                    assert_eq!(sequence, 2);
                    assert_eq!(answer == payload, is_error, "{}", String::from_utf8_lossy(&answer));
                },
            )
            .await;
        match outcome {
            Err(LoginError::Denied { code: 1129 }) => assert!(is_error),
            other => assert!(!is_error && matches!(other, Err(LoginError::Server(_)))),
        }
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let mut bench = Bench::new().await;
    bench.handshake_timeout = Duration::from_millis(50);
    let outcome = bench
        .run(
            async |mut server| assert_closed(&mut server).await,
            async |mut client| {
                assert!(read(&mut client).await.1.starts_with(b"\xff\x87\x04interlock: login"))
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::Timeout(_))));
}

#[tokio::test]
async fn a_silent_client_is_not_waited_for() {
    let mut bench = Bench::new().await;
    bench.handshake_timeout = Duration::from_millis(50);
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                refuse(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                client.write_all(b"\x20\x00").await.expect("interlock reads");
                assert!(read(&mut client).await.1.starts_with(b"\xff\x87\x04#08S01interlock: login"));
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::Timeout(_))));
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_refused_by_the_server() {
    let outcome = Bench::new()
        .await
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                read(&mut server).await;
                write(&mut server, 2, b"\x01\x04").await;
                assert_eq!(read(&mut server).await, (3, Vec::new()));
                write(&mut server, 4, b"\xff\x15\x04#28000Access denied").await;
                assert_closed(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                write(&mut client, 1, &response(false)).await;
                read(&mut client).await;
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::ClientLeft)));
}

#[tokio::test]
async fn a_server_that_leaves_is_named() {
    let bench = Bench::new().await;
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                read(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                write(&mut client, 1, &response(false)).await;
                let (sequence, payload) = read(&mut client).await;
                assert_eq!(sequence, 2);
                assert!(payload.starts_with(b"\xff\xdd\x07#HY000interlock: server closed"));
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::ServerLeft)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_bytes_of_a_client_end_the_login(bytes in proptest::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut packet = if framed { vec![bytes.len() as u8, 0, 0, 1] } else { Vec::new() };
            packet.extend_from_slice(&bytes);
            let bench = Bench::new().await;
            let outcome = bench
                .run(
                    async |mut server| {
                        write(&mut server, 0, GREETING).await;
                        let mut rest = Vec::new();
                        let _ = tokio::time::timeout(Duration::from_millis(20), server.read_to_end(&mut rest)).await;
                    },
                    async |mut client| {
                        read(&mut client).await;
                        let _ = client.write_all(&packet).await;
                    },
                )
                .await;
            assert!(outcome.is_err());
        });
    }

    #[test]
    fn any_bytes_of_a_server_end_the_login(bytes in proptest::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut packet = if framed { vec![bytes.len() as u8, 0, 0, 0] } else { Vec::new() };
            packet.extend_from_slice(&bytes);
            let outcome = Bench::new().await
                .run(
                    async |mut server| drop(server.write_all(&packet).await),
                    async |mut client| {
                        let mut rest = Vec::new();
                        let _ = tokio::time::timeout(Duration::from_millis(20), client.read_to_end(&mut rest)).await;
                    },
                )
                .await;
            assert!(outcome.is_err());
        });
    }
}
