//! Greetings and responses as real servers and clients send them.

use proptest::prelude::*;

use super::*;

/// MySQL 9.7.4.
const MYSQL: &[u8] = b"\x0a9.7.4-2\x00\x09\x00\x00\x00\x11L.NVvwQ\x00\xff\xff\xff\x02\x00\xff\xdf\x15\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00W\x15B\x16{t}\x1bE\x7f! \x00caching_sha2_password\x00";

/// MariaDB 10.11.19, without TLS.
const MARIADB: &[u8] = b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\x00\x04\x00\x00\x00,e<;SnP&\x00\xfe\xf7\x08\
    \x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00ib1jEZsV28_W\x00mysql_native_password\x00";

const COMPRESS: u32 = CapabilityFlags::CLIENT_COMPRESS.bits();
const ZSTD: u32 = CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM.bits();

#[test]
fn reads_the_greeting_of_mysql() {
    let greeting = Greeting::parse(MYSQL).expect("a greeting");
    assert_eq!(greeting.version, b"9.7.4-2");
    assert_eq!(greeting.thread_id, 9);
    assert_eq!(greeting.capabilities, 0xdfff_ffff);
    assert_eq!(greeting.mariadb_capabilities, 0);
    assert_eq!(greeting.status, 2);
    assert_eq!(greeting.scramble, b"\x11L.NVvwQW\x15B\x16{t}\x1bE\x7f! ");
    assert_eq!(greeting.plugin, b"caching_sha2_password");
}

#[test]
fn reads_the_greeting_of_mariadb() {
    let greeting = Greeting::parse(MARIADB).expect("a greeting");
    assert_eq!(greeting.version, b"5.5.5-10.11.19-MariaDB-0+deb12u1");
    assert_eq!(greeting.thread_id, 4);
    assert_eq!(greeting.capabilities, 0x81ff_f7fe);
    assert_eq!(greeting.mariadb_capabilities, 0x1d);
    assert_eq!(greeting.scramble, b",e<;SnP&ib1jEZsV28_W");
    assert_eq!(greeting.plugin, b"mysql_native_password");
}

/// Edits `greeting` and says which bytes have changed.
fn changed(greeting: &[u8], tls: bool) -> (Vec<u8>, Vec<usize>) {
    let edited = Greeting::parse(greeting).expect("a greeting").for_client(greeting, tls);
    assert_eq!(edited.len(), greeting.len());
    let changed = (0..greeting.len()).filter(|&at| greeting[at] != edited[at]).collect();
    (edited, changed)
}

#[test]
fn edits_nothing_but_capabilities() {
    let fixed = MYSQL.len() - 22 - 13 - 18;
    let (edited, at) = changed(MYSQL, true);
    // Compression in the first byte, zstd in the last; TLS stays.
    assert_eq!(at, [fixed, fixed + 6]);
    let (plain, at) = changed(MYSQL, false);
    assert_eq!(at, [fixed, fixed + 1, fixed + 6]);
    assert_eq!(Greeting::parse(&edited).expect("a greeting").capabilities, 0xdfff_ffff & !(COMPRESS | ZSTD));
    assert!(!Greeting::parse(&plain).expect("a greeting").offers_tls());
}

#[test]
fn offers_tls_where_only_interlock_has_it() {
    let (edited, _) = changed(MARIADB, true);
    let greeting = Greeting::parse(&edited).expect("a greeting");
    assert!(greeting.offers_tls());
    assert_eq!(greeting.capabilities & COMPRESS, 0);
    assert_eq!(greeting.mariadb_capabilities, 0x1d);
}

#[test]
fn masks_extended_capabilities_of_the_future() {
    let mut future = MARIADB.to_vec();
    let extended = future.len() - 22 - 13 - 4;
    assert_eq!(future[extended], 0x1d);
    future[extended + 1] = 0x80;
    let (edited, at) = changed(&future, false);
    assert_eq!(at.last(), Some(&(extended + 1)));
    assert_eq!(Greeting::parse(&edited).expect("a greeting").mariadb_capabilities, 0x1d);
}

#[test]
fn refuses_other_protocols_and_short_greetings() {
    assert_eq!(Greeting::parse(b"\x09old"), Err(HandshakeError::Protocol(9)));
    // What follows the scramble is optional, what stands before it is not.
    for len in 0..MYSQL.len() - 22 {
        assert_eq!(Greeting::parse(&MYSQL[..len]), Err(HandshakeError::Short), "{len}");
    }
}

/// A response with every optional field.
fn response(capabilities: u32) -> Vec<u8> {
    let mut bytes = capabilities.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 1, 45]);
    bytes.extend_from_slice(&[0; 19]);
    bytes.extend_from_slice(&[0x1c, 0, 0, 0]);
    bytes.extend_from_slice(b"app\x00\x03\x01\x02\x03shop\x00caching_sha2_password\x00");
    bytes.extend_from_slice(b"\x21\x0c_client_name\x03lib\x0cprogram_name\x02py");
    bytes
}

/// Protocol 4.1 with password, schema, plugin, attributes, lenenc.
const FULL: u32 = 0x0038_8208;

#[test]
fn reads_a_response() {
    let bytes = response(FULL);
    let read = Response::parse(&bytes).expect("a response");
    assert_eq!(read.user, b"app");
    assert_eq!(bytes[read.auth.clone()], [1, 2, 3]);
    assert_eq!(read.schema, Some(&b"shop"[..]));
    assert_eq!(read.plugin, b"caching_sha2_password");
    assert_eq!(read.mariadb_capabilities, 0x1c);
    assert_eq!(read.attribute("program_name"), Some(&b"py"[..]));
    assert_eq!(read.attribute("_client_name"), Some(&b"lib"[..]));
    assert_eq!(read.attribute("_pid"), None);
}

#[test]
fn a_client_of_mysql_has_no_extended_capabilities() {
    assert_eq!(Response::parse(&response(FULL | 1)).map(|read| read.mariadb_capabilities), Ok(0));
}

#[test]
fn attributes_cut_short_are_none() {
    let bytes = response(FULL);
    let read = Response::parse(&bytes[..bytes.len() - 1]).expect("a response");
    assert_eq!(read.attribute("program_name"), None);
}

#[test]
fn refuses_a_client_of_before_4_1() {
    assert_eq!(Response::parse(b"\x85\x00\x00\x00\x00user\x00"), Err(HandshakeError::OldClient));
}

#[test]
fn passes_a_response_on_but_for_tls_and_compression() {
    let bytes = response(FULL | COMPRESS | ZSTD);
    let plain = response_for_server(&bytes, false);
    assert_eq!(plain, response(FULL));
    assert!(!asks_for_tls(&plain));
    let tls = response_for_server(&bytes, true);
    assert!(asks_for_tls(&tls));
    assert_eq!(ssl_request(&bytes).as_deref(), Some(&tls[..SSL_REQUEST_LEN]));
    assert_eq!(ssl_request(&bytes[..31]), None);
}

#[test]
fn a_hopeless_response_is_well_formed() {
    let bytes = hopeless_response();
    let read = Response::parse(&bytes).expect("a response");
    assert_eq!((read.user, read.auth.len()), (&b"interlock-client-left"[..], 0));
    assert_eq!(read.plugin, b"mysql_native_password");
}

#[test]
fn reads_a_change_of_user() {
    let payload = b"\x11app\x00\x03\x01\x02\x03shop\x00\x2d\x00caching_sha2_password\x00\x00";
    let read = ChangeUser { proof: b"\x01\x02\x03", plugin: b"caching_sha2_password" };
    assert_eq!(ChangeUser::parse(payload, FULL), Ok(read));
    let read = ChangeUser { proof: b"", plugin: b"" };
    assert_eq!(ChangeUser::parse(b"\x11app\x00\x00shop\x00", FULL), Ok(read));
    assert_eq!(ChangeUser::parse(b"\x11app", FULL), Err(HandshakeError::Short));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Response::parse(&bytes).map(|read| read.attribute("program_name").is_some());
        let _ = Greeting::parse(&bytes).map(|read| read.for_client(&bytes, true));
        let _ = ChangeUser::parse(&bytes, FULL);
        let _ = (asks_for_tls(&bytes), ssl_request(&bytes), response_for_server(&bytes, true));
    }

    #[test]
    fn a_damaged_packet_is_read_without_a_panic(at in 0..200_usize, byte: u8, cut in 0..200_usize) {
        for whole in [MYSQL.to_vec(), MARIADB.to_vec(), response(FULL)] {
            let mut bytes = whole;
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            let _ = Response::parse(&bytes).map(|read| read.attribute("program_name").is_some());
            let _ = Greeting::parse(&bytes).map(|read| read.for_client(&bytes, false));
        }
    }
}
