//! SQL texts: any bytes are read, in every mode, and numbers do not change the digest.
//!
//! Input: a byte for mode and flavour, then the text.

#![no_main]

use interlock_fuzz::Input;
use interlock_fuzz::sql::cache::PlanCache;
use interlock_fuzz::sql::digest::{Digest, LiteralKind};
use interlock_fuzz::sql::lexer::{Lexer, Reading};
use interlock_fuzz::sql::parse::parse;
use interlock_fuzz::sql::statement::SqlMode;
use libfuzzer_sys::fuzz_target;

fn tokens_lie_in_order(text: &[u8], reading: Reading) {
    let mut end = 0;
    for token in Lexer::new(text, reading) {
        assert!(token.start >= end && token.end > token.start && token.end <= text.len(), "{token:?}");
        end = token.end;
    }
}

/// The text with other numbers of the same shape.
fn other_numbers(text: &[u8], digest: &Digest) -> Vec<u8> {
    let mut changed = text.to_vec();
    for literal in digest.literals.iter().filter(|literal| literal.kind == LiteralKind::Number) {
        for byte in &mut changed[literal.start as usize..literal.end as usize] {
            if byte.is_ascii_digit() {
                *byte = (*byte - b'0' + 1) % 9 + b'1';
            }
        }
    }
    changed
}

/// After these words a number counts in full, because it tells what the statement does.
fn counts_numbers(text: &[u8]) -> bool {
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    has(b"SET") || has(b"WAIT")
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bits = input.byte();
    let text = input.0;
    let mode = SqlMode { ansi_quotes: bits & 1 != 0, no_backslash_escapes: bits & 2 != 0 };
    let reading = Reading { mode, mariadb: bits & 4 != 0, version: 101_119 };
    tokens_lie_in_order(text, reading);

    let mut cache = PlanCache::new(4, reading.mariadb, reading.version);
    let analysed = cache.analyse(text, mode);
    let binding = analysed.bind(text, &[]);
    for slot in 0..=analysed.digest.literals.len() {
        binding.value(slot);
        assert_eq!(binding.list(slot).count(), binding.list_len(slot));
        binding.row_value(binding.rows() - 1, slot);
    }
    assert_eq!(cache.analyse(text, mode).digest, analysed.digest);

    let changed = other_numbers(text, &analysed.digest);
    let digest = Digest::of(&changed, reading);
    if !counts_numbers(text) {
        assert_eq!(digest.hash, analysed.digest.hash, "a number changes the digest");
    }
    if digest.hash == analysed.digest.hash {
        // What the cache relies on: one digest, one plan.
        let parsed = parse(&changed, reading, &digest);
        assert_eq!(parsed.statement, analysed.plan.statement, "one digest, two plans");
        assert_eq!(parsed.text, *analysed.plan.text);
    }
});
