//! Values: as a plan has them, to be filled, and as one execution gives them.

use std::sync::Arc;

use super::formula::Formula;

/// A value in a plan.
#[derive(Clone, PartialEq, Debug)]
pub enum Scalar {
    /// The n-th literal or `?` of the folded text, counted from 0. See `sql::digest` for folding.
    Slot(usize),
    /// All the values of a folded list that begins at slot n: `IN (1, 2, 3)` is folded to `IN (?)`.
    ListSlot(usize),
    /// `NULL`
    Null,
    /// `DEFAULT`, or a column that the statement does not name.
    Default,
    /// A number that the text computes from a literal, as `-5`: slot with the sign turned.
    Negative(usize),
    /// An expression that can be computed from literals and, where a row is changed, from its columns.
    Computed(Arc<Formula>),
    /// User variables, other functions and expressions: not known without the server.
    Unknown,
}

/// A value of one execution: from the text's literal or from the binary protocol.
#[derive(Clone, PartialEq, Debug)]
pub enum Value<'a> {
    /// `NULL`
    Null,
    /// An integer that fits in 128 bits (signed and unsigned BIGINT both do).
    Int(i128),
    /// A number with a decimal point, as text: `12.50`.
    Decimal(&'a str),
    /// A floating point number.
    Float(f64),
    /// A string literal after its escapes were resolved, or a string parameter.
    Text(std::borrow::Cow<'a, [u8]>),
    /// A hexadecimal or bit literal, or a BLOB parameter.
    Bytes(std::borrow::Cow<'a, [u8]>),
    /// A date and time parameter in the form `YYYY-MM-DD hh:mm:ss[.ffffff]`.
    Temporal(String),
    /// Sent in pieces (`COM_STMT_SEND_LONG_DATA`), or otherwise not known.
    Unknown,
}

impl Value<'_> {
    /// The value, to outlive its statement.
    pub fn outliving(&self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Int(n) => Value::Int(*n),
            // A text of digits compares with a number as the number does.
            Value::Decimal(digits) => Value::Text(digits.as_bytes().to_vec().into()),
            Value::Float(f) => Value::Float(*f),
            Value::Text(text) => Value::Text(text.to_vec().into()),
            Value::Bytes(raw) => Value::Bytes(raw.to_vec().into()),
            Value::Temporal(moment) => Value::Temporal(moment.clone()),
            Value::Unknown => Value::Unknown,
        }
    }
}
