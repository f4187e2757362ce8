//! Tags in comments of statements: few, short, and without control characters.

#![no_main]

use interlock_fuzz::admission::comment::tags;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(tags) = tags(data) else { return };
    assert!((1..=16).contains(&tags.len()));
    for (name, value) in &*tags {
        assert!((1..=64).contains(&name.len()) && name.is_ascii());
        assert!(value.chars().count() <= 256 && !value.chars().any(char::is_control));
    }
});
