//! Tags in comments of statements: few, short, without control characters; redacted the same ones, and no mail address.

#![no_main]

use interlock_fuzz::admission::comment::{Tags, tags};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let redacted = tags(data, true);
    let tags = tags(data, false);
    let names = |tags: &Tags| tags.iter().flat_map(|tags| tags.keys()).cloned().collect::<Vec<String>>();
    assert_eq!(names(&tags), names(&redacted));
    let route = redacted.as_ref().and_then(|tags| tags.get("route"));
    assert!(!route.is_some_and(|route| route.contains('@')));
    let Some(tags) = tags else { return };
    assert!((1..=16).contains(&tags.len()));
    for (name, value) in &*tags {
        assert!((1..=64).contains(&name.len()) && name.is_ascii());
        assert!(value.chars().count() <= 256 && !value.chars().any(char::is_control));
    }
});
