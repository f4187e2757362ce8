//! Signatures: what is kept of a deadlock, when it matches, and what makes it trusted.

use std::sync::Arc;

use super::signature::{FULL_TRUST, KnownBy, Party, Ran, Signature};
use super::signatures::{Seen, Signatures};
use crate::id::{DigestId, TxnId};

/// `"r1 l2:7"`: a plain read with digest 1, a locking statement with digest 2 and the literal 7. The table
/// has the number of the digest's tens.
fn party(text: &str) -> Party {
    let ran = |word: &str| {
        let (what, values) = word.split_once(':').unwrap_or((word, ""));
        let digest: u128 = what[1..].parse().unwrap();
        Ran {
            digest: DigestId(digest),
            text: Arc::from(what),
            locks: what.starts_with('l'),
            tables: 1 << (digest / 10),
            values: values.split(',').filter_map(|v| v.parse().ok()).collect(),
        }
    };
    Party { schema: 1, statements: text.split(' ').map(ran).collect(), ..Party::default() }
}

fn signature(parties: &[&str]) -> Signature {
    let parties: Vec<Party> = parties.iter().map(|text| party(text)).collect();
    Signature::of(&parties, KnownBy::Model, 100).unwrap()
}

fn seen(digest: u128, values: &[u32]) -> Seen {
    Seen { digest: DigestId(digest), schema: 1, values: values.iter().copied().collect() }
}

/// The texts of the entry statements, sorted.
fn entries(signature: &Signature) -> Vec<&str> {
    let mut texts: Vec<&str> =
        signature.roles.iter().map(|role| &*role.statements[role.entry].text).collect();
    texts.sort_unstable();
    texts
}

#[test]
fn a_party_enters_where_it_locks_what_the_other_waits_for() {
    // The first locks something else (table 1), the second what the other one waits for (table 2).
    let one = signature(&["l10 l20 l31", "l30 l21"]);
    assert_eq!(entries(&one), ["l20", "l30"]);
    // Nothing is known of what the other waits for (a trigger): the first statement that locks.
    assert_eq!(entries(&signature(&["r10 l20 l31", "l40 l51"])), ["l20", "l40"]);
    // Plain reads hold metadata locks; a party of one statement enters with it.
    assert_eq!(entries(&signature(&["r10 r20", "l21"])), ["l21", "r10"]);
}

#[test]
fn the_order_of_the_parties_does_not_matter() {
    let (a, b) = (signature(&["l10 l20", "l30 l40"]), signature(&["l30 l40", "l10 l20"]));
    assert_eq!((a.id, &a.roles), (b.id, &b.roles));
    assert_ne!(a.id, signature(&["l10 l20", "l30 l41"]).id);
    assert!(Signature::of(&[party("l10")], KnownBy::Model, 1).is_none());
}

#[test]
fn the_last_party_is_held_until_another_has_left() {
    let signatures = Signatures::default();
    let id = signatures.record(signature(&["l10:1 l10:2", "l10:2 l10:1", "l10:3 l10:2"]));
    let entry = |value| seen(10, &[value]);
    for txn in [1, 2] {
        assert_eq!(signatures.completes(TxnId(txn), &entry(5)), None);
        signatures.passed_on(TxnId(txn), &entry(5));
    }
    assert_eq!(signatures.completes(TxnId(1), &entry(6)), None, "it is inside");
    let found = signatures.completes(TxnId(3), &entry(7)).unwrap();
    assert_eq!((found.signature, found.members), (id, vec![TxnId(1), TxnId(2)]));
    let elsewhere = Seen { schema: 2, ..entry(7) };
    assert_eq!(signatures.completes(TxnId(3), &elsewhere), None, "another schema");
    signatures.leave(TxnId(1));
    assert_eq!(signatures.completes(TxnId(3), &entry(7)), None);
    signatures.leave(TxnId(2));
    assert!(signatures.nobody_inside());
}

#[test]
fn entries_with_the_same_values_are_the_same_constellation() {
    let signatures = Signatures::default();
    signatures.record(signature(&["l10:7 l11:7", "l10:7 l11:7"]));
    signatures.passed_on(TxnId(1), &seen(10, &[7]));
    assert!(signatures.completes(TxnId(2), &seen(10, &[7])).is_some());
    assert!(signatures.completes(TxnId(2), &seen(10, &[8])).is_none());
    // Once it has happened with different values, any do.
    signatures.record(signature(&["l10:7 l11:7", "l10:8 l11:8"]));
    assert!(signatures.completes(TxnId(2), &seen(10, &[8])).is_some());
}

/// A pair that runs the entry and perhaps the closing statement, the second held behind the first.
fn pair(signatures: &Signatures, at: u64, closes: bool, values: [u32; 2]) {
    let (first, second) = (TxnId(at), TxnId(at + 1));
    signatures.passed_on(first, &seen(10, &[values[0]]));
    if let Some(found) = signatures.completes(second, &seen(10, &[values[1]])) {
        signatures.completed(second, found.signature);
    }
    for (txn, value) in [(first, values[0]), (second, values[1])] {
        signatures.passed_on(txn, &seen(10, &[value]));
        if closes {
            signatures.passed_on(txn, &seen(11, &[value]));
        }
        signatures.leave(txn);
    }
}

#[test]
fn needless_holds_end_by_themselves_and_a_deadlock_brings_them_back() {
    for (closes, values, needed) in [(true, [7, 7], true), (false, [7, 7], false), (true, [7, 8], false)] {
        let signatures = Signatures::default();
        let mut of_old = signature(&["l10:7 l11:7", "l10:7 l11:7"]);
        of_old.same_values = false;
        signatures.record(of_old.clone());
        for round in 0..40 {
            pair(&signatures, round * 2 + 1, closes, values);
        }
        let holds = || {
            signatures.passed_on(TxnId(1000), &seen(10, &[7]));
            signatures.completes(TxnId(1001), &seen(10, &[8])).is_some()
        };
        assert_eq!(holds(), needed, "closes {closes} values {values:?}");
        assert_eq!(signatures.concerns(DigestId(10)), needed, "what holds nobody costs nobody anything");
        signatures.record(of_old);
        assert!(holds());
        assert_eq!(signatures.all()[0].trust, FULL_TRUST);
    }
}

#[test]
fn a_deadlock_that_comes_all_the_same_is_met_earlier() {
    let signatures = Signatures::default();
    let mut of = signature(&["l10:7 l20:7 l31", "l10:7 l30:7 l21"]);
    assert_eq!(entries(&of), ["l20", "l30"]);
    signatures.record(of.clone());
    of.last_seen += 60;
    signatures.record(of);
    assert_eq!(entries(&signatures.all()[0]), ["l10", "l10"]);
}

#[test]
fn signatures_are_bounded_and_expire() {
    let signatures = Signatures::default();
    for number in 0..1100u128 {
        let mut one = signature(&["l10 l20", "l30 l40"]);
        one.id.0 = number as u64;
        one.last_seen = number as u64;
        signatures.record(one);
    }
    assert_eq!(signatures.len(), 1000);
    assert_eq!(signatures.expire(1090), 990);
    assert_eq!(signatures.len(), 10);
    assert!(signatures.remove(signatures.all()[0].id));
    assert_eq!(signatures.len(), 9);
}

#[test]
fn a_held_party_that_never_comes_leaves_nothing() {
    let signatures = Signatures::default();
    let id = signatures.record(signature(&["l10 l11", "l10 l11"]));
    signatures.passed_on(TxnId(1), &seen(10, &[]));
    signatures.completed(TxnId(2), id);
    signatures.leave(TxnId(2));
    signatures.leave(TxnId(1));
    assert!(signatures.nobody_inside());
}
