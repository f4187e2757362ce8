//! Parameters of the binary protocol (protocol page "Binary Protocol Value").

use smallvec::SmallVec;

use super::command::PARAMETER_COUNT_AVAILABLE;
use super::flags::capability;
use super::packet::Reader;

/// A parameter's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Param<'a> {
    /// NULL
    Null,
    /// An integer of any width, signed or unsigned.
    Int(i128),
    /// FLOAT or DOUBLE.
    Float(f64),
    /// A string.
    Text(&'a [u8]),
    /// A BLOB, BIT or GEOMETRY.
    Bytes(&'a [u8]),
    /// A DECIMAL as text.
    Decimal(&'a [u8]),
    /// A date, time or both: `YYYY-MM-DD`, `YYYY-MM-DD hh:mm:ss[.ffffff]`, `[-]hh:mm:ss[.ffffff]`.
    Temporal(String),
    /// Sent with COM_STMT_SEND_LONG_DATA.
    Unknown,
}

/// A parameter's type as sent: the type byte, and 0x80 in the high byte for unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ParamType(pub u16);

/// A decoded COM_STMT_EXECUTE.
#[derive(Clone, PartialEq, Debug)]
pub struct Execute<'a> {
    /// Statement id.
    pub id: u32,
    /// A cursor is asked for.
    pub cursor: bool,
    /// The statement's parameters, without query attributes.
    pub params: SmallVec<[Param<'a>; 8]>,
}

const NULL: u8 = 6;

/// Decodes the body of a COM_STMT_EXECUTE.
///
/// `count` is the number of parameters from the answer to PREPARE. `types` is kept with the statement: it
/// is replaced when the packet brings new types and used when it does not. `is_long(i)` says whether
/// parameter `i` was sent in pieces: then the packet holds no value for it. `None`: malformed.
pub fn execute<'a>(
    body: &'a [u8],
    capabilities: u32,
    count: u16,
    types: &mut Vec<ParamType>,
    is_long: impl Fn(u16) -> bool,
) -> Option<Execute<'a>> {
    let mut reader = Reader::new(body);
    let id = reader.u32()?;
    let flags = reader.u8()?;
    let _iterations = reader.u32()?;
    let cursor = flags & 0x07 != 0;
    let attributes =
        capabilities & capability::QUERY_ATTRIBUTES != 0 && flags & PARAMETER_COUNT_AVAILABLE != 0;
    let mut sent = usize::from(count);
    if attributes {
        sent = usize::try_from(reader.lenenc()?).ok()?;
    }
    if sent == 0 {
        return Some(Execute { id, cursor, params: SmallVec::new() });
    }
    let nulls = reader.take(sent.div_ceil(8))?;
    if reader.u8()? == 1 {
        read_types(&mut reader, sent, attributes, types)?;
        types.truncate(usize::from(count));
    }
    let mut params = SmallVec::with_capacity(usize::from(count));
    for index in 0..count {
        let at = usize::from(index);
        params.push(if is_long(index) {
            Param::Unknown
        } else if nulls.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1) {
            Param::Null
        } else {
            value(&mut reader, *types.get(at)?)?
        });
    }
    Some(Execute { id, cursor, params })
}

/// Reads the first row of parameters of a COM_STMT_BULK_EXECUTE (MariaDB). `types` as in [`execute`]. A
/// DEFAULT or IGNORE indicator gives [`Param::Unknown`].
pub fn bulk_execute<'a>(body: &'a [u8], count: u16, types: &mut Vec<ParamType>) -> Option<Execute<'a>> {
    const SEND_TYPES_TO_SERVER: u16 = 128;
    let mut reader = Reader::new(body);
    let id = reader.u32()?;
    if reader.u16()? & SEND_TYPES_TO_SERVER != 0 {
        read_types(&mut reader, usize::from(count), false, types)?;
    }
    let mut params = SmallVec::with_capacity(usize::from(count));
    for index in 0..usize::from(count) {
        params.push(match reader.u8()? {
            0 => value(&mut reader, *types.get(index)?)?,
            1 => Param::Null,
            _ => Param::Unknown,
        });
    }
    Some(Execute { id, cursor: false, params })
}

/// Steps over the attributes of a COM_QUERY: bitmap, types, names and values.
pub(super) fn skip_attributes(reader: &mut Reader<'_>, count: usize) -> Option<()> {
    let nulls = reader.take(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return None;
    }
    let mut types = Vec::new();
    read_types(reader, count, true, &mut types)?;
    for (index, kind) in types.into_iter().enumerate() {
        if nulls[index / 8] >> (index % 8) & 1 == 0 {
            value(reader, kind)?;
        }
    }
    Some(())
}

fn read_types(reader: &mut Reader<'_>, count: usize, named: bool, types: &mut Vec<ParamType>) -> Option<()> {
    types.clear();
    // Two bytes for each are in the packet, so a false count cannot make this allocation large.
    if reader.rest().len() < count.checked_mul(2)? {
        return None;
    }
    types.reserve(count);
    for _ in 0..count {
        types.push(ParamType(reader.u16()?));
        if named {
            reader.lenenc_bytes()?;
        }
    }
    Some(())
}

fn value<'a>(reader: &mut Reader<'a>, kind: ParamType) -> Option<Param<'a>> {
    let unsigned = kind.0 & 0x8000 != 0;
    let int = |signed: i64, plain: u64| Param::Int(if unsigned { plain.into() } else { signed.into() });
    Some(match kind.0 as u8 {
        NULL => Param::Null,
        1 => reader.u8().map(|v| int((v as i8).into(), v.into()))?,
        2 | 13 => reader.u16().map(|v| int((v as i16).into(), v.into()))?,
        3 | 9 => reader.u32().map(|v| int((v as i32).into(), v.into()))?,
        8 => reader.u64().map(|v| int(v as i64, v))?,
        4 => Param::Float(f32::from_le_bytes(reader.array()?).into()),
        5 => Param::Float(f64::from_le_bytes(reader.array()?)),
        7 | 10 | 12 | 14 => Param::Temporal(date_time(reader, kind.0 as u8 != 10)?),
        11 => Param::Temporal(time(reader)?),
        0 | 246 => Param::Decimal(reader.lenenc_bytes()?),
        16 | 242 | 249..=252 | 255 => Param::Bytes(reader.lenenc_bytes()?),
        15 | 245 | 247 | 248 | 253 | 254 => Param::Text(reader.lenenc_bytes()?),
        _ => return None,
    })
}

fn date_time(reader: &mut Reader<'_>, with_time: bool) -> Option<String> {
    let length = reader.u8()?;
    let mut fields = Reader::new(reader.take(usize::from(length))?);
    let (year, month, day) = (fields.u16().unwrap_or(0), fields.u8().unwrap_or(0), fields.u8().unwrap_or(0));
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if with_time || length > 4 {
        let [hour, minute, second] = fields.array().unwrap_or_default();
        text.push_str(&format!(" {hour:02}:{minute:02}:{second:02}"));
        push_micros(&mut text, fields.u32());
    }
    Some(text)
}

fn time(reader: &mut Reader<'_>) -> Option<String> {
    let length = reader.u8()?;
    let mut fields = Reader::new(reader.take(usize::from(length))?);
    let negative = fields.u8().unwrap_or(0) != 0;
    let days = fields.u32().unwrap_or(0);
    let [hour, minute, second] = fields.array().unwrap_or_default();
    let hours = u64::from(days) * 24 + u64::from(hour);
    let mut text = format!("{}{hours:02}:{minute:02}:{second:02}", if negative { "-" } else { "" });
    push_micros(&mut text, fields.u32());
    Some(text)
}

fn push_micros(text: &mut String, micros: Option<u32>) {
    if let Some(micros) = micros.filter(|micros| *micros != 0) {
        text.push_str(&format!(".{micros:06}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(flags: u8) -> Vec<u8> {
        let mut body = 9u32.to_le_bytes().to_vec();
        body.push(flags);
        body.extend_from_slice(&1u32.to_le_bytes());
        body
    }

    #[test]
    fn values_of_each_type() {
        fn check(kind: u16, bytes: &[u8], expect: Param<'_>) {
            let mut reader = Reader::new(bytes);
            assert_eq!(value(&mut reader, ParamType(kind)), Some(expect));
            assert!(reader.is_empty());
            for end in 0..bytes.len() {
                assert_eq!(
                    value(&mut Reader::new(&bytes[..end]), ParamType(kind)),
                    None,
                    "{kind} cut at {end}"
                );
            }
        }
        check(1, &[0xFF], Param::Int(-1));
        check(0x8001, &[0xFF], Param::Int(255));
        check(2, &[0xFE, 0xFF], Param::Int(-2));
        check(3, &[1, 0, 0, 0x80], Param::Int(-2_147_483_647));
        check(8, &[0xFF; 8], Param::Int(-1));
        check(0x8008, &[0xFF; 8], Param::Int(u64::MAX.into()));
        check(5, &1.5f64.to_le_bytes(), Param::Float(1.5));
        check(4, &0.25f32.to_le_bytes(), Param::Float(0.25));
        check(253, b"\x02hi", Param::Text(b"hi"));
        check(252, b"\x02hi", Param::Bytes(b"hi"));
        check(246, b"\x04-1.5", Param::Decimal(b"-1.5"));
        check(6, b"", Param::Null);
        check(10, &[4, 0xE9, 7, 3, 9], Param::Temporal("2025-03-09".into()));
        check(12, &[4, 0xE9, 7, 3, 9], Param::Temporal("2025-03-09 00:00:00".into()));
        check(12, &[0], Param::Temporal("0000-00-00 00:00:00".into()));
        let precise = [11, 0xE9, 7, 3, 9, 1, 2, 3, 4, 0, 0, 0];
        check(7, &precise, Param::Temporal("2025-03-09 01:02:03.000004".into()));
        check(11, &[8, 1, 2, 0, 0, 0, 3, 4, 5], Param::Temporal("-51:04:05".into()));
    }

    #[test]
    fn types_are_remembered() {
        let mut types = Vec::new();
        let mut first = head(0);
        first.extend_from_slice(&[0b10, 1, 8, 0, 253, 0]);
        first.extend_from_slice(&5u64.to_le_bytes());
        let read = execute(&first, 0, 2, &mut types, |_| false).unwrap();
        assert_eq!(
            (read.id, read.cursor, read.params.to_vec()),
            (9, false, vec![Param::Int(5), Param::Null])
        );
        let mut second = head(1);
        second.extend_from_slice(&[0, 0]);
        second.extend_from_slice(&6u64.to_le_bytes());
        second.extend_from_slice(b"\x01x");
        let read = execute(&second, 0, 2, &mut types, |_| false).unwrap();
        assert_eq!((read.cursor, read.params.to_vec()), (true, vec![Param::Int(6), Param::Text(b"x")]));
        let read = execute(&second[..second.len() - 2], 0, 2, &mut types, |at| at == 1).unwrap();
        assert_eq!(read.params.to_vec(), vec![Param::Int(6), Param::Unknown]);
    }

    #[test]
    fn attributes_follow_the_parameters() {
        let mut body = head(PARAMETER_COUNT_AVAILABLE);
        body.extend_from_slice(&[2, 0, 1]);
        body.extend_from_slice(b"\x01\x00\x00\xfd\x00\x05trace");
        body.extend_from_slice(b"\x07\x02id");
        let mut types = Vec::new();
        let read = execute(&body, capability::QUERY_ATTRIBUTES, 1, &mut types, |_| false).unwrap();
        assert_eq!((read.params.to_vec(), types.len()), (vec![Param::Int(7)], 1));
    }

    #[test]
    fn the_first_row_of_a_bulk() {
        let mut body = 3u32.to_le_bytes().to_vec();
        body.extend_from_slice(&[128, 0, 1, 0, 253, 0, 0, 5, 1, 0, 6, 1]);
        let read = bulk_execute(&body, 2, &mut Vec::new()).unwrap();
        assert_eq!(read.params.to_vec(), vec![Param::Int(5), Param::Null]);
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(body: Vec<u8>, count in 0u16..300, capabilities: u32) {
            let _ = execute(&body, capabilities, count, &mut Vec::new(), |at| at % 3 == 0);
            let _ = bulk_execute(&body, count, &mut Vec::new());
            let _ = crate::wire::command::query_text(&body, capability::QUERY_ATTRIBUTES);
            let _ = crate::wire::command::change_user(&body, capabilities);
        }
    }
}
