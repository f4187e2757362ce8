//! The digest of a text: its tokens without literals, as a number, and where the literals stand.
//!
//! * Comments are dropped; optimizer hints count, and so does what the server executes of `/*! … */`.
//! * Literals and `?` all count as the same token. A sign directly before a number belongs to it where no
//!   operand stands before the sign (`a = -5`).
//! * `IN (1, 2, 3)` counts as `IN (1)`, `IN ((1, 2), (3, 4))` as `IN ((1, 2))`: a list [`Fold`].
//! * `VALUES (…), (…)` counts as `VALUES (…)`: a rows [`Fold`]. Rows that differ in more than their literals
//!   make it a *mixed* fold, of which only the first row can be bound.
//! * NULL, TRUE and FALSE are literals in lists, rows and after a comparison. Elsewhere they are words.
//! * The literals of `SET variable = …` count in full, as does the number of `WAIT n`: they tell what the
//!   statement does.
//! * Words count in their own case. `select` and `SELECT` are two digests: to fold the case of keywords
//!   alone would cost a keyword lookup for every word, and table names may not be folded
//!   (`lower_case_table_names = 0`). An application writes one statement in one way, so it costs little.
//! * A `;` at the end is dropped.
//!
//! **Slots**: the literals of the folded text, counted from 0. A fold with `width` literals per element has
//! slots `first .. first + width`; the literals of its other elements have no slots of their own.

use smallvec::SmallVec;

use super::lexer::Reading;
use super::tag::Tag;
use super::walk::Walk;

/// More literals than this in one text are not collected: the text is too long to be analysed.
pub const MAX_LITERALS: usize = 100_000;

/// What kind of literal it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiteralKind {
    /// A number, with its sign if that was folded.
    Number,
    /// A string, in all its forms.
    String,
    /// A hexadecimal or bit literal.
    Bits,
    /// The n-th `?` of the text, from 0.
    Param(u32),
    /// `NULL`
    Null,
    /// `TRUE`, `FALSE`
    Boolean(bool),
}

/// A literal and where it stands in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Literal {
    /// What kind.
    pub kind: LiteralKind,
    /// Offset of the first byte (of its sign, if it has one).
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

/// What was folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FoldKind {
    /// The list of an `IN`.
    List,
    /// The rows of a `VALUES`.
    Rows,
    /// Rows that differ in more than their literals.
    MixedRows,
}

/// A list of elements that counts as its first element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fold {
    /// List or rows.
    pub kind: FoldKind,
    /// The statement of the text that it stands in, from 0.
    pub part: u32,
    /// Slot of the first literal.
    pub slot: u32,
    /// Index of the first literal in [`Digest::literals`].
    pub literal: u32,
    /// Literals per element.
    pub width: u32,
    /// Number of elements.
    pub count: u32,
    /// Literals of the elements after the first.
    pub extra: u32,
    /// Offset after the first element.
    pub start: u32,
    /// Offset after the last element.
    pub end: u32,
}

/// A text that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest {
    /// Same number: same statement but for its literals.
    pub hash: u128,
    /// All literals of the text in order.
    pub literals: SmallVec<[Literal; 8]>,
    /// Folded lists in text order.
    pub folds: SmallVec<[Fold; 2]>,
    /// A comment tag of interlock.
    pub tag: Option<Tag>,
    /// Number of `?`.
    pub params: u32,
    /// The text has more than [`MAX_LITERALS`] literals, or 4 GiB: it was not read to its end.
    pub too_long: bool,
}

impl Digest {
    /// Reads a text.
    pub fn of(text: &[u8], reading: Reading) -> Digest {
        Walk::over(text, reading)
    }

    /// Index in [`Digest::literals`] of the literal at a slot.
    pub(super) fn literal_of(&self, slot: usize) -> usize {
        let before = self.folds.iter().take_while(|fold| ((fold.slot + fold.width) as usize) <= slot);
        slot + before.map(|fold| fold.extra as usize).sum::<usize>()
    }

    /// The fold that a slot is in.
    pub(super) fn fold_of(&self, slot: usize) -> Option<&Fold> {
        self.folds.iter().find(|fold| (fold.slot as usize..(fold.slot + fold.width) as usize).contains(&slot))
    }
}
