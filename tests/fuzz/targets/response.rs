//! Answers of the server: whatever the bytes, and however they are cut, the same events at the same places.
//!
//! Input: a byte of format flags, four kinds of answers, a byte that says how to cut, then the stream. A
//! long packet need not be there in full: zeros stand for what follows its first bytes.

#![no_main]

use interlock_fuzz::Input;
use interlock_fuzz::wire::packet::{HEADER, Header, MAX_PAYLOAD};
use interlock_fuzz::wire::response::{Event, Format, Kind, Response};
use libfuzzer_sys::fuzz_target;

/// From this length on zeros stand for a packet's content, but for its first bytes. Of answers at most 16 KiB
/// are decoded, so this is long enough for everything that depends on length.
const LONG: usize = 16 * 1024;
/// Bytes of a long packet that come from the input.
const HEAD: usize = 16;
/// So many long packets in one input.
const MOST: usize = 2;
/// Bytes of a piece that are fed in small parts: more than is ever decoded of a packet.
const CUT: usize = 17_000;
/// Zeros are fed in parts that are so many times larger: they say nothing, and there are many of them.
const COARSE: usize = 256;
/// Streams up to this length are also fed as one slice.
const ONE_SLICE: usize = 128 * 1024;

static ZEROS: [u8; MAX_PAYLOAD] = [0; MAX_PAYLOAD];

const KINDS: [Kind; 9] = [
    Kind::Query,
    Kind::Execute,
    Kind::Prepare,
    Kind::Fetch,
    Kind::FieldList,
    Kind::Single,
    Kind::ChangeUser,
    Kind::Nothing,
    Kind::Raw,
];

/// The stream in pieces, so that long packets cost no memory.
fn pieces<'a>(mut input: Input<'a>) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut long = 0;
    while !input.0.is_empty() {
        let length = Header::parse(input.0).map_or(0, |header| header.length);
        if length < LONG {
            pieces.push(input.take(HEADER + length));
            continue;
        }
        long += 1;
        let head = input.take(HEADER + HEAD);
        pieces.push(head);
        if long > MOST || head.len() < HEADER + HEAD {
            break;
        }
        pieces.push(&ZEROS[..length - HEAD]);
    }
    pieces
}

/// Feeds the stream in parts of `size` bytes. Gives the events with their places, and whether it ends
/// between packets.
fn events(format: Format, kinds: &[Kind; 4], stream: &[&[u8]], size: usize) -> (Vec<(usize, Event)>, bool) {
    let mut response = Response::new(format);
    let mut next = kinds.iter().cycle().copied();
    response.begin(next.next().unwrap_or(Kind::Query));
    let mut events = Vec::new();
    let mut offset = 0;
    let mut feed = |part: &[u8]| {
        let mut rest = part;
        while !rest.is_empty() {
            let (count, event) = response.feed(rest);
            assert!(count > 0 || event.is_some(), "no progress");
            assert!(event.is_some() || count == rest.len(), "all is taken unless something happens");
            offset += count;
            rest = &rest[count..];
            if let Some(event) = event {
                if matches!(&event, Event::Result(outcome) if outcome.last) {
                    assert!(response.between_packets(), "an answer ends with its packet");
                    response.begin(next.next().unwrap_or(Kind::Query));
                }
                events.push((offset, event));
            }
        }
        response.between_packets()
    };
    let mut between = true;
    for piece in stream {
        let (cut, rest) = piece.split_at(piece.len().min(CUT));
        let zeros = piece.len() >= LONG - HEAD;
        for part in cut.chunks(if zeros { size.saturating_mul(COARSE) } else { size }) {
            between = feed(part);
        }
        if !rest.is_empty() {
            between = feed(rest);
        }
    }
    (events, between)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let format = Format {
        deprecate_eof: flags & 1 != 0,
        session_track: flags & 2 != 0,
        optional_metadata: flags & 4 != 0,
        cache_metadata: flags & 8 != 0,
    };
    let kinds = std::array::from_fn(|_| KINDS[usize::from(input.byte()) % KINDS.len()]);
    let cut = usize::from(input.byte());
    let stream = pieces(input);
    let expect = events(format, &kinds, &stream, usize::MAX);
    if stream.iter().map(|piece| piece.len()).sum::<usize>() <= ONE_SLICE {
        assert_eq!(events(format, &kinds, &[&stream.concat()], usize::MAX), expect, "at once");
    }
    assert_eq!(events(format, &kinds, &stream, 1), expect, "byte by byte");
    assert_eq!(events(format, &kinds, &stream, cut.max(2)), expect, "in parts of {cut}");
});
