//! Lock modes, and how sure the model is.

use serde::Serialize;

/// Shared or exclusive, of a record, gap or next-key lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
pub enum Mode {
    /// Shared.
    S,
    /// Exclusive.
    X,
}

impl Mode {
    /// Two record locks on one record are compatible only if both are shared.
    pub fn compatible(self, other: Mode) -> bool {
        self == Mode::S && other == Mode::S
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
