//! Greetings, responses and authentication.
//!
//! Input: a byte that says what follows, then a packet, or for authentication the connection's data and
//! records of direction, length and packet.

#![no_main]

use interlock_fuzz::Input;
use interlock_fuzz::wire::auth::{Exchange, Step, Transport, Transports, mix, ok_status};
use interlock_fuzz::wire::flags::capability;
use interlock_fuzz::wire::handshake::{
    ChangeUser, Greeting, Response, asks_for_tls, hopeless_proof, response_for_server, ssl_request,
};
use libfuzzer_sys::fuzz_target;

const PLUGINS: [&[u8]; 6] = [
    b"caching_sha2_password",
    b"sha256_password",
    b"mysql_native_password",
    b"client_ed25519",
    b"parsec",
    b"",
];

const TRANSPORTS: [Transport; 3] = [Transport::Plain, Transport::Local, Transport::Tls];

fn greeting(payload: &[u8]) {
    let Ok(greeting) = Greeting::parse(payload) else { return };
    for tls in [false, true] {
        let edited = greeting.for_client(payload, tls);
        assert_eq!(edited.len(), payload.len());
        let read = Greeting::parse(&edited).expect("what was edited can be read");
        assert_eq!(read.capabilities, greeting.offered(tls));
        assert_eq!(read.mariadb_capabilities, greeting.offered_mariadb());
        assert_eq!(read.offers_tls(), tls);
        assert_eq!(
            (read.version, read.plugin, &read.scramble),
            (greeting.version, greeting.plugin, &greeting.scramble)
        );
    }
}

fn response(payload: &[u8]) {
    asks_for_tls(payload);
    assert_eq!(ssl_request(payload).is_some(), payload.len() >= 32);
    let Ok(response) = Response::parse(payload) else { return };
    assert!(payload.get(response.auth.clone()).is_some(), "the proof lies in the packet");
    response.attribute("program_name");
    for tls in [false, true] {
        let edited = response_for_server(payload, tls);
        let read = Response::parse(&edited).expect("what was edited can be read");
        assert_eq!(read.capabilities & capability::SSL != 0, tls);
        assert_eq!((read.user, read.schema, read.plugin), (response.user, response.schema, response.plugin));
        assert_eq!(read.auth, response.auth);
    }
}

fn change_user(mut input: Input<'_>) {
    let capabilities = input.word();
    let _ = ChangeUser::parse(input.0, capabilities);
}

fn exchange(mut input: Input<'_>) {
    let legs = usize::from(input.byte());
    let transports = Transports {
        client: TRANSPORTS[legs % 3],
        server: TRANSPORTS[legs / 3 % 3],
        allow_plain_client: legs / 9 % 2 == 1,
    };
    let plugin = PLUGINS[usize::from(input.byte()) % PLUGINS.len()];
    let capabilities = input.word();
    let length = usize::from(input.byte());
    let proof = input.take(length);
    let length = usize::from(input.byte());
    let scramble = input.take(length);
    let Ok(mut exchange) = Exchange::new(plugin, proof, scramble, capabilities, transports) else { return };
    while !input.0.is_empty() {
        let from_client = input.byte() & 1 == 1;
        let length = usize::from(input.byte());
        let packet = input.take(length);
        let may_speak = exchange.client_may_speak();
        let step = if from_client { exchange.from_client(packet) } else { exchange.from_server(packet) };
        if from_client && !may_speak {
            assert!(matches!(step, Step::Refuse(_)), "the client speaks out of turn: {step:?}");
        }
        match step {
            Step::Accepted | Step::Denied | Step::Refuse(_) => {
                assert!(!exchange.client_may_speak(), "it is over");
                return;
            }
            Step::Encrypt { password, .. } => {
                let mixed = mix(&password.0, exchange.scramble());
                assert_eq!(mix(&mixed, exchange.scramble()), password.0);
            }
            Step::Pass | Step::ToServer(_) | Step::OfferKey | Step::Decrypt { .. } => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => greeting(input.0),
        1 => response(input.0),
        2 => change_user(input),
        _ => exchange(input),
    }
    ok_status(data);
    hopeless_proof(data);
});
