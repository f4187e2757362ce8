//! The values of one execution: what a plan's slots hold.

use super::digest::{Digest, Fold, FoldKind};
use super::formula::Moment;
use super::lexer::Reading;
use super::literal;
use super::value::Value;

/// The values of one execution of a text, read from its literals and from the parameters of its `?`.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    text: &'a [u8],
    reading: Reading,
    digest: &'a Digest,
    params: &'a [Value<'a>],
    part: u32,
    moment: Moment,
}

impl<'a> Binding<'a> {
    /// The values of a text and, for a prepared statement, its parameters in the order of their `?`.
    pub fn new(text: &'a [u8], reading: Reading, digest: &'a Digest, params: &'a [Value<'a>]) -> Self {
        Binding { text, reading, digest, params, part: 0, moment: Moment::default() }
    }

    /// The same at this moment.
    pub fn at(self, moment: Moment) -> Self {
        Binding { moment, ..self }
    }

    /// The moment, as far as it is known.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// The same for the n-th statement of a text with several. Slots count through the whole text, so this
    /// changes only what [`Binding::rows`] says.
    pub fn part(self, part: usize) -> Self {
        Binding { part: u32::try_from(part).unwrap_or(u32::MAX), ..self }
    }

    /// The value at a slot; in a folded list or in rows that of the first element.
    pub fn value(&self, slot: usize) -> Value<'a> {
        self.literal(self.digest.literal_of(slot))
    }

    /// All values of the folded list that a slot is in, or the one value of a slot that is in none.
    pub fn list(&self, slot: usize) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let this = *self;
        let first = self.digest.literal_of(slot);
        let fold = self.digest.fold_of(slot).filter(|fold| fold.kind == FoldKind::List);
        let (count, width) = fold.map_or((1, 0), |fold| (fold.count as usize, fold.width as usize));
        (0..count).map(move |n| this.literal(first + n * width))
    }

    /// Number of values that [`Binding::list`] gives.
    pub fn list_len(&self, slot: usize) -> usize {
        let fold = self.digest.fold_of(slot).filter(|fold| fold.kind == FoldKind::List);
        fold.map_or(1, |fold| fold.count as usize)
    }

    /// Number of rows of `INSERT … VALUES`; 1 for every other statement.
    pub fn rows(&self) -> usize {
        self.rows_fold().map_or(1, |fold| fold.count as usize)
    }

    /// The value at a slot of a row, from 0. Slots outside the rows are the same in every row. In rows that
    /// differ in more than their literals only the first is known.
    pub fn row_value(&self, row: usize, slot: usize) -> Value<'a> {
        let fold = self.digest.fold_of(slot);
        match fold.filter(|_| row > 0) {
            Some(fold) if row >= fold.count as usize => Value::Unknown,
            Some(Fold { kind: FoldKind::Rows, width, .. }) => {
                self.literal(self.digest.literal_of(slot) + row * *width as usize)
            }
            Some(Fold { kind: FoldKind::MixedRows, .. }) => Value::Unknown,
            _ => self.value(slot),
        }
    }

    fn rows_fold(&self) -> Option<&'a Fold> {
        let rows = |fold: &&Fold| fold.kind != FoldKind::List && fold.part == self.part;
        self.digest.folds.iter().find(rows)
    }

    fn literal(&self, index: usize) -> Value<'a> {
        match self.digest.literals.get(index) {
            Some(literal) => literal::value(self.text, self.reading, literal, self.params),
            None => Value::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(sql: &str, params: &[Value<'_>], check: impl FnOnce(Binding<'_>) -> T) -> T {
        let digest = Digest::of(sql.as_bytes(), Reading::default());
        check(Binding::new(sql.as_bytes(), Reading::default(), &digest, params))
    }

    #[test]
    fn lists_and_what_follows() {
        with("SELECT 7 WHERE a IN (1,2,3) AND b = 4 AND c IN (5, NULL)", &[], |b| {
            assert_eq!(b.value(0), Value::Int(7));
            assert_eq!(b.list(1).collect::<Vec<_>>(), [Value::Int(1), Value::Int(2), Value::Int(3)]);
            assert_eq!(b.value(2), Value::Int(4));
            assert_eq!(b.list(3).collect::<Vec<_>>(), [Value::Int(5), Value::Null]);
            assert_eq!(b.list(2).collect::<Vec<_>>(), [Value::Int(4)]);
            assert_eq!((b.list_len(1), b.list_len(2)), (3, 1));
        });
        with("WHERE (a,b) IN ((1,2),(3,4)) AND c = 5", &[], |b| {
            assert_eq!(b.list(0).collect::<Vec<_>>(), [Value::Int(1), Value::Int(3)]);
            assert_eq!(b.list(1).collect::<Vec<_>>(), [Value::Int(2), Value::Int(4)]);
            assert_eq!(b.value(2), Value::Int(5));
        });
    }

    #[test]
    fn rows_repeat_their_slots() {
        with("INSERT INTO t VALUES (1, NULL), (-3, 4) ON DUPLICATE KEY UPDATE a = 5", &[], |b| {
            assert_eq!(b.rows(), 2);
            assert_eq!(b.row_value(0, 0), Value::Int(1));
            assert_eq!(b.row_value(0, 1), Value::Null);
            assert_eq!(b.row_value(1, 0), Value::Int(-3));
            assert_eq!(b.row_value(1, 1), Value::Int(4));
            assert_eq!(b.row_value(1, 2), Value::Int(5));
            assert_eq!(b.row_value(2, 0), Value::Unknown);
        });
        with("INSERT INTO t VALUES (1, 2), (DEFAULT, 4)", &[], |b| {
            assert_eq!(b.rows(), 2);
            assert_eq!(b.row_value(0, 1), Value::Int(2));
            assert_eq!(b.row_value(1, 1), Value::Unknown);
        });
        with("INSERT INTO t VALUES (NOW()), (NOW()), (NOW())", &[], |b| assert_eq!(b.rows(), 3));
    }

    #[test]
    fn parameters() {
        let params = [Value::Int(1), Value::Text("x".as_bytes().into()), Value::Int(3)];
        with("INSERT INTO t VALUES (?, ?), (?, 4)", &params, |b| {
            assert_eq!(b.row_value(0, 1), Value::Text("x".as_bytes().into()));
            assert_eq!(b.row_value(1, 0), Value::Int(3));
            assert_eq!(b.row_value(1, 1), Value::Int(4));
        });
        with("SELECT ?, ?, ?, ?", &params, |b| assert_eq!(b.value(3), Value::Unknown));
    }

    #[test]
    fn parts() {
        with(
            "INSERT INTO t VALUES (1),(2); INSERT INTO u VALUES (3); INSERT INTO v VALUES (4),(5),(6)",
            &[],
            |b| {
                assert_eq!([0, 1, 2].map(|n| b.part(n).rows()), [2, 1, 3]);
                assert_eq!(b.part(1).row_value(0, 1), Value::Int(3));
                assert_eq!(b.part(2).row_value(2, 2), Value::Int(6));
            },
        );
    }
}
