//! The server's report of a deadlock: any text is read, and only parties with a connection come out.

#![no_main]

use interlock_fuzz::backend::deadlock_text::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for party in parse(&String::from_utf8_lossy(data)) {
        assert_ne!(party.server_thread, 0);
        assert!(party.holds.len() + party.waits_for.len() <= data.len());
    }
});
