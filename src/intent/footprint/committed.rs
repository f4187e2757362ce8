//! The same at READ COMMITTED and below: records alone. Those that WHERE rejects are let go, and no gap keeps out what
//! others put ahead of a search that waits.

use super::super::Intent;
use super::super::access_path::Way;
use super::super::known::SeenEntry;
use super::{EXTREME, Exact, PASSED_OVER};
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::lock::request::Kind;
use crate::sql::statement::Statement;

impl Exact<'_> {
    /// MIN, MAX: the entry at that end.
    fn one_end_committed(&self, greatest: bool, intent: &mut Intent) {
        let entries = &self.span.entries;
        let (within, beyond) = match greatest {
            true => (entries.last(), &self.span.below),
            false => (entries.first(), &self.span.above),
        };
        // One that lies beyond the range is kept as well where others are equal to it in the first columns only.
        let grouped = self.path.spans.iter().any(|span| !span.equal.is_empty());
        let read = within.or(beyond.as_ref().filter(|_| grouped));
        if let Some(read) = read {
            self.add(Range::entries(&read.key), Kind::Record, EXTREME, None, intent);
            if self.locks_rows() {
                self.clustered(read, EXTREME, intent);
            }
        }
    }

    /// The entries in the order in which they are read; `left`: how many more the search wants.
    pub(super) fn read_committed(&self, left: &mut Option<u64>, intent: &mut Intent) {
        if let Some(greatest) = self.path.extreme {
            return self.one_end_committed(greatest, intent);
        }
        let entries: Box<dyn Iterator<Item = &SeenEntry>> = if self.backward {
            Box::new(self.span.entries.iter().rev())
        } else {
            Box::new(self.span.entries.iter())
        };
        let select = matches!(self.search.statement, Statement::Select(_));
        let update = matches!(self.search.statement, Statement::Update(_));
        let mut last = None;
        for entry in entries {
            if *left == Some(0) {
                break;
            }
            last = Some(&entry.key);
            if let Some(left) = left {
                *left -= u64::from(entry.matches);
            }
            let unique = self.path.way == Way::Unique;
            // An UPDATE that reads the clustered index looks at the committed version of a locked row
            // first, and passes over it without waiting if that does not match, or if there is none.
            let passes = !entry.matches || !entry.committed;
            if passes && update && !self.secondary() && !unique {
                continue;
            }
            let kept = entry.matches || unique && select || self.secondary() && self.mariadb();
            let (kind, rule) = if kept { (Kind::Record, "entry") } else { (Kind::Passed, PASSED_OVER) };
            self.add(Range::entries(&entry.key), kind, rule, None, intent);
            if self.locks_rows() && (entry.matches || !self.told) {
                if kept {
                    self.clustered(entry, "clustered-record", intent);
                } else {
                    self.passes(entry, intent);
                }
            }
        }
        let stopped = last.filter(|_| *left == Some(0));
        self.rows_to_come(stopped, intent);
        if *left == Some(0) {
            return;
        }
        // The entry beyond is asked for to see that it lies beyond, and then released; MariaDB keeps it in a
        // secondary index. An UPDATE passes over it as over any other.
        // Read backward it is the entry before the range, and kept.
        let beyond = match self.path.way {
            Way::Interval => self.secondary() || !update,
            Way::Equal => self.backward && self.secondary(),
            Way::Unique | Way::All => false,
        };
        let next = if self.backward { &self.span.below } else { &self.span.above };
        if beyond && let Some(above) = next {
            let whole = !self.secondary() || self.locks_row_beyond();
            let kept = self.secondary() && self.mariadb() || self.backward && whole;
            let (kind, rule) =
                if kept { (Kind::Record, "entry-beyond") } else { (Kind::Passed, PASSED_OVER) };
            self.add(Range::entries(&above.key), kind, rule, None, intent);
            if self.locks_row_beyond() {
                if kept {
                    self.clustered(above, "entry-beyond", intent);
                } else {
                    self.passes(above, intent);
                }
            }
        }
    }

    /// What others put ahead of it while it waits: no gap keeps them out. An UPDATE of the clustered index passes over
    /// a row that was never committed. A lookup of one key comes to what another has put there and deleted again, which
    /// no look shows. `stopped`: the last entry that is read, if that ends the search.
    fn rows_to_come(&self, stopped: Option<&Key>, intent: &mut Intent) {
        let update = matches!(self.search.statement, Statement::Update(_)) && !self.secondary();
        let passes = match self.path.way {
            Way::Unique => !self.span.entries.is_empty(),
            _ => update || self.backward,
        };
        if passes {
            return;
        }
        let mut range = if self.path.way == Way::All { Range::all() } else { self.range.clone() };
        if let Some(last) = stopped {
            range.high = last.clone();
        }
        let request =
            self.search.request(self.path.index, range, Kind::Ahead, Certainty::Likely, "rows-to-come");
        intent.add(request, None);
    }
}
