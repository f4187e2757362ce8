//! TLS on either leg, and the RSA step where the legs differ.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::backend::config::{TlsConfig, TlsMode};
use crate::wire::auth::{Transport, mix};

const SCRAMBLE: &[u8] = b"\x11L.NVvwQW\x15B\x16{t}\x1bE\x7f! ";

/// A certificate for `localhost`: as PEM, and as a server's configuration.
fn certificate() -> (String, Arc<rustls::ServerConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("the key fits");
    (cert.pem(), Arc::new(config))
}

/// What a client of interlock does for TLS: the request as packet 1, then the handshake.
async fn client_tls(mut client: TcpStream) -> impl AsyncRead + AsyncWrite + Unpin {
    read(&mut client).await;
    write(&mut client, 1, &response(true)[..32]).await;
    let settings = backend::Config::default();
    let stream = Connector::new(&settings).expect("a connector").connect(client.into()).await;
    stream.expect("interlock does TLS")
}

/// What a server does for TLS: greeting, the request as packet 1, then the handshake.
async fn server_tls(
    mut server: TcpStream,
    config: Arc<rustls::ServerConfig>,
) -> tokio_rustls::server::TlsStream<TcpStream> {
    write(&mut server, 0, GREETING).await;
    assert_eq!(read(&mut server).await, (1, response(true)[..32].to_vec()));
    TlsAcceptor::from(config).accept(server).await.expect("interlock does TLS")
}

#[tokio::test]
async fn a_password_through_tls_is_encrypted_for_a_plain_server() {
    let mut bench = Bench::new().await;
    bench.tls = Some(certificate().1);
    bench.backend.tls.mode = TlsMode::Disabled;
    let key = OwnKey::generate().expect("a key");
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                assert_eq!(read(&mut server).await, (1, response(false)));
                write(&mut server, 2, b"\x01\x04").await;
                assert_eq!(read(&mut server).await, (3, vec![2]));
                write(&mut server, 4, &[b"\x01", key.pem().as_bytes()].concat()).await;
                let (sequence, block) = read(&mut server).await;
                let mixed = key.decrypt(&block).expect("encrypted with the key");
                assert_eq!((sequence, mix(&mixed.0, SCRAMBLE)), (5, b"secret\0".to_vec()));
                write(&mut server, 6, OK).await;
            },
            async |client| {
                let mut client = client_tls(client).await;
                write(&mut client, 2, &response(true)).await;
                assert_eq!(read(&mut client).await, (3, b"\x01\x04".to_vec()));
                write(&mut client, 4, b"secret\0").await;
                assert_eq!(read(&mut client).await, (5, OK.to_vec()));
            },
        )
        .await;
    let session = outcome.expect("a session");
    assert!(session.client.is_tls() && !session.server.is_tls());
    assert_eq!(&*session.reauthentication.scramble, SCRAMBLE);
}

#[tokio::test]
async fn a_plain_client_gets_a_key_for_a_server_on_tls() {
    let mut bench = Bench::new().await;
    bench.backend.tls =
        TlsConfig { mode: TlsMode::Required, allow_plain_client: true, ..TlsConfig::default() };
    let outcome = bench
        .run(
            async |server| {
                let mut server = server_tls(server, certificate().1).await;
                assert_eq!(read(&mut server).await, (2, response(true)));
                write(&mut server, 3, b"\x01\x04").await;
                assert_eq!(read(&mut server).await, (4, b"secret\0".to_vec()));
                write(&mut server, 5, OK).await;
            },
            async |mut client| {
                read(&mut client).await;
                write(&mut client, 1, &response(false)).await;
                assert_eq!(read(&mut client).await, (2, b"\x01\x04".to_vec()));
                write(&mut client, 3, b"\x02").await;
                let (sequence, key) = read(&mut client).await;
                assert_eq!((sequence, key[0]), (4, 1));
                let block = rsa::encrypt(&key[1..], &mix(b"secret\0", SCRAMBLE)).expect("a key");
                write(&mut client, 5, &block).await;
                assert_eq!(read(&mut client).await, (6, OK.to_vec()));
            },
        )
        .await;
    assert!(outcome.expect("a session").server.is_tls());
}

#[tokio::test]
async fn a_plain_client_is_refused_before_the_server_hears_of_it() {
    let mut bench = Bench::new().await;
    bench.backend.tls.mode = TlsMode::Required;
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                refuse(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                write(&mut client, 1, &response(false)).await;
                assert!(
                    read(&mut client).await.1.starts_with(b"\xff\x57\x0c#HY000interlock: this connection")
                );
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::Refused(_))));
}

#[tokio::test]
async fn tls_required_of_clients() {
    let mut bench = Bench::new().await;
    bench.tls = Some(certificate().1);
    bench.tls_required = true;
    let outcome = bench
        .run(
            async |mut server| {
                write(&mut server, 0, GREETING).await;
                refuse(&mut server).await;
            },
            async |mut client| {
                read(&mut client).await;
                write(&mut client, 1, &response(false)).await;
                assert!(read(&mut client).await.1.starts_with(b"\xff\x57\x0c#HY000Connections using"));
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::TlsRequired)));
}

#[tokio::test]
async fn a_server_must_offer_the_tls_that_is_required() {
    let mut bench = Bench::new().await;
    bench.backend.tls.mode = TlsMode::Required;
    let mut greeting = GREETING.to_vec();
    let high_byte_of_low_half = GREETING.len() - 22 - 13 - 18 + 1;
    greeting[high_byte_of_low_half] &= !0x08;
    let outcome = bench
        .run(
            async |mut server| write(&mut server, 0, &greeting).await,
            async |mut client| {
                assert!(
                    read(&mut client).await.1.starts_with(b"\xff\xea\x07interlock: server does not offer")
                );
            },
        )
        .await;
    assert!(matches!(outcome, Err(LoginError::ServerWithoutTls)));
}

#[tokio::test]
async fn a_change_of_user_is_mediated_too() {
    let mut backend = backend::Config::default();
    backend.tls.allow_plain_client = true;
    let settings = Settings::new(backend, Duration::from_secs(20), false, None).expect("good settings");
    let transports =
        Transports { client: Transport::Plain, server: Transport::Tls, allow_plain_client: true };
    let reauthentication = Reauthentication { transports, scramble: SCRAMBLE.into() };
    let ((mut client, far), (mut server, near)) = (pair().await, pair().await);
    let command = b"\x2d\x00\x00\x00\x11app\x00\x03\x01\x02\x03shop\x00\x2d\x00caching_sha2_password\x00";
    let change = change_user(&settings, &reauthentication, 0x0018_8208, far.into(), near.into(), command);
    let client = async {
        assert_eq!(read(&mut client).await, (1, b"\x01\x04".to_vec()));
        write(&mut client, 2, b"\x02").await;
        let (sequence, key) = read(&mut client).await;
        assert_eq!((sequence, key[0]), (3, 1));
        let block = rsa::encrypt(&key[1..], &mix(b"secret\0", SCRAMBLE)).expect("a key");
        write(&mut client, 4, &block).await;
        assert_eq!(read(&mut client).await, (5, OK.to_vec()));
    };
    let server = async {
        assert_eq!(read(&mut server).await, (0, command[4..].to_vec()));
        write(&mut server, 1, b"\x01\x04").await;
        assert_eq!(read(&mut server).await, (2, b"secret\0".to_vec()));
        write(&mut server, 3, OK).await;
    };
    let (changed, (), ()) = tokio::join!(change, client, server);
    assert_eq!(changed.expect("a change").answer.status, Some(2));
}

/// Connects to a server whose certificate is for `localhost`.
async fn verify(mode: TlsMode, name: &str, trusted: bool) -> bool {
    let (pem, config) = certificate();
    let ca = tempfile::NamedTempFile::new().expect("a file");
    let trust = if trusted { pem } else { certificate().0 };
    std::fs::write(ca.path(), trust).expect("a file");
    let tls = TlsConfig {
        mode,
        ca: Some(ca.path().to_owned()),
        server_name: Some(name.to_owned()),
        ..TlsConfig::default()
    };
    let connector =
        Connector::new(&backend::Config { tls, ..backend::Config::default() }).expect("a connector");
    let (near, far) = pair().await;
    let accept = TlsAcceptor::from(config);
    let (near, _) = tokio::join!(connector.connect(near.into()), accept.accept(far));
    near.is_ok()
}

#[tokio::test]
async fn certificates_are_verified_as_the_mode_says() {
    use TlsMode::{Required, VerifyCa, VerifyIdentity};
    assert!(verify(Required, "other", false).await);
    assert!(verify(VerifyCa, "other", true).await);
    assert!(!verify(VerifyCa, "localhost", false).await);
    assert!(verify(VerifyIdentity, "localhost", true).await);
    assert!(!verify(VerifyIdentity, "other", true).await);
    assert!(!verify(VerifyIdentity, "localhost", false).await);
}
