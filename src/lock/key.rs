//! Index keys as byte strings that compare as the server's index does.
//!
//! Each key part is written as a tag and a body in an order-preserving form, so that comparing two keys is
//! one `memcmp` and the parts of a composite key need no types when they are compared:
//!
//! | bytes | meaning |
//! |---|---|
//! | `01` | NULL (sorts first) |
//! | `02` body | a value |
//! | `FE` | behind every value of this part: where the next AUTO_INCREMENT number goes |
//! | `FF` | behind everything with this prefix |
//!
//! A descending part has all of its bytes inverted, `FE` and `FF` excepted. Bodies are self-delimiting, so a
//! key with fewer parts than its index is a prefix, and `prefix` … `prefix FF` is the range of its entries.

use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;

const NULL: u8 = 0x01;
const VALUE: u8 = 0x02;
const END_OF_PART: u8 = 0xFE;
const AFTER: u8 = 0xFF;

/// A key, a prefix of a key, or a place between keys.
#[derive(PartialEq, Eq, Hash, Default)]
pub struct Key(SmallVec<[u8; 24]>);

impl Ord for Key {
    /// Bytes in order, eight at a time: keys are short, and a call of `memcmp` costs more than what it compares.
    fn cmp(&self, other: &Key) -> Ordering {
        let (mut a, mut b) = (self.0.as_slice(), other.0.as_slice());
        while let (Some((x, a_rest)), Some((y, b_rest))) =
            (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
        {
            if x != y {
                return u64::from_be_bytes(*x).cmp(&u64::from_be_bytes(*y));
            }
            (a, b) = (a_rest, b_rest);
        }
        // The rest is short in one of them.
        let differs = a.iter().zip(b).find(|(x, y)| x != y);
        differs.map_or(a.len().cmp(&b.len()), |(x, y)| x.cmp(y))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Clone for Key {
    /// Bytes as a block: `SmallVec` itself would copy them one by one.
    fn clone(&self) -> Key {
        Key(SmallVec::from_slice(&self.0))
    }
}

impl Key {
    /// Below every key.
    pub fn lowest() -> Key {
        Key::default()
    }

    /// Above every key: the place of InnoDB's supremum pseudo-record.
    pub fn supremum() -> Key {
        Key(SmallVec::from_slice(&[AFTER]))
    }

    /// The place right behind this key and every key that begins with it.
    pub fn after(&self) -> Key {
        let mut bytes = self.0.clone();
        bytes.push(AFTER);
        Key(bytes)
    }

    /// Is this the place right behind `key`, as [`after`](Self::after) gives it?
    pub fn is_after(&self, key: &Key) -> bool {
        self.0.split_last() == Some((&AFTER, key.0.as_slice()))
    }

    /// Is this the place behind all keys?
    pub fn is_supremum(&self) -> bool {
        self.0.as_slice() == [AFTER]
    }

    /// Is this the place before all keys?
    pub fn is_lowest(&self) -> bool {
        self.0.is_empty()
    }

    /// Is this no key, but the place where new ones go?
    pub fn is_end(&self) -> bool {
        self.0.last() == Some(&END_OF_PART)
    }

    /// What stands before the place where new ones go, if it is one.
    pub fn before_end(&self) -> Option<Key> {
        match self.0.split_last() {
            Some((&END_OF_PART, before)) => Some(Key(SmallVec::from_slice(before))),
            _ => None,
        }
    }

    /// The bytes that compare as the keys do: the same for the same key in every process.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Does this key begin with `prefix`?
    pub fn starts_with(&self, prefix: &Key) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The strings of a key that is made of [`push_ordered`](Self::push_ordered) alone.
    pub fn strings(&self) -> Vec<String> {
        let mut rest = self.0.as_slice();
        let mut found = Vec::new();
        while let [VALUE, body @ ..] = rest {
            let end = body.windows(2).position(|pair| pair == [0, 0]).unwrap_or(body.len());
            found.push(String::from_utf8_lossy(&body[..end]).into_owned());
            rest = body.get(end + 2..).unwrap_or_default();
        }
        found
    }

    /// Appends NULL.
    pub fn push_null(&mut self, descending: bool) {
        self.push_bytes(&[NULL], descending);
    }

    /// Appends an integer; all of `BIGINT` and `BIGINT UNSIGNED` fit, what lies outside is clamped.
    pub fn push_int(&mut self, value: i128, descending: bool) {
        // 2^63 moves the smallest BIGINT to 0; the largest BIGINT UNSIGNED then needs 65 bits: nine bytes.
        let moved = (value + (1 << 63)).clamp(0, (1 << 65) - 1) as u128;
        let mut body = [VALUE; 10];
        body[1..].copy_from_slice(&moved.to_be_bytes()[7..]);
        self.push_bytes(&body, descending);
    }

    /// Appends a floating point number; NaN sorts last (InnoDB stores none).
    pub fn push_float(&mut self, value: f64, descending: bool) {
        // The usual trick: flip the sign bit of positive numbers and all bits of negative ones.
        let bits = if value == 0.0 { 0f64.to_bits() } else { value.to_bits() };
        let ordered = if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits };
        let mut body = [VALUE; 9];
        body[1..].copy_from_slice(&ordered.to_be_bytes());
        self.push_bytes(&body, descending);
    }

    /// Appends bytes that already are in comparison order (weights of a string, padded binary, a date).
    ///
    /// Zero bytes are escaped as `00 01` and the end is `00 00`, so that a shorter string sorts first.
    pub fn push_ordered(&mut self, value: &[u8], descending: bool) {
        let mut body: SmallVec<[u8; 48]> = SmallVec::with_capacity(value.len() + 3);
        body.push(VALUE);
        for &byte in value {
            body.push(byte);
            if byte == 0 {
                body.push(1);
            }
        }
        body.extend_from_slice(&[0, 0]);
        self.push_bytes(&body, descending);
    }

    /// Appends the beginning of a string, without its end: the range of this key's entries is then that of
    /// all strings that begin so (`LIKE 'abc%'`).
    pub fn push_head(&mut self, value: &[u8], descending: bool) {
        let from = self.0.len();
        self.push_ordered(value, descending);
        let end = self.0.len() - 2;
        self.0.truncate(end.max(from));
    }

    /// Appends the place behind every value that this part can have: where the next AUTO_INCREMENT goes.
    pub fn push_end(&mut self) {
        self.0.push(END_OF_PART);
    }

    /// The values of its parts as far as they can be read back: integers, and strings in comparison form.
    pub fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut rest = self.0.as_slice();
        while let [tag, body @ ..] = rest {
            let descending = *tag >= !VALUE;
            let tag = if descending && *tag < END_OF_PART { !tag } else { *tag };
            let flip = |b: &u8| if descending { !b } else { *b };
            let (text, left) = match (tag, body.len()) {
                (AFTER, _) => break,
                (END_OF_PART, _) => ("next".to_owned(), body),
                (NULL, _) => ("NULL".to_owned(), body),
                // Nine bytes with a first byte of 0 or 1 are an integer; text ends with two zero bytes.
                (VALUE, 9..) if flip(&body[0]) <= 1 => {
                    let number = body[..9].iter().fold(0i128, |n, b| n << 8 | i128::from(flip(b)));
                    ((number - (1 << 63)).to_string(), &body[9..])
                }
                _ => {
                    let end = body.windows(2).position(|w| flip(&w[0]) == 0 && flip(&w[1]) == 0);
                    let text: Vec<u8> = body[..end.unwrap_or(body.len())].iter().map(flip).collect();
                    let left = body.get(end.map_or(body.len(), |n| n + 2)..).unwrap_or_default();
                    (format!("'{}'", String::from_utf8_lossy(&text)), left)
                }
            };
            texts.push(text);
            rest = left;
        }
        texts
    }

    fn push_bytes(&mut self, bytes: &[u8], descending: bool) {
        if descending {
            self.0.extend(bytes.iter().map(|b| !b));
        } else {
            self.0.extend_from_slice(bytes);
        }
    }
}

/// The values as far as they can be read back: integers, and strings in comparison form.
/// All parts, or with a precision (`{:.1}`) as many of them.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts = self.texts();
        texts.truncate(f.precision().unwrap_or(usize::MAX));
        f.write_str(&texts.join(", "))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn int(value: i128) -> Key {
        let mut key = Key::default();
        key.push_int(value, false);
        key
    }

    #[test]
    fn places_are_in_order() {
        let (three, four) = (int(3), int(4));
        assert!(Key::lowest() < three && three < three.after() && three.after() < four);
        let mut end = Key::default();
        end.push_end();
        assert!(int(u64::MAX as i128) < end && end < Key::supremum());
        let mut null = Key::default();
        null.push_null(false);
        assert!(Key::lowest() < null && null < int(i64::MIN as i128));
    }

    #[test]
    fn a_prefix_covers_its_entries() {
        let prefix = int(7);
        let mut entry = prefix.clone();
        entry.push_int(1, false);
        assert!(entry.starts_with(&prefix) && prefix < entry && entry < prefix.after());
    }

    proptest! {
        #[test]
        fn compares_as_its_bytes(a in prop::collection::vec(0..4u8, 0..30), b in prop::collection::vec(0..4u8, 0..30)) {
            let key = |bytes: &[u8]| Key(SmallVec::from_slice(bytes));
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            // Long ones that differ late.
            let (long_a, long_b) = ([vec![7; 17], a].concat(), [vec![7; 17], b].concat());
            prop_assert_eq!(key(&long_a).cmp(&key(&long_b)), long_a.cmp(&long_b));
        }
    }

    proptest! {
        #[test]
        fn integers_keep_their_order(a in any::<i64>(), b in any::<u64>(), descending: bool) {
            let (mut x, mut y) = (Key::default(), Key::default());
            x.push_int(a.into(), descending);
            y.push_int(b.into(), descending);
            let expected = i128::from(a).cmp(&i128::from(b));
            prop_assert_eq!(x.cmp(&y), if descending { expected.reverse() } else { expected });
        }

        #[test]
        fn floats_keep_their_order(a in -1e9..1e9f64, b in -1e9..1e9f64) {
            let (mut x, mut y) = (Key::default(), Key::default());
            x.push_float(a, false);
            y.push_float(b, false);
            prop_assert_eq!(x.cmp(&y), a.partial_cmp(&b).unwrap());
        }

        #[test]
        fn strings_keep_their_order(a: Vec<u8>, b: Vec<u8>, tail in any::<i64>()) {
            let (mut x, mut y) = (Key::default(), Key::default());
            x.push_ordered(&a, false);
            y.push_ordered(&b, false);
            x.push_int(tail.into(), false);
            y.push_int(0, false);
            if a != b {
                prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            }
        }
    }
}
