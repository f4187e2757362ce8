//! The newest conflicts, by number, and which of them wait for their outcome.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::file::Writer;
use super::groups::Groups;
use super::record::{Outcome, Record};
use crate::id::{SessionId, TxnId};
use crate::scheduler::conflict::ConflictKind;

/// The conflicts, newest last. Not longer than its owner says.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub last: u64,
    pub records: VecDeque<Record>,
    /// Conflicts without an outcome.
    pub pending: FxHashMap<u64, Pending>,
    /// Which of them a transaction is a party of.
    pub of: FxHashMap<TxnId, Vec<u64>>,
    pub groups: Groups,
    pub file: Option<Writer>,
    /// Sessions about whose deadlock the server is being asked.
    pub asked: FxHashSet<SessionId>,
    /// Sessions whose transaction is being run again.
    pub restarting: FxHashSet<SessionId>,
}

/// A conflict without an outcome.
#[derive(Debug)]
pub(super) struct Pending {
    pub requester: TxnId,
    pub holders: FxHashSet<TxnId>,
    pub open: FxHashSet<TxnId>,
    pub holder_ended: bool,
}

impl Ring {
    pub fn push(&mut self, mut record: Record, keep: usize, requester: TxnId, holders: &[TxnId]) -> u64 {
        self.last += 1;
        record.seq = self.last;
        if record.outcome == Outcome::Pending {
            let holders: FxHashSet<TxnId> = holders.iter().copied().collect();
            let mut open = holders.clone();
            open.insert(requester);
            for txn in &open {
                self.of.entry(*txn).or_default().push(record.seq);
            }
            self.pending.insert(record.seq, Pending { requester, holders, open, holder_ended: false });
        }
        self.groups.count(record.group, &record);
        if record.outcome != Outcome::Pending {
            self.groups.closed(record.group, &record);
            self.write(&record);
        }
        self.records.push_back(record);
        while self.records.len() > keep {
            let Some(gone) = self.records.pop_front() else { break };
            self.forget(gone.seq);
            if let (true, Some(file)) = (gone.is_open(), &self.file) {
                file.write(&gone);
            }
            self.groups.leaves(gone.group, gone);
        }
        self.last
    }

    pub fn record(&mut self, seq: u64) -> Option<&mut Record> {
        let first = self.records.front()?.seq;
        self.records.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    pub fn find(records: &VecDeque<Record>, seq: u64) -> Option<&Record> {
        records.get(usize::try_from(seq.checked_sub(records.front()?.seq)?).ok()?)
    }

    /// A record whose outcome is known, unless the server is still being asked about it.
    pub fn write(&self, record: &Record) {
        if let (false, Some(file)) = (record.is_open(), &self.file) {
            file.write(record);
        }
    }

    /// The kind of the conflict, if it was pending.
    pub fn close(&mut self, seq: u64, outcome: Outcome) -> Option<ConflictKind> {
        if !self.forget(seq) {
            return None;
        }
        let record = self.record(seq)?;
        record.outcome = outcome;
        let kind = record.kind;
        if let Some(record) = Ring::find(&self.records, seq) {
            self.groups.closed(record.group, record);
            self.write(record);
        }
        Some(kind)
    }

    /// Drops a conflict from the pending ones. False: it was not pending.
    pub fn forget(&mut self, seq: u64) -> bool {
        let Some(pending) = self.pending.remove(&seq) else { return false };
        for txn in &pending.open {
            if let Some(of) = self.of.get_mut(txn) {
                of.retain(|s| *s != seq);
                if of.is_empty() {
                    self.of.remove(txn);
                }
            }
        }
        true
    }
}
