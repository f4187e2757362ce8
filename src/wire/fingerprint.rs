//! 128 bits that stand for the bytes of an answer, taken while they pass.
//!
//! Two lanes of multiply and fold, eight bytes at a time, the same however the bytes arrive. It tells an answer
//! from another one that came about by itself; it is no defence against somebody who makes two of them on purpose,
//! who could only mislead the own transaction.

const KEY_A: u64 = 0x9E37_79B9_7F4A_7C15;
const KEY_B: u64 = 0xD6E8_FEB8_6659_FD93;
const KEY_C: u64 = 0xA076_1D64_78BD_642F;

/// A fingerprint under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    a: u64,
    b: u64,
    /// The last bytes, too few for a word.
    rest: u64,
    length: u64,
}

fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint { a: KEY_C, b: KEY_A, rest: 0, length: 0 }
    }
}

impl Fingerprint {
    /// The next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !self.length.is_multiple_of(8)
            && let Some((byte, others)) = bytes.split_first()
        {
            self.byte(*byte);
            bytes = others;
        }
        let (words, others) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
            self.length += 8;
        }
        others.iter().for_each(|byte| self.byte(*byte));
    }

    /// How many bytes there were.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What stands for them.
    pub fn value(mut self) -> u128 {
        self.word(self.rest);
        self.word(self.length);
        u128::from(self.a) << 64 | u128::from(self.b)
    }

    fn byte(&mut self, byte: u8) {
        self.rest |= u64::from(byte) << (8 * (self.length % 8));
        self.length += 1;
        if self.length.is_multiple_of(8) {
            let word = std::mem::take(&mut self.rest);
            self.word(word);
        }
    }

    fn word(&mut self, word: u64) {
        self.a = fold(self.a ^ word, KEY_A);
        self.b = fold(self.b.rotate_left(29).wrapping_add(word) ^ KEY_C, KEY_B);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u128 {
        let mut print = Fingerprint::default();
        parts.iter().for_each(|part| print.add(part));
        print.value()
    }

    #[test]
    fn it_is_the_same_however_the_bytes_arrive() {
        let bytes: Vec<u8> = (0..50u8).map(|n| n.wrapping_mul(7)).collect();
        let whole = of(&[&bytes]);
        for cut in 0..bytes.len() {
            assert_eq!(of(&[&bytes[..cut], &bytes[cut..]]), whole, "{cut}");
            assert_eq!(of(&[&bytes[..cut], &bytes[cut..cut], &bytes[cut..]]), whole, "{cut}");
        }
        assert_eq!(of(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn every_bit_and_the_length_count() {
        let bytes = [0u8; 20];
        let whole = of(&[&bytes]);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&[&other]), whole, "{bit}");
        }
        assert_ne!(of(&[&bytes[..19]]), whole);
    }
}
