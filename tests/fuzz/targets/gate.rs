//! The gate before the console's packet reader: whatever is sent, in whatever pieces, it hands over one packet and
//! no byte more before the answer to it was flushed.
//!
//! Input: the longest packet, whether the login is over, sizes of reads, then what a client sends.

#![no_main]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use interlock_fuzz::Input;
use interlock_fuzz::admin::console::gate::gate;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// COM_STMT_SEND_LONG_DATA
const SEND_LONG_DATA: u8 = 0x18;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let longest = usize::from(input.byte());
    let logged_in = input.byte() & 1 == 1;
    let sizes = input.take(8);
    let mut sizes = sizes.iter().map(|size| usize::from(size % 64) + 1).cycle();
    let stream = input.0;
    let (mut gate, mut answers) = gate(stream, Vec::new(), longest);
    if logged_in {
        gate.turn().logged_in();
    }
    let mut context = Context::from_waker(Waker::noop());
    let mut at = 0;
    loop {
        assert!(matches!(Pin::new(&mut answers).poll_flush(&mut context), Poll::Ready(Ok(()))));
        let rest = &stream[at..];
        let length = rest.get(..3).map_or(0, |bytes| usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16);
        let refused = length > longest && rest.len() >= 4 || logged_in && length > 0 && rest.get(4) == Some(&SEND_LONG_DATA);
        let end = at + (4 + length).min(rest.len());
        loop {
            let mut space = [0; 64];
            let mut buffer = ReadBuf::new(&mut space[..sizes.next().unwrap_or(64)]);
            match Pin::new(&mut gate).poll_read(&mut context, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => {
                    assert!(refused, "a good packet of {length} is refused");
                    return;
                }
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    assert_eq!(at, stream.len(), "it ends early");
                    return;
                }
                Poll::Ready(Ok(())) => {
                    assert!(stream[at..end].starts_with(buffer.filled()), "it hands over something else");
                    at += buffer.filled().len();
                }
            }
        }
        assert_eq!(at, end, "it waits within a packet");
        assert!(!refused, "a packet that must be refused has come through");
    }
});
