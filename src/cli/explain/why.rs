//! The rules of the model in words: why a statement takes a lock.

/// Why a rule says so; empty for a rule that has no words yet.
pub fn why(rule: &str) -> &'static str {
    match rule.strip_suffix("+filter").unwrap_or(rule) {
        "unique-lookup" => "all columns of a unique key are given: at most one entry is read",
        "equal-entries" => "entries with equal key columns are read, up to the first that differs",
        "interval" => "a range of the index is read, up to the first entry beyond it",
        "beyond-range" => "the entry behind the range is read too, to see that the range has ended",
        "before-range" => {
            "the index is read backward, and the entry before the range to see that it has ended"
        }
        "rows-to-come" => "rows that others put ahead of the search while it waits",
        "returned-row" => "the row that has this key was deleted, and is changed if that is rolled back",
        "own-key" => "an earlier row of the statement has put this key",
        "full-scan" => "no index narrows the search: every row is read",
        "possible-path" => "the optimizer may read this index instead",
        "entry" => "the search finds this entry",
        "entries" => {
            "the search reads these entries, and keeps new ones from the gaps between and around them"
        }
        "first-at-bound" => "the range begins with this record: nothing new can come between them",
        "gap-behind" => "the gap behind the last entry that the search reads",
        "entry-beyond" => "the search reads up to the entry behind its range, and locks that too",
        "missing" => "the search finds nothing here, and keeps it so",
        "clustered-record" => "the row behind an entry of another index",
        "rejected" => "the row is read and does not match; it stays locked all the same",
        "passed-over" => "the row is read, and released because it is not one of those that are wanted",
        "changed-entry" => "the entry of a row that changes",
        "moved-entry" => "the entry of a changed row moves here",
        "taken-key" => "another row has this key: it must stay while the statement fails",
        "parent-row" => "the parent must stay as long as its child may come",
        "child-entries" => "a row with children must not go",
        "put-beside" => {
            "the new entry goes next to the one that had its key, which is only marked as deleted"
        }
        "put-again" => "the new row is put again, now that the one that had its key has gone",
        "insert-entry" => "the new entry goes here",
        "insert-somewhere" => "the new entry goes where the server computes it to go",
        "one-end" => "only the first or last entry is read, or the next one beyond if there is none",
        "auto-increment" => "its numbers must follow each other",
        "insert-unique" => "the new entry goes here, and must be the only one with its key",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn every_rule_of_rows_has_words() {
        // The tables of rules stand in the headers of the files that make the requests.
        let sources = [include_str!("../../intent/read.rs"), include_str!("../../intent/footprint.rs")];
        let rows =
            sources.iter().flat_map(|source| source.lines().take_while(|line| line.starts_with("//!")));
        let named = rows.filter_map(|line| line.strip_prefix("//! | `")?.split(" |").next());
        let rules: Vec<&str> = named.flat_map(|names| names.split(',')).collect();
        let rules = rules.iter().map(|rule| rule.trim_matches([' ', '`']));
        let without: Vec<&str> = rules.clone().filter(|rule| why(rule).is_empty()).collect();
        assert!(rules.count() > 10 && without.is_empty(), "{without:?}");
    }
}
