//! The locks that a statement under way has asked for, from when it is admitted until it is answered.

use std::collections::VecDeque;
use std::sync::Arc;

use super::besides::Besides;
use super::guard::Guard;
use super::search::Search;
use crate::id::TxnId;
use crate::intent::Intent;
use crate::lock::table::LockRefs;

/// The locks of a statement under way.
pub(super) struct Locking {
    pub(super) txn: TxnId,
    /// The statement's number in its transaction.
    pub(super) step: usize,
    pub(super) intent: Intent,
    pub(super) refs: LockRefs,
    /// Who knows the statement's requests and locks instead, if they may be narrowed.
    pub(super) search: Option<Arc<Search>>,
    /// A conflict was reported for it.
    pub(super) reported: bool,
    /// For several statements in one text: how many of the requests belong to each that is not answered.
    pub(super) parts: VecDeque<usize>,
    /// The gaps whose names it takes first.
    pub(super) guard: Option<Box<Guard>>,
    /// What it asks for besides rows; those requests are the first.
    pub(super) besides: Besides,
    /// Gaps are locked at its isolation level.
    pub(super) gaps: bool,
}

impl Locking {
    /// Takes out what belongs to the next statement of the text.
    pub(super) fn next_part(&mut self) -> Option<Box<Locking>> {
        let count = self.parts.pop_front()?.min(self.intent.requests.len());
        let requests = self.intent.requests.drain(..count).collect();
        let rest = self.refs.drain(..count.min(self.refs.len())).collect();
        let intent = Intent { requests, inner: 0, ..self.intent.clone() };
        Some(Box::new(Locking {
            txn: self.txn,
            step: self.step,
            intent,
            refs: rest,
            search: None,
            reported: false,
            parts: VecDeque::new(),
            besides: Besides::default(),
            gaps: self.gaps,
            guard: None,
        }))
    }

    /// It goes on with these locks.
    pub(super) fn noted(mut self, refs: LockRefs) -> Locking {
        match &self.search {
            Some(search) => {
                let besides = self.besides.requests.len();
                let (definitions, rows) = refs.split_at(besides);
                search.noted(self.intent.requests[besides..].to_vec(), self.intent.inner, rows.into());
                self.refs = definitions.into();
            }
            None => self.refs = refs,
        }
        self
    }

    /// Its locks, for a transaction that ends.
    pub(super) fn into_refs(mut self) -> LockRefs {
        self.refs.extend(self.search.iter().flat_map(|search| search.close()));
        self.refs
    }
}
