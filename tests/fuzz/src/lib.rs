//! The rooms under test, compiled from interlock's own sources.
//!
//! Not as a dependency: that would build TLS, HTTP and the runtime with the fuzzer's instrumentation, which
//! takes many times as long and lets the fuzzer look where nothing is to be found.

pub mod admin;
pub mod admission;
pub mod backend;
pub mod frontend;
#[path = "../../../src/id.rs"]
pub mod id;
pub mod scheduler;
#[path = "../../../src/sql/mod.rs"]
pub mod sql;
#[path = "../../../src/wire/mod.rs"]
pub mod wire;

/// Takes an input apart from front to back; at its end everything is zero or empty.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next four bytes as a number.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// The next bytes, at most `count`.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }
}
