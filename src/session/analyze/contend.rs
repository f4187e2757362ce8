//! A statement with something in its way: it goes on, is held or refused, or the server is asked first.

use std::sync::Arc;
use std::time::Instant;

use super::super::analysis::Verdict;
use super::super::place::place;
use super::statement::Execution;
use super::tables::{find, resource};
use super::{Analyzer, Locking, Waiting};
use crate::admission::Admitted;
use crate::id::{IndexId, TxnId};
use crate::scheduler::conflict::{Submission, Taken};
use crate::sql::access::TableName;
use crate::sql::cache::Plan;

impl Analyzer {
    /// Something may be in the way of a statement; its requests go from its submission to `locking`.
    pub(super) fn contend(
        &mut self,
        execution: &Execution<'_>,
        submission: Submission,
        plan: Arc<Plan>,
        mut locking: Locking,
    ) -> Verdict {
        let shared = self.shared.clone();
        let schema = self.state.schema().map(str::to_owned);
        let table = |name: &TableName| find(&shared, schema.as_deref(), name);
        let names = |index: IndexId| match resource(&plan.statement, index, &table) {
            // Of a statement that this one runs.
            unnamed if unnamed.table.is_empty() => {
                let known = shared.knowledge.as_ref().and_then(|k| k.catalog.find(index.table));
                known.map(|table| place(&table, index.index)).unwrap_or_default()
            }
            named => named,
        };
        let (admitted, report) = shared.admission.contend(&submission, &names);
        locking.intent.requests = submission.requests;
        if let Some(report) = &report {
            plan.uses.met(report.taken == Taken::Held);
        }
        if self.looked.gap {
            plan.uses.looked(report.is_some());
        }
        match (admitted, report) {
            (Admitted::Look { doubts, request, looking }, _) => {
                self.looked.gap = true;
                let look = self.look(execution, &doubts, request.map(|at| &locking.intent.requests[at]));
                drop(locking);
                match look {
                    Some(look) => {
                        self.waiting = Some(Waiting::Knowledge(Box::pin(async move {
                            look.await;
                            drop(looking);
                        })));
                        Verdict::Hold
                    }
                    // Nothing to look with: decide as it is.
                    None => self.locking(execution, self.effect(&plan.statement), false),
                }
            }
            (Admitted::Reject, Some(report)) => {
                let cycle: Vec<TxnId> = report.cycle.iter().copied().collect();
                self.retry_others(report.requester, &cycle);
                self.deadlocked(Some(report.requester), &cycle);
                self.admitted(Admitted::Reject, plan, locking, Instant::now())
            }
            (admitted, Some(report)) if report.taken == Taken::Held && report.unsure_of_gap => {
                // Held on a guess: if that lasts, have a look whether it is right.
                let look = self.look_at_gap(execution, &report.request);
                let after = shared.admission.look_after();
                let verdict = self.admitted(admitted, plan, locking, Instant::now());
                if let (Some(Waiting::Hold(held)), Some(look)) = (&mut self.waiting, look) {
                    held.look = Some(Box::pin(async move {
                        tokio::time::sleep(after).await;
                        look.await;
                    }));
                }
                verdict
            }
            (admitted, _) => self.admitted(admitted, plan, locking, Instant::now()),
        }
    }
}
