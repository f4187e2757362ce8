//! What passes, passes unchanged.

use super::*;

#[tokio::test]
async fn a_login_passes() {
    let bench = Bench::new().await;
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                assert_eq!(read(&mut server).await, (1, response(false)));
                write(&mut server, 2, b"\x01\x03").await;
                write(&mut server, 3, OK).await;
            },
            async |mut client| {
                let (sequence, greeting) = read(&mut client).await;
                assert_eq!((sequence, greeting.len()), (0, GREETING.len()));
                write(&mut client, 1, &response(false)).await;
                // Does not wait for the login's end.
                write(&mut client, 0, b"\x0e").await;
                assert_eq!(read(&mut client).await, (2, b"\x01\x03".to_vec()));
                assert_eq!(read(&mut client).await, (3, OK.to_vec()));
            },
        )
        .await;
    let mut session = outcome.expect("a session");
    assert_eq!(read(&mut session.client).await, (0, b"\x0e".to_vec()), "the command is left unread");
    let facts = session.facts;
    assert_eq!(
        (facts.user.as_str(), facts.schema.as_deref(), facts.program.as_deref()),
        ("app", Some("shop"), Some("py"))
    );
    assert_eq!((facts.server_thread, facts.server_version.as_str(), facts.status), (9, "9.7.4-2", 2));
    assert_eq!(facts.capabilities, 0x0018_8208);
    assert_eq!(session.mariadb_capabilities, 0);
    assert!(session.reauthentication.scramble.is_empty());
}

#[tokio::test]
async fn a_denial_passes() {
    let denial = b"\xff\x15\x04#28000Access denied for user 'app'@'localhost' (using password: YES)";
    let bench = Bench::new().await;
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                read(&mut server).await;
                write(&mut server, 2, denial).await;
                assert_closed(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                write(&mut client, 1, &response(false)).await;
                assert_eq!(read(&mut client).await, (2, denial.to_vec()));
                assert_closed(&mut client).await;
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::Denied { code: 1045 })));
}

#[tokio::test]
async fn an_error_instead_of_a_greeting_passes() {
    let blocked = b"\xff\x69\x04Host 'proxy' is blocked because of many connection errors";
    let bench = Bench::new().await;
    let outcome = bench
        .run(
            async |mut server| write(&mut server, 0, blocked).await,
            async |mut client| {
                assert_eq!(read(&mut client).await, (0, blocked.to_vec()));
                assert_closed(&mut client).await;
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::Denied { code: 1129 })));
}

#[tokio::test]
async fn the_client_s_address_goes_first_if_configured() {
    let mut bench = Bench::new().await;
    bench.backend.proxy_protocol = backend::config::ProxyProtocol::V1;
    let outcome = bench
        .run(
            async |mut server| {
                let mut header = [0; 15];
                server.read_exact(&mut header).await.expect("a header");
                assert_eq!(&header, b"PROXY UNKNOWN\r\n");
                write(&mut server, 0, b"\xff\x10\x04Too many connections").await;
            },
            async |mut client| drop(read(&mut client).await),
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::Denied { code: 1040 })));
}
