//! The file of signatures, which somebody may have edited: what is read is sound, and reads the same again.

#![no_main]

use std::path::Path;

use interlock_fuzz::admission::document::{parse, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = Path::new("signatures.json");
    let Ok(signatures) = parse(data, path) else { return };
    for signature in &signatures {
        assert_eq!(signature.entries().count(), signature.roles.len());
        assert_eq!(signature.closings().count(), signature.roles.len());
    }
    let again = parse(text(signatures.clone()).as_bytes(), path).expect("own files are good");
    assert_eq!(again, signatures);
});
