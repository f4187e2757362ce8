//! What the integration tests share: private servers, an interlock in front of them, and a client that
//! speaks raw packets.
//!
//! Every test starts what it needs on free ports, so tests run in parallel; everything ends with the value
//! that started it, and with the test process, however that ends.

// Each test program compiles this module for itself and uses a part of it.
#![allow(dead_code, unused_imports)]

pub mod interlock;
pub mod raw;
pub mod server;
pub mod shop;

pub use interlock::Interlock;
pub use raw::{Login, RawClient};
pub use server::{Kind, Server, both};

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Polls `done` every 10 ms; panics with `what` when it has not come true after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
