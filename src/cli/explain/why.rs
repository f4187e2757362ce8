//! The rules of the model in words: why a statement takes a lock.

/// Why a rule says so; empty for a rule that has no words yet.
pub fn why(rule: &str) -> &'static str {
    match rule {
        "unique-lookup" => "all columns of a unique key are given: at most one entry is read",
        "equal-entries" => "entries with equal key columns are read, up to the first that differs",
        "interval" => "a range of the index is read, up to the first entry beyond it",
        "full-scan" => "no index narrows the search: every row is read",
        "insert-entry" => "the new entry goes here",
        "insert-unique" => "the new entry goes here, and must be the only one with its key",
        _ => "",
    }
}
