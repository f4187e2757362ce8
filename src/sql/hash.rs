//! The 128-bit hash of a digest: two lanes of multiply and fold, eight bytes at a time.
//!
//! The keys are fixed, so a digest has the same number in every process and after a restart. It is not a
//! cryptographic hash: who can choose statements can make two of them share a plan, which misleads
//! interlock about that client's own locks and changes nothing that the server does.

const KEY_A: u64 = 0x9E37_79B9_7F4A_7C15;
const KEY_B: u64 = 0xD6E8_FEB8_6659_FD93;
const KEY_C: u64 = 0xA076_1D64_78BD_642F;

/// A hash under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hash {
    a: u64,
    b: u64,
}

fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Hash {
    pub(super) fn new() -> Self {
        Hash { a: KEY_C, b: KEY_A }
    }

    /// Takes in one number.
    #[inline]
    pub(super) fn number(&mut self, x: u64) {
        self.a = fold(self.a ^ x, KEY_A);
        self.b = fold(self.b.rotate_left(29).wrapping_add(x) ^ KEY_C, KEY_B);
    }

    /// Takes in the bytes `text[start..end]` as a token of a kind. What follows `end` is read but not used.
    /// Gives the bytes as a number if they are at most eight, else 0.
    #[inline]
    pub(super) fn bytes(&mut self, kind: u8, text: &[u8], start: usize, end: usize) -> u64 {
        let length = end - start;
        let head = (length as u64) << 8 | u64::from(kind);
        if length <= 8 {
            let word = match text.get(start..start + 8).and_then(|slice| <[u8; 8]>::try_from(slice).ok()) {
                // A shift by 64 would be none: length 0 never gets here with a full word, and gives 0 below.
                Some(slice) if length > 0 => u64::from_le_bytes(slice) & (u64::MAX >> (64 - 8 * length)),
                _ => short(&text[start..end]),
            };
            self.number(word ^ head.wrapping_mul(KEY_B));
            return word;
        }
        self.long(head, &text[start..end]);
        0
    }

    /// More than eight bytes: the last eight are taken in whole, though some of them were before.
    #[inline]
    fn long(&mut self, head: u64, bytes: &[u8]) {
        let mut salt = head.wrapping_mul(KEY_B);
        let (chunks, _) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.number(u64::from_le_bytes(*chunk) ^ salt);
            salt = 0;
        }
        if let Some(last) = bytes.last_chunk::<8>().filter(|_| !bytes.len().is_multiple_of(8)) {
            self.number(u64::from_le_bytes(*last));
        }
    }

    pub(super) fn finish(mut self) -> u128 {
        self.number(KEY_B);
        u128::from(self.a) << 64 | u128::from(self.b)
    }
}

/// At most eight bytes as a number.
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// A keyword of at most eight letters as the number that [`Hash::bytes`] gives for it, upper case.
pub(super) const fn keyword(word: &str) -> u64 {
    let bytes = word.as_bytes();
    let mut number = 0;
    let mut i = bytes.len();
    while i > 0 {
        i -= 1;
        number = number << 8 | bytes[i] as u64;
    }
    number
}

/// Takes the case off a word: keywords in any case become upper case. Other words may become other words,
/// but never keywords that they were not: letters differ from every other byte of a word also without bit 5.
pub(super) const fn upper(word: u64) -> u64 {
    word & 0xDFDF_DFDF_DFDF_DFDF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_token_does_not_matter() {
        let of = |text: &[u8], end| {
            let mut hash = Hash::new();
            hash.bytes(1, text, 0, end);
            hash.finish()
        };
        for length in 0..12 {
            assert_eq!(
                of(b"abcdefghijklmnopqrst", length),
                of(&b"abcdefghijkl"[..length], length),
                "{length}"
            );
        }
        assert_ne!(of(b"ab", 2), of(b"abc", 3));
        assert_ne!(of(b"abcdefgh", 8), of(b"abcdefghi", 9));
    }
}
