//! A deadlock has happened: who took part, and what its signature is.
//!
//! Three sources, the better one wins: the wait-for graph, if it had the cycle; what the server reports
//! (`SHOW ENGINE INNODB STATUS`, asked for afterwards over a control connection); and who was at the server
//! at that moment, if that is one other session only.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::Admission;
use super::ledger::MAX_PARTIES;
use super::record::{self, Resource};
use crate::id::{SessionId, TxnId};
use crate::metrics::labels::Pattern;
use crate::scheduler::signature::{KnownBy, Party, Signature, SignatureId};

/// The other party goes on when the victim is rolled back: it may be answered before the victim's error is
/// seen here.
const JUST_NOW: Duration = Duration::from_millis(100);

/// Sessions that can have taken part, at most.
const MAX_SUSPECTS: usize = 256;

/// Everybody who can have taken part, as of the moment when it happened.
#[derive(Debug)]
pub struct Scene {
    victim: u32,
    session: SessionId,
    at: Instant,
    /// By the server's connection id.
    parties: Vec<(u32, Party)>,
    /// What was recorded at once, and was not known before.
    provisional: Option<SignatureId>,
}

/// A party as the server reports it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Reported {
    /// The server's connection id.
    pub server_thread: u32,
    /// Locks that it held in the others' way.
    pub holds: Vec<String>,
    /// The lock that it waited for.
    pub waits_for: Vec<String>,
}

impl Admission {
    /// A session has got a deadlock error, or stands in a circle that nobody broke. To be called before its
    /// wait is forgotten. `cycle`: the transactions on it, if they are known already.
    pub fn deadlocked(&self, session: SessionId, txn: Option<TxnId>, cycle: &[TxnId]) -> Option<Scene> {
        if !self.scenes.take(self.now()) {
            return None;
        }
        let victim = self.registry.session(session)?;
        let mut parties = Vec::new();
        for entry in self.registry.all() {
            if let Some(party) = entry.journal.lock().party(JUST_NOW) {
                parties.push((entry.server_thread, party));
            }
            if parties.len() >= MAX_SUSPECTS {
                break;
            }
        }
        let threads = self.threads_on_cycle(txn, cycle);
        let mut scene =
            Scene { victim: victim.server_thread, session, at: Instant::now(), parties, provisional: None };
        let signature = match threads.len() {
            0 | 1 if scene.parties.len() == 2 => scene.signature(&scene.everybody(), KnownBy::Chance),
            0 | 1 => None,
            _ => scene.signature(&threads, KnownBy::Model),
        };
        scene.provisional = signature.map(|signature| self.scheduler.signatures().record(signature));
        Some(scene)
    }

    /// Is this transaction in a circle of waits, as far as the graph knows?
    pub fn is_in_circle(&self, txn: TxnId) -> bool {
        !self.scheduler.graph().circle(txn).is_empty()
    }

    /// The server is about to be asked: what it says belongs to the record that is written next.
    pub fn asks_server(&self, scene: &Scene) {
        self.ledger.asks(scene.session);
    }

    /// What the server says about it, if it says anything. Corrects what was recorded at once.
    pub fn reported(&self, mut scene: Scene, reported: &[Reported]) {
        // If a later deadlock has replaced it, nothing is known.
        let ours = reported.iter().any(|party| party.server_thread == scene.victim);
        let told = if ours { reported.to_vec() } else { Vec::new() };
        self.ledger.told(scene.session, pattern(&told), told, self.others(&scene, reported));
        if !reported.iter().any(|party| party.server_thread == scene.victim) {
            return; // a later deadlock has replaced it
        }
        for (thread, party) in &mut scene.parties {
            if let Some(told) = reported.iter().find(|told| told.server_thread == *thread) {
                party.holds.clone_from(&told.holds);
                party.waits_for.clone_from(&told.waits_for);
            }
        }
        let threads: Vec<u32> = reported.iter().map(|party| party.server_thread).collect();
        let Some(signature) = scene.signature(&threads, KnownBy::Server) else { return };
        let signatures = self.scheduler.signatures();
        match scene.provisional {
            Some(provisional) if provisional == signature.id => signatures.confirm(&signature),
            Some(provisional) => {
                signatures.forget_guess(provisional);
                signatures.record(signature);
            }
            None => {
                signatures.record(signature);
            }
        }
    }

    /// The other parties of the server's report that are sessions of this proxy, with what they have done.
    fn others(&self, scene: &Scene, reported: &[Reported]) -> Vec<record::Party> {
        let witness = self.witness();
        let told = |thread: u32| thread != scene.victim && reported.iter().any(|r| r.server_thread == thread);
        let entries = self.registry.all().into_iter().filter(|entry| told(entry.server_thread));
        // One that has begun another transaction since shows nothing of the deadlock any more.
        let then = |party: &record::Party| party.age_ms > scene.at.elapsed().as_secs_f64() * 1000.0;
        entries.map(|entry| witness.party(&entry)).filter(then).take(MAX_PARTIES).collect()
    }

    fn threads_on_cycle(&self, txn: Option<TxnId>, cycle: &[TxnId]) -> Vec<u32> {
        let mut on_cycle: Vec<TxnId> = cycle.to_vec();
        if let (true, Some(txn)) = (on_cycle.is_empty(), txn) {
            on_cycle = self.scheduler.graph().circle(txn);
        }
        let entries = on_cycle.iter().filter_map(|txn| self.registry.session_of(*txn));
        entries.map(|entry| entry.server_thread).collect()
    }
}

impl Reported {
    /// Where it waited: `shop.orders.PRIMARY: lock_mode X locks gap before rec`.
    pub(super) fn place(&self) -> Option<Resource> {
        let (place, mode) = self.waits_for.first()?.split_once(": ")?;
        let mut names = place.splitn(3, '.').map(str::to_owned);
        let (schema, table, index) = (names.next()?, names.next()?, names.next().unwrap_or_default());
        let range = "as the server reports it".to_owned();
        let on = if index.is_empty() { "all of".to_owned() } else { format!("index {index} of") };
        let place = format!("{on} `{schema}.{table}`");
        Some(Resource { schema, table, index, columns: Vec::new(), range, place, mode: mode.to_owned() })
    }
}

/// The known shape that the server's words describe.
fn pattern(reported: &[Reported]) -> Pattern {
    let waits = |word: &str| reported.iter().any(|p| p.waits_for.iter().any(|lock| lock.contains(word)));
    let holds = |word: &str| reported.iter().any(|p| p.holds.iter().any(|lock| lock.contains(word)));
    if waits("insert intention") {
        return if holds("gap before rec") { Pattern::GapThenInsert } else { Pattern::RangeAndInsert };
    }
    if holds("lock mode S") || holds("lock_mode S") {
        return if waits(" X") { Pattern::SharedThenExclusive } else { Pattern::DuplicateKey };
    }
    if waits("rec but not gap") { Pattern::OppositeOrder } else { Pattern::Other }
}

impl Scene {
    fn everybody(&self) -> Vec<u32> {
        self.parties.iter().map(|(thread, _)| *thread).collect()
    }

    /// `None`, unless all of these were there, and the victim is one of them.
    fn signature(&self, threads: &[u32], known_by: KnownBy) -> Option<Signature> {
        let party = |thread: &u32| self.parties.iter().find(|(t, _)| t == thread).map(|(_, p)| p.clone());
        let parties: Vec<Party> = threads.iter().map(party).collect::<Option<_>>()?;
        let ours = threads.contains(&self.victim);
        ours.then(|| Signature::of(&parties, known_by, unix_now())).flatten()
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    jiff::Timestamp::now().as_second().try_into().unwrap_or(0)
}
