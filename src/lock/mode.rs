//! Lock modes, and how sure the model is.

use serde::Serialize;

/// The mode of a lock. Records, gaps and next-key locks are S or X; what is locked as a whole (a table, its
/// definition) has the intention modes too (Gray and Reuter, "Transaction Processing", section 7.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
pub enum Mode {
    /// Something in it is read.
    IS,
    /// Something in it is written.
    IX,
    /// Shared.
    S,
    /// Exclusive.
    X,
}

impl Mode {
    /// Can two transactions have these at the same time?
    pub fn compatible(self, other: Mode) -> bool {
        // X goes with nothing, S not with IX.
        !matches!((self, other), (Mode::X, _) | (_, Mode::X) | (Mode::S, Mode::IX) | (Mode::IX, Mode::S))
    }

    /// Who has this, has the other too.
    pub fn includes(self, other: Mode) -> bool {
        self == Mode::X || self == other || other == Mode::IS
    }
}

/// How sure the model is of a lock or of a conflict; ordered from unsure to sure, so the certainty of a
/// conclusion is the `min` of its premises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The statement locks something there, but what is anybody's guess.
    Unknown,
    /// It follows from what is usual: the likely access path, a gap whose edges were not looked at.
    Likely,
    /// It follows from the statement, the catalog and what the server has answered.
    Certain,
}

#[cfg(test)]
mod tests {
    use super::Mode::{self, IS, IX, S, X};

    #[test]
    fn the_table_of_gray_and_reuter() {
        let together = |a: Mode, b: Mode| a.compatible(b) && b.compatible(a);
        for (a, with) in [(IS, "IS IX S"), (IX, "IS IX"), (S, "IS S"), (X, "")] {
            for b in [IS, IX, S, X] {
                let expect = with.split(' ').any(|name| name == format!("{b:?}"));
                assert_eq!(together(a, b), expect, "{a:?} {b:?}");
            }
        }
        assert!(X.includes(IX) && S.includes(IS) && IX.includes(IS));
        assert!(!S.includes(IX) && !IX.includes(S) && !IS.includes(S));
    }
}
