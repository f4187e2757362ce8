//! PROXY headers: what is read comes out again in both versions, and nothing behind a header is taken.

#![no_main]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use interlock_fuzz::backend::peer::Peer;
use interlock_fuzz::backend::proxy_header::{v1, v2};
use interlock_fuzz::frontend::proxy_protocol::{HeaderError, read_header};
use libfuzzer_sys::fuzz_target;

/// Reads from memory, which is always ready.
fn read(bytes: &mut &[u8]) -> Result<Option<Peer>, HeaderError> {
    match pin!(read_header(bytes)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => unreachable!("memory is always ready"),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let Ok(peer) = read(&mut rest) else { return };
    let header = &data[..data.len() - rest.len()];
    let mut alone = header;
    assert_eq!(read(&mut alone).ok(), Some(peer), "what follows a header does not matter");
    let Some(peer) = peer else { return };
    // Sending may bring both addresses to one family; from then on nothing changes.
    let sent = read(&mut v2(&peer).as_slice()).expect("own headers are good");
    assert_eq!(read(&mut v1(&peer).as_bytes()).expect("own headers are good"), sent);
    let sent = sent.expect("an address");
    assert_eq!(read(&mut v2(&sent).as_slice()).expect("own headers are good"), Some(sent));
});
