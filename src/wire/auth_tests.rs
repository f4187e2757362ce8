//! Exchanges in every combination of transports, packet by packet.

use proptest::prelude::*;

use super::*;

const SCRAMBLE: &[u8] = b"abcdefghijklmnopqrst";
const SWITCH_SHA2: &[u8] = b"\xfecaching_sha2_password\x00ABCDEFGHIJKLMNOPQRST\x00";
const SWITCH_SHA256: &[u8] = b"\xfesha256_password\x00ABCDEFGHIJKLMNOPQRST\x00";
const OK: &[u8] = b"\x00\x00\x00\x02\x00\x00\x00";
const ERR: &[u8] = b"\xff\x15\x04#28000Access denied";
const KEY: &[u8] = b"\x01-----BEGIN PUBLIC KEY-----";

/// Who has sent the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Server,
    Client,
}
use By::{Client, Server};

/// An exchange of a client on `client` with a server on `server`, begun with `plugin`.
fn exchange(plugin: &str, client: Transport, server: Transport, allow_plain_client: bool) -> Exchange {
    let transports = Transports { client, server, allow_plain_client };
    Exchange::new(plugin.as_bytes(), b"proof", SCRAMBLE, 0, transports).expect("the proof may pass")
}

/// Plays packets, each with the step that must follow.
fn check(mut exchange: Exchange, packets: &[(By, &[u8], Step)]) {
    for (number, (from, packet, expected)) in packets.iter().enumerate() {
        let step = match from {
            Server => exchange.from_server(packet),
            Client => {
                assert!(exchange.client_may_speak(), "packet {number}: not the client's turn");
                exchange.from_client(packet)
            }
        };
        assert_eq!(step, *expected, "packet {number}");
    }
    assert!(!exchange.client_may_speak(), "over");
}

use Transport::{Local, Plain, Tls};

const SHA2: &str = "caching_sha2_password";

/// A key with which nobody encrypts here.
fn encrypt(password: &[u8], scramble: &[u8]) -> Step {
    Step::Encrypt { key: KEY[1..].to_vec(), password: Secret(mix(password, scramble)) }
}

#[test]
fn a_signature_passes_on_any_transport() {
    for (client, server) in [(Plain, Plain), (Plain, Tls), (Tls, Plain), (Local, Tls), (Plain, Local)] {
        for plugin in ["mysql_native_password", "client_ed25519"] {
            check(exchange(plugin, client, server, false), &[(Server, OK, Step::Accepted)]);
            check(exchange(plugin, client, server, false), &[(Server, ERR, Step::Denied)]);
        }
    }
}

#[test]
fn a_switch_passes() {
    let switch = b"\xfeclient_ed25519\x00\x01\x02\x03";
    check(
        exchange("mysql_native_password", Plain, Plain, false),
        &[(Server, switch, Step::Pass), (Client, b"signed", Step::Pass), (Server, OK, Step::Accepted)],
    );
}

#[test]
fn an_unknown_plugin_speaks_as_it_likes() {
    let mut exchange = exchange(SHA2, Plain, Plain, false);
    assert_eq!(exchange.from_server(b"\xfeparsec\x00salt"), Step::Pass);
    assert_eq!(exchange.from_client(b""), Step::Pass);
    assert_eq!(exchange.from_client(b"more"), Step::Pass);
    assert_eq!(exchange.from_server(b"P\x00salt"), Step::Pass);
    assert_eq!(exchange.from_server(b"P\x00more"), Step::Pass);
    assert_eq!(exchange.from_client(b"signed"), Step::Pass);
    assert_eq!(exchange.from_server(OK), Step::Accepted);
}

#[test]
fn the_fast_path_passes() {
    for (client, server) in [(Plain, Plain), (Tls, Tls), (Tls, Plain), (Local, Plain), (Tls, Local)] {
        check(
            exchange(SHA2, client, server, false),
            &[(Server, b"\x01\x03", Step::Pass), (Server, OK, Step::Accepted)],
        );
    }
    check(
        exchange(SHA2, Plain, Tls, true),
        &[(Server, b"\x01\x03", Step::Pass), (Server, OK, Step::Accepted)],
    );
}

#[test]
fn plain_to_plain_uses_the_server_s_key() {
    check(
        exchange(SHA2, Plain, Plain, false),
        &[
            (Server, b"\x01\x04", Step::Pass),
            (Client, b"\x02", Step::Pass),
            (Server, KEY, Step::Pass),
            (Client, b"encrypted", Step::Pass),
            (Server, OK, Step::Accepted),
        ],
    );
}

#[test]
fn secure_to_secure_passes_the_password() {
    for (client, server) in [(Tls, Tls), (Local, Tls), (Tls, Local), (Local, Local)] {
        check(
            exchange(SHA2, client, server, false),
            &[
                (Server, b"\x01\x04", Step::Pass),
                (Client, b"secret\0", Step::Pass),
                (Server, ERR, Step::Denied),
            ],
        );
    }
}

#[test]
fn secure_to_plain_encrypts_for_the_client() {
    for client in [Tls, Local] {
        check(
            exchange(SHA2, client, Plain, false),
            &[
                (Server, b"\x01\x04", Step::Pass),
                (Client, b"secret\0", Step::ToServer(vec![2])),
                (Server, KEY, encrypt(b"secret\0", SCRAMBLE)),
                (Server, OK, Step::Accepted),
            ],
        );
    }
}

#[test]
fn a_secure_client_may_ask_for_the_key_itself() {
    check(
        exchange(SHA2, Local, Plain, false),
        &[
            (Server, b"\x01\x04", Step::Pass),
            (Client, b"\x02", Step::Pass),
            (Server, KEY, Step::Pass),
            (Client, b"encrypted", Step::Pass),
            (Server, OK, Step::Accepted),
        ],
    );
}

#[test]
fn a_switch_brings_a_new_scramble() {
    check(
        exchange("mysql_native_password", Tls, Plain, false),
        &[
            (Server, SWITCH_SHA2, Step::Pass),
            (Client, b"proof", Step::Pass),
            (Server, b"\x01\x04", Step::Pass),
            (Client, b"secret\0", Step::ToServer(vec![2])),
            (Server, KEY, encrypt(b"secret\0", b"ABCDEFGHIJKLMNOPQRST")),
            (Server, OK, Step::Accepted),
        ],
    );
}

#[test]
fn plain_to_secure_decrypts_for_the_server() {
    for server in [Tls, Local] {
        check(
            exchange(SHA2, Plain, server, true),
            &[
                (Server, b"\x01\x04", Step::Pass),
                (Client, b"\x02", Step::OfferKey),
                (Client, b"encrypted", Step::Decrypt { scramble: SCRAMBLE.to_vec() }),
                (Server, OK, Step::Accepted),
            ],
        );
    }
}

#[test]
fn plain_to_secure_is_refused_unless_allowed() {
    for data in [b"\x01\x03", b"\x01\x04"] {
        check(exchange(SHA2, Plain, Local, false), &[(Server, data, Step::Refuse(Refusal::PlainClient))]);
    }
    // Without a password nothing depends on the transport.
    check(exchange(SHA2, Plain, Local, false), &[(Server, OK, Step::Accepted)]);
}

#[test]
fn a_key_file_of_the_server_is_of_no_use() {
    check(
        exchange(SHA2, Plain, Tls, true),
        &[
            (Server, b"\x01\x04", Step::Pass),
            (Client, b"encrypted for the server", Step::Refuse(Refusal::ForeignKey)),
        ],
    );
}

#[test]
fn sha256_asks_for_the_key_first() {
    check(
        exchange(SHA2, Tls, Plain, false),
        &[
            (Server, SWITCH_SHA256, Step::Pass),
            (Client, b"secret\0", Step::ToServer(vec![1])),
            (Server, KEY, encrypt(b"secret\0", b"ABCDEFGHIJKLMNOPQRST")),
            (Server, OK, Step::Accepted),
        ],
    );
    check(
        exchange(SHA2, Plain, Tls, true),
        &[
            (Server, SWITCH_SHA256, Step::Pass),
            (Client, b"\x01", Step::OfferKey),
            (Client, b"encrypted", Step::Decrypt { scramble: b"ABCDEFGHIJKLMNOPQRST".to_vec() }),
            (Server, OK, Step::Accepted),
        ],
    );
    check(
        exchange(SHA2, Plain, Tls, false),
        &[(Server, SWITCH_SHA256, Step::Pass), (Client, b"\x01", Step::Refuse(Refusal::PlainClient))],
    );
}

#[test]
fn sha256_does_not_trust_a_unix_socket() {
    for (client, server) in [(Plain, Local), (Local, Plain)] {
        check(
            exchange(SHA2, client, server, false),
            &[
                (Server, SWITCH_SHA256, Step::Pass),
                (Client, b"\x01", Step::Pass),
                (Server, KEY, Step::Pass),
                (Client, b"encrypted", Step::Pass),
                (Server, OK, Step::Accepted),
            ],
        );
    }
}

#[test]
fn sha256_in_the_first_packet_cannot_be_mediated() {
    let transports = Transports { client: Tls, server: Plain, allow_plain_client: true };
    let begin = |proof: &[u8]| Exchange::new(b"sha256_password", proof, SCRAMBLE, 0, transports).map(|_| ());
    assert_eq!(begin(b"secret\0"), Err(Refusal::EarlyProof));
    assert_eq!(begin(b"\0"), Ok(()));
    assert_eq!(begin(b""), Ok(()));
}

#[test]
fn a_second_factor_is_a_switch() {
    let transports = Transports { client: Plain, server: Plain, allow_plain_client: false };
    let capabilities = CapabilityFlags::MULTI_FACTOR_AUTHENTICATION.bits();
    let exchange = Exchange::new(SHA2.as_bytes(), b"proof", SCRAMBLE, capabilities, transports);
    let mut second = SWITCH_SHA256.to_vec();
    second[0] = 2;
    check(
        exchange.expect("the proof may pass"),
        &[
            (Server, b"\x01\x03", Step::Pass),
            (Server, &second, Step::Pass),
            (Client, b"\x01", Step::Pass),
            (Server, KEY, Step::Pass),
            (Client, b"encrypted", Step::Pass),
            (Server, OK, Step::Accepted),
        ],
    );
}

#[test]
fn the_server_may_give_up_at_any_time() {
    check(
        exchange(SHA2, Tls, Plain, false),
        &[(Server, b"\x01\x04", Step::Pass), (Server, ERR, Step::Denied)],
    );
    check(
        exchange(SHA2, Tls, Plain, false),
        &[
            (Server, b"\x01\x04", Step::Pass),
            (Client, b"secret\0", Step::ToServer(vec![2])),
            (Server, ERR, Step::Denied),
        ],
    );
    check(
        exchange(SHA2, Tls, Plain, false),
        &[
            (Server, b"\x01\x04", Step::Pass),
            (Client, b"secret\0", Step::ToServer(vec![2])),
            (Server, b"\x02what", Step::Refuse(Refusal::NoServerKey)),
        ],
    );
}

#[test]
fn mixing_twice_gives_the_password_back() {
    let password = b"a password that is longer than the scramble\0";
    assert_eq!(mix(&mix(password, SCRAMBLE), SCRAMBLE), password);
    assert_eq!(mix(b"x", b""), b"x");
}

#[test]
fn reads_the_status() {
    assert_eq!(ok_status(OK), 2);
    assert_eq!(ok_status(b"\x00\xfc\x01\x02\x00\x03\x40"), 0x4003);
    assert_eq!(ok_status(b"\x00\x00"), 0);
}

/// Any transports, plugins and permissions.
fn any_exchange() -> impl Strategy<Value = Exchange> {
    let transport = || prop_oneof![Just(Plain), Just(Local), Just(Tls)];
    let plugin = prop_oneof![Just(SHA2), Just("sha256_password"), Just("mysql_native_password"), Just("x")];
    (transport(), transport(), plugin, any::<bool>(), any::<u32>()).prop_map(
        |(client, server, plugin, allow_plain_client, capabilities)| {
            let transports = Transports { client, server, allow_plain_client };
            Exchange::new(plugin.as_bytes(), b"", SCRAMBLE, capabilities, transports)
                .expect("an empty proof may pass")
        },
    )
}

proptest! {
    #[test]
    fn any_packets_are_taken_without_a_panic(
        mut exchange in any_exchange(),
        packets in proptest::collection::vec(
            (any::<bool>(), prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..20),
                Just(SWITCH_SHA2.to_vec()), Just(SWITCH_SHA256.to_vec()), Just(KEY.to_vec()),
                Just(vec![1, 3]), Just(vec![1, 4]), Just(vec![1]), Just(vec![2]),
            ]),
            0..12,
        ),
    ) {
        for (server, packet) in packets {
            let step = if server { exchange.from_server(&packet) } else { exchange.from_client(&packet) };
            if let Step::Accepted | Step::Denied | Step::Refuse(_) = step {
                prop_assert!(!exchange.client_may_speak());
            }
        }
    }

    /// A password that came through a secure leg never passes to a leg that is not.
    #[test]
    fn a_password_never_leaks(client in prop_oneof![Just(Local), Just(Tls)], password in "[a-z]{2,30}") {
        let mut exchange = exchange(SHA2, client, Plain, true);
        exchange.from_server(b"\x01\x04");
        let packet = [password.as_bytes(), b"\0"].concat();
        prop_assert_eq!(exchange.from_client(&packet), Step::ToServer(vec![2]));
    }
}
