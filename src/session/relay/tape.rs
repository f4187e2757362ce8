//! What a transaction has run so far, to run it again: its commands, and a fingerprint of each answer.
//!
//! There is a tape only while the analysis wants one (`reorder.retry`).

use std::sync::Arc;

use crate::wire::fingerprint::Fingerprint;
use crate::wire::outcome::OutcomeKind;

/// What a command costs besides its bytes.
const OVERHEAD: usize = 64;

/// The commands of a transaction, oldest first.
#[derive(Debug)]
pub(super) struct Tape {
    kept: Vec<Kept>,
    /// Bytes of commands and answers so far.
    bytes: usize,
    /// Of these, so many at most.
    most: usize,
    /// It has become too long, and has been given up.
    cut: bool,
}

/// A command and the answer that its client has seen.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The payload, command byte included.
    pub payload: Arc<[u8]>,
    /// `None`: not answered.
    pub answer: Option<u128>,
    /// The server generates keys for it.
    generates: bool,
    /// The first of them.
    pub key: Option<u64>,
}

impl Tape {
    pub fn new(most: usize) -> Tape {
        Tape { kept: Vec::new(), bytes: 0, most, cut: false }
    }

    /// A command has been passed on.
    pub fn sent(&mut self, payload: &[u8], generates: bool) {
        if self.grow(payload.len() + OVERHEAD) {
            self.kept.push(Kept { payload: payload.into(), answer: None, generates, key: None });
        }
    }

    /// The newest command was answered.
    pub fn answered(&mut self, print: Fingerprint, result: &OutcomeKind) {
        if self.grow(usize::try_from(print.length()).unwrap_or(usize::MAX))
            && let Some(newest) = self.kept.last_mut()
        {
            newest.answer = Some(print.value());
            newest.key = match result {
                OutcomeKind::Ok { last_insert_id: key @ 1.., .. } if newest.generates => Some(*key),
                _ => None,
            };
        }
    }

    /// Nothing is missing.
    pub fn is_whole(&self) -> bool {
        !self.cut
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn get(&self, at: usize) -> Option<&Kept> {
        self.kept.get(at)
    }

    /// False: it has become too long; nothing of it is kept any more.
    fn grow(&mut self, more: usize) -> bool {
        self.bytes = self.bytes.saturating_add(more);
        if self.bytes > self.most {
            self.cut = true;
            self.kept = Vec::new();
        }
        !self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_that_is_too_long_holds_nothing() {
        let mut tape = Tape::new(1000);
        let none = OutcomeKind::Other;
        tape.sent(b"\x03BEGIN", false);
        let mut print = Fingerprint::default();
        print.add(&[1; 500]);
        tape.answered(print, &none);
        assert!(tape.is_whole() && tape.len() == 1);
        assert_eq!(tape.get(0).and_then(|kept| kept.answer), Some(print.value()));
        tape.sent(b"\x03SELECT 1", false);
        tape.answered(print, &none);
        assert!(!tape.is_whole() && tape.len() == 0 && tape.get(0).is_none());
        tape.sent(b"\x03", false);
        assert_eq!(tape.len(), 0);
    }

    #[test]
    fn generated_keys_are_remembered() {
        let mut tape = Tape::new(10_000);
        for (generates, key, expect) in [(true, 7, Some(7)), (false, 7, None), (true, 0, None)] {
            tape.sent(b"\x03INSERT", generates);
            let (info, schema) = (String::new(), None);
            let answer = OutcomeKind::Ok { affected: 1, last_insert_id: key, info, schema };
            tape.answered(Fingerprint::default(), &answer);
            assert_eq!(tape.get(tape.len() - 1).and_then(|kept| kept.key), expect);
        }
    }
}
