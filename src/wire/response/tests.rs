//! Answers made by hand, fed whole, in two parts and byte by byte.

use super::*;
use crate::wire::packet::write_packet;

const OLD: Format =
    Format { deprecate_eof: false, session_track: false, optional_metadata: false, cache_metadata: false };
const NEW: Format = Format { deprecate_eof: true, ..OLD };

/// A sequence of packets.
fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        write_packet(&mut bytes, index as u8 + 1, payload);
    }
    bytes
}

fn collect(format: Format, kind: Kind, parts: &[&[u8]]) -> Vec<Event> {
    let mut response = Response::new(format);
    response.begin(kind);
    let mut events = Vec::new();
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (count, event) = response.feed(rest);
            assert!(event.is_some() || count == rest.len(), "all is taken unless something happens");
            rest = &rest[count..];
            events.extend(event);
        }
    }
    assert!(response.between_packets(), "every packet has passed");
    events
}

#[track_caller]
fn check(format: Format, kind: Kind, payloads: &[&[u8]], expect: &[Event]) {
    let bytes = packets(payloads);
    assert_eq!(collect(format, kind, &[&bytes]), expect, "whole");
    for at in 1..bytes.len() {
        assert_eq!(collect(format, kind, &[&bytes[..at], &bytes[at..]]), expect, "split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(collect(format, kind, &single), expect, "byte by byte");
}

fn ok(affected: u64, id: u64, info: &str, status: u16) -> Event {
    ok_with_schema(affected, id, info, status, None)
}

fn ok_with_schema(
    affected: u64,
    last_insert_id: u64,
    info: &str,
    status: u16,
    schema: Option<&str>,
) -> Event {
    let kind =
        OutcomeKind::Ok { affected, last_insert_id, info: info.into(), schema: schema.map(String::from) };
    Event::Result(Outcome { kind, status: Some(status), last: status & status::MORE_RESULTS == 0 })
}

fn rows(rows: u64, status: u16) -> Event {
    Event::Result(outcome::rows(rows, false, status))
}

fn failure(code: u16, message: &str) -> Event {
    let kind = OutcomeKind::Error { code, message: message.into() };
    Event::Result(Outcome { kind, status: None, last: true })
}

fn other(status: Option<u16>) -> Event {
    Event::Result(Outcome { kind: OutcomeKind::Other, status, last: true })
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xFE, 0, 0, 2, 0];
/// An OK packet that ends a result under `DEPRECATE_EOF`: IN_TRANS.
const END: &[u8] = &[0xFE, 0, 0, 3, 0, 0, 0];
const DEF: &[u8] = b"\x03def\x00\x01t\x01t\x01c\x01c\x0c\x3f\x00\x0b\x00\x00\x00\x03\x00\x00\x00\x00\x00";

#[test]
fn an_ok_packet() {
    check(NEW, Kind::Query, &[OK], &[ok(0, 0, "", 2)]);
    check(OLD, Kind::Query, &[&[0, 5, 0xFC, 1, 1, 3, 0, 1, 0]], &[ok(5, 257, "", 3)]);
}

#[test]
fn info_with_and_without_its_length() {
    check(OLD, Kind::Query, &[b"\0\x01\0\x02\0\0\0\x04Rows"], &[ok(1, 0, "Rows", 2)]);
    check(OLD, Kind::Query, &[b"\0\x01\0\x02\0\0\0Rows"], &[ok(1, 0, "Rows", 2)]);
}

#[test]
fn session_tracking_tells_the_schema() {
    let format = Format { session_track: true, ..NEW };
    let with = b"\0\0\0\x02\x40\0\0\x02hi\x0d\x00\x04\x01a\x01b\x01\x05\x04shop";
    check(format, Kind::Query, &[with], &[ok_with_schema(0, 0, "hi", 0x4002, Some("shop"))]);
    check(format, Kind::Query, &[b"\0\0\0\x02\0\0\0\x02hi"], &[ok(0, 0, "hi", 2)]);
    check(format, Kind::Query, &[OK], &[ok(0, 0, "", 2)]);
}

#[test]
fn an_error() {
    check(NEW, Kind::Query, &[b"\xff\xbd\x04#40001Deadlock"], &[failure(1213, "Deadlock")]);
    check(OLD, Kind::Query, &[b"\xff\x50\x04gone"], &[failure(1104, "gone")]);
}

/// However its bytes arrive, the same part of a long packet is decoded.
#[test]
fn of_a_long_error_only_the_beginning_is_decoded() {
    let payload = [&b"\xff\xbd\x04#40001"[..], &b"x".repeat(2 * DECODED)].concat();
    let expect = [failure(1213, &"x".repeat(DECODED - 9))];
    let bytes = packets(&[&payload]);
    assert_eq!(collect(NEW, Kind::Query, &[&bytes]), expect, "whole");
    assert_eq!(collect(NEW, Kind::Query, &bytes.chunks(1_000).collect::<Vec<_>>()), expect, "in parts");
}

#[test]
fn a_result_set_with_eof_packets() {
    let answer: &[&[u8]] = &[&[2], DEF, DEF, EOF, b"\x01a\x01b", b"\xfb\x01b", b"\0\0", EOF];
    check(OLD, Kind::Query, answer, &[rows(3, 2)]);
}

#[test]
fn a_result_set_without_eof_packets() {
    let answer: &[&[u8]] = &[&[2], DEF, DEF, b"\x01a\x01b", b"\xfb\x01b", END];
    check(NEW, Kind::Query, answer, &[rows(2, 3)]);
    check(NEW, Kind::Query, &[&[1], DEF, END], &[rows(0, 3)]);
}

#[test]
fn binary_rows() {
    check(NEW, Kind::Execute, &[&[1], DEF, b"\0\0\x05\0\0\0", b"\0\x04", END], &[rows(2, 3)]);
}

#[test]
fn an_error_in_the_middle_of_rows() {
    let answer: &[&[u8]] = &[&[1], DEF, b"\x01a", b"\xff\x25\x05#70100stop"];
    check(NEW, Kind::Query, answer, &[failure(1317, "stop")]);
    check(OLD, Kind::Query, &[&[1], DEF, b"\xff\x25\x05#70100stop"], &[failure(1317, "stop")]);
}

#[test]
fn several_results() {
    let answer: &[&[u8]] = &[&[0, 1, 0, 10, 0, 0, 0], &[1], DEF, b"\x01a", &[0xFE, 0, 0, 0x0A, 0, 0, 0], OK];
    check(NEW, Kind::Query, answer, &[ok(1, 0, "", 10), rows(1, 10), ok(0, 0, "", 2)]);
    let answer: &[&[u8]] = &[&[1], DEF, EOF, &[0xFE, 0, 0, 0x0A, 0], b"\xff\x01\x00#00000x"];
    check(OLD, Kind::Query, answer, &[rows(0, 10), failure(1, "x")]);
}

#[test]
fn a_call_with_out_parameters() {
    let answer: &[&[u8]] = &[&[1], DEF, b"\0\0\x05", &[0xFE, 0, 0, 0x0A, 0x10, 0, 0], OK];
    check(NEW, Kind::Execute, answer, &[rows(1, 0x100A), ok(0, 0, "", 2)]);
    // MariaDB, then MySQL, which takes the flag back too early.
    let answer: &[&[u8]] =
        &[&[1], DEF, &[0xFE, 0, 0, 0x0A, 0x10], b"\0\0\x05", &[0xFE, 0, 0, 0x0A, 0x10], OK];
    check(OLD, Kind::Execute, answer, &[rows(1, 0x100A), ok(0, 0, "", 2)]);
    let answer: &[&[u8]] = &[&[1], DEF, &[0xFE, 0, 0, 0x0A, 0x10], b"\0\0\x05", EOF, OK];
    let out = Outcome { last: false, ..outcome::rows(1, false, 2) };
    check(OLD, Kind::Execute, answer, &[Event::Result(out), ok(0, 0, "", 2)]);
}

#[test]
fn a_local_file() {
    let mut response = Response::new(NEW);
    response.begin(Kind::Query);
    let request = packets(&[b"\xfb/tmp/x"]);
    assert_eq!(response.feed(&request), (request.len(), Some(Event::LocalInfile)));
    let answer = packets(&[OK]);
    assert_eq!(response.feed(&answer), (answer.len(), Some(ok(0, 0, "", 2))));
    check(OLD, Kind::Query, &[b"\xfbx", b"\xff\x01\x00no"], &[Event::LocalInfile, failure(1, "no")]);
}

#[test]
fn a_cursor_ends_after_the_definitions() {
    let cursor = |status| Event::Result(outcome::rows(0, true, status));
    check(OLD, Kind::Execute, &[&[1], DEF, &[0xFE, 0, 0, 0x42, 0]], &[cursor(0x42)]);
    check(NEW, Kind::Execute, &[&[1], DEF, &[0xFE, 0, 0, 0x42, 0, 0, 0]], &[cursor(0x42)]);
    check(OLD, Kind::Fetch, &[b"\0\0\x05", b"\0\0\x05", &[0xFE, 0, 0, 0xC2, 0]], &[rows(2, 0xC2)]);
    check(NEW, Kind::Fetch, &[&[0xFE, 0, 0, 0xC2, 0, 0, 0]], &[rows(0, 0xC2)]);
    check(NEW, Kind::Fetch, &[b"\xff\x01\x00no"], &[failure(1, "no")]);
}

#[test]
fn prepared_statements() {
    fn prepared(params: u16, columns: u16, status: Option<u16>) -> Event {
        Event::Result(Outcome { kind: OutcomeKind::Prepared { id: 7, params, columns }, status, last: true })
    }
    let head = |columns: u8, params: u8| vec![0, 7, 0, 0, 0, columns, 0, params, 0, 0, 0, 0];
    check(OLD, Kind::Prepare, &[&head(0, 0)], &[prepared(0, 0, None)]);
    check(OLD, Kind::Prepare, &[&head(1, 2), DEF, DEF, EOF, DEF, EOF], &[prepared(2, 1, Some(2))]);
    check(NEW, Kind::Prepare, &[&head(1, 2), DEF, DEF, DEF], &[prepared(2, 1, None)]);
    check(OLD, Kind::Prepare, &[&head(1, 0), DEF, EOF], &[prepared(0, 1, Some(2))]);
    check(OLD, Kind::Prepare, &[&head(0, 1), DEF, EOF], &[prepared(1, 0, Some(2))]);
    check(NEW, Kind::Prepare, &[&head(0, 1), DEF], &[prepared(1, 0, None)]);
    check(NEW, Kind::Prepare, &[b"\xff\x28\x04#42000bad"], &[failure(1064, "bad")]);
    let optional = Format { optional_metadata: true, ..NEW };
    let with_flag = |flag| [head(1, 1), vec![flag]].concat();
    check(optional, Kind::Prepare, &[&with_flag(0)], &[prepared(1, 1, None)]);
    check(optional, Kind::Prepare, &[&with_flag(1), DEF, DEF], &[prepared(1, 1, None)]);
    let old = Format { optional_metadata: true, ..OLD };
    check(old, Kind::Prepare, &[&with_flag(0), EOF, EOF], &[prepared(1, 1, Some(2))]);
    check(old, Kind::Prepare, &[&with_flag(1), DEF, EOF, DEF, EOF], &[prepared(1, 1, Some(2))]);
}

#[test]
fn definitions_that_are_left_out() {
    let optional = Format { optional_metadata: true, ..NEW };
    check(optional, Kind::Query, &[&[2, 1], DEF, DEF, b"\x01a", END], &[rows(1, 3)]);
    check(optional, Kind::Query, &[&[2, 0], b"\x01a", END], &[rows(1, 3)]);
    check(optional, Kind::Query, &[OK], &[ok(0, 0, "", 2)]);
    let old = Format { deprecate_eof: false, ..optional };
    check(old, Kind::Query, &[&[2, 0], EOF, b"\x01a", EOF], &[rows(1, 2)]);
    let cached = Format { cache_metadata: true, ..NEW };
    check(cached, Kind::Execute, &[&[1, 1], DEF, b"\0\0\x05", END], &[rows(1, 3)]);
    check(cached, Kind::Execute, &[&[1, 0], b"\0\0\x05", END], &[rows(1, 3)]);
    let cached = Format { cache_metadata: true, ..OLD };
    check(cached, Kind::Execute, &[&[1, 0], EOF, b"\0\0\x05", EOF], &[rows(1, 2)]);
}

#[test]
fn progress_reports_precede_the_answer() {
    let progress = b"\xff\xff\xff\x01\x01\x02\x64\x00\x00\x04copy";
    check(NEW, Kind::Query, &[progress, progress, OK], &[ok(0, 0, "", 2)]);
    check(OLD, Kind::Query, &[progress, b"\xff\x01\x00no"], &[failure(1, "no")]);
    check(OLD, Kind::Query, &[&[1], DEF, EOF, progress, b"\x01a", EOF], &[rows(1, 2)]);
}

#[test]
fn single_packets_and_ends() {
    check(NEW, Kind::Single, &[b"Uptime: 5"], &[other(None)]);
    check(OLD, Kind::Query, &[EOF], &[other(Some(2))]);
    check(NEW, Kind::Query, &[END], &[ok(0, 0, "", 3)]);
    check(OLD, Kind::FieldList, &[DEF, DEF, EOF], &[other(Some(2))]);
    check(NEW, Kind::FieldList, &[DEF, END], &[other(Some(3))]);
    check(NEW, Kind::FieldList, &[b"\xff\x01\x00no"], &[failure(1, "no")]);
}

#[test]
fn another_user_logs_in() {
    let switch = b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0";
    check(NEW, Kind::ChangeUser, &[switch, &[1, 3], OK], &[ok(0, 0, "", 2)]);
    check(NEW, Kind::ChangeUser, &[switch, &[1, 4], b"\xff\x15\x04#28000denied"], &[failure(1045, "denied")]);
    check(OLD, Kind::ChangeUser, &[OK], &[ok(0, 0, "", 2)]);
}

#[test]
fn payloads_that_go_on_in_further_packets() {
    fn frame(length: usize, first: u8) -> Vec<u8> {
        let mut bytes = vec![first; 4 + length];
        bytes[..3].copy_from_slice(&(length as u32).to_le_bytes()[..3]);
        bytes
    }
    // Rows of exactly 16 MiB - 1 (ended by an empty packet) and beyond; the second begins with 0xFE as a
    // string of that length does, and its continuation looks like an error.
    let mut bytes = packets(&[&[1], DEF]);
    bytes.extend(frame(MAX_PAYLOAD, b'a'));
    bytes.extend(frame(0, 0));
    bytes.extend(frame(MAX_PAYLOAD, 0xFE));
    bytes.extend(frame(10, 0xFF));
    bytes.extend(packets(&[b"\x01a", END]));
    for chunk in [bytes.len(), 65_536, 16_777_215, 4_099] {
        let parts: Vec<&[u8]> = bytes.chunks(chunk).collect();
        assert_eq!(collect(NEW, Kind::Query, &parts), [rows(3, 3)], "in chunks of {chunk}");
    }
}

#[test]
fn bytes_after_an_answer_are_left_to_the_next() {
    let mut bytes = packets(&[OK]);
    let first = bytes.len();
    bytes.extend(packets(&[&[1], DEF, b"\x01a", END]));
    let mut response = Response::new(NEW);
    response.begin(Kind::Query);
    assert_eq!(response.feed(&bytes), (first, Some(ok(0, 0, "", 2))));
    response.begin(Kind::Query);
    assert_eq!(response.feed(&bytes[first..]), (bytes.len() - first, Some(rows(1, 3))));
}

/// `recorded.txt` holds answers of MySQL 9.7 and MariaDB 10.11: server, format (`d`eprecate EOF, session
/// `t`rack, `o`ptional metadata, `c`ached metadata), kind, command, bytes. Each must be seen to be complete
/// exactly at its last byte.
#[test]
fn recorded_answers_end_where_they_end() {
    for line in include_str!("recorded.txt").lines() {
        let [_server, flags, kind, _command, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let format = Format {
            deprecate_eof: flags.contains('d'),
            session_track: flags.contains('t'),
            optional_metadata: flags.contains('o'),
            cache_metadata: flags.contains('c'),
        };
        let kinds = [Kind::Query, Kind::Prepare, Kind::Execute, Kind::Fetch, Kind::FieldList];
        let kind = kinds.into_iter().find(|known| format!("{known:?}") == kind).unwrap();
        for chunk in [1, 5, bytes.len()] {
            let parts: Vec<&[u8]> = bytes.chunks(chunk).collect();
            let events = collect(format, kind, &parts);
            let ends =
                events.iter().filter(|event| matches!(event, Event::Result(Outcome { last: true, .. })));
            assert_eq!(ends.count(), 1, "{line}: {events:?}");
            assert!(matches!(events.last(), Some(Event::Result(Outcome { last: true, .. }))), "{line}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, form in 0u8..16, kind in 0usize..8, cut in 1usize..9) {
        let format = Format {
            deprecate_eof: form & 1 != 0,
            session_track: form & 2 != 0,
            optional_metadata: form & 4 != 0,
            cache_metadata: form & 8 != 0,
        };
        let kinds = [Kind::Query, Kind::Execute, Kind::Prepare, Kind::Fetch, Kind::FieldList, Kind::Single,
            Kind::ChangeUser, Kind::Nothing];
        let mut whole = Vec::new();
        let mut pieces = Vec::new();
        for (chunk, events) in [(bytes.len().max(1), &mut whole), (cut, &mut pieces)] {
            let mut response = Response::new(format);
            response.begin(kinds[kind]);
            for part in bytes.chunks(chunk) {
                let mut rest = part;
                while !rest.is_empty() {
                    let (count, event) = response.feed(rest);
                    rest = &rest[count..];
                    events.extend(event);
                }
            }
        }
        proptest::prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn random_packets_are_seen_alike_in_any_pieces(
        payloads: Vec<(u8, Vec<u8>)>, kind in 0usize..7, cut in 1usize..9, deprecate_eof: bool,
    ) {
        let kinds = [Kind::Query, Kind::Execute, Kind::Prepare, Kind::Fetch, Kind::FieldList, Kind::Single,
            Kind::ChangeUser];
        let firsts = [0, 1, 2, 0xFB, 0xFE, 0xFF];
        let mut bytes = Vec::new();
        for (first, rest) in &payloads {
            let payload = [&[firsts[usize::from(*first) % firsts.len()]], rest.as_slice()].concat();
            write_packet(&mut bytes, 0, &payload);
        }
        let format = Format { deprecate_eof, ..OLD };
        let parts: Vec<&[u8]> = bytes.chunks(cut).collect();
        proptest::prop_assert_eq!(
            collect(format, kinds[kind], &[&bytes]), collect(format, kinds[kind], &parts)
        );
    }
}
