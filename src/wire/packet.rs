//! Packet headers and the basic types of the protocol.

/// Bytes of a packet header: length (3) and sequence id (1).
pub const HEADER: usize = 4;

/// A packet with a payload of this length is continued by the next one.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// A packet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Length of this packet's payload.
    pub length: usize,
    /// Sequence id.
    pub sequence: u8,
}

impl Header {
    /// Reads a header from the beginning of `bytes`; `None` if there are fewer than four.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        match *bytes {
            [a, b, c, sequence, ..] => {
                Some(Header { length: usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, sequence })
            }
            _ => None,
        }
    }

    /// The payload goes on in another packet.
    pub fn continues(self) -> bool {
        self.length == MAX_PAYLOAD
    }
}

/// Puts a header before `payload` and appends both to `out`.
///
/// For payloads that interlock makes itself: they are shorter than 16 MiB - 1; a longer one is cut.
pub fn write_packet(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD - 1)];
    let length = payload.len();
    out.extend_from_slice(&[length as u8, (length >> 8) as u8, (length >> 16) as u8, sequence]);
    out.extend_from_slice(payload);
}

/// Reads the basic types from a payload. Every method gives `None` at the payload's end and then leaves
/// the reader where it was.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(count)?;
        self.bytes = tail;
        Some(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        Some(*head)
    }

    /// `int<1>`
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `int<2>`
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// `int<4>`
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// `int<8>`
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `int<lenenc>`; also `None` for the bytes 0xFB (NULL) and 0xFF, which start no integer.
    pub fn lenenc(&mut self) -> Option<u64> {
        let before = self.bytes;
        let value = self.lenenc_or_end();
        if value.is_none() {
            self.bytes = before;
        }
        value
    }

    fn lenenc_or_end(&mut self) -> Option<u64> {
        match self.u8()? {
            small @ 0..=0xFA => Some(u64::from(small)),
            0xFC => self.u16().map(u64::from),
            0xFD => self.array().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            0xFE => self.u64(),
            0xFB | 0xFF => None,
        }
    }

    /// `string<lenenc>`
    pub fn lenenc_bytes(&mut self) -> Option<&'a [u8]> {
        let before = self.bytes;
        let value = self.lenenc().and_then(|length| usize::try_from(length).ok()).and_then(|n| self.take(n));
        if value.is_none() {
            self.bytes = before;
        }
        value
    }

    /// `string<NUL>`, without the zero byte.
    pub fn nul_bytes(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.bytes)?;
        let value = &self.bytes[..end];
        self.bytes = &self.bytes[end + 1..];
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_packet_has_its_header() {
        let mut out = Vec::new();
        write_packet(&mut out, 7, b"abc");
        assert_eq!(out, b"\x03\0\0\x07abc");
        assert_eq!(Header::parse(&out), Some(Header { length: 3, sequence: 7 }));
        assert_eq!(Header::parse(&out[..3]), None);
    }

    #[test]
    fn integers_of_all_lengths() {
        fn check(bytes: &[u8], expect: Option<u64>) {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.lenenc(), expect);
            assert_eq!(reader.rest().len(), if expect.is_some() { 0 } else { bytes.len() });
        }
        check(&[0], Some(0));
        check(&[0xFA], Some(250));
        check(&[0xFB], None);
        check(&[0xFC, 1, 2], Some(0x0201));
        check(&[0xFC, 1], None);
        check(&[0xFD, 1, 2, 3], Some(0x03_0201));
        check(&[0xFE, 1, 0, 0, 0, 0, 0, 0, 0x80], Some(0x8000_0000_0000_0001));
        check(&[0xFF], None);
        check(&[], None);
    }

    #[test]
    fn a_string_longer_than_the_payload_is_none() {
        let mut reader = Reader::new(&[3, b'a', b'b']);
        assert_eq!(reader.lenenc_bytes(), None);
        assert_eq!(reader.rest().len(), 3);
        assert_eq!(Reader::new(&[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]).lenenc_bytes(), None);
    }
}
