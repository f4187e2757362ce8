//! A deadlock has happened: who took part, and what its signature is.
//!
//! Three sources, the better one wins: the wait-for graph, if it had the cycle; what the server reports
//! (`SHOW ENGINE INNODB STATUS`, asked for afterwards over a control connection); and who was at the server
//! at that moment, if that is one other session only.

use std::time::Duration;

use super::Admission;
use crate::id::{SessionId, TxnId};
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
    /// By the server's connection id.
    parties: Vec<(u32, Party)>,
    /// What was recorded at once, and was not known before.
    provisional: Option<SignatureId>,
}

/// A party as the server reports it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
        let mut scene = Scene { victim: victim.server_thread, parties, provisional: None };
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
        let graph = self.scheduler.graph();
        graph.edges_of(txn).iter().any(|edge| graph.chain(edge.to, txn).is_some())
    }

    /// What the server says about it. Corrects what was recorded at once.
    pub fn reported(&self, mut scene: Scene, reported: &[Reported]) {
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

    fn threads_on_cycle(&self, txn: Option<TxnId>, cycle: &[TxnId]) -> Vec<u32> {
        let graph = self.scheduler.graph();
        let mut on_cycle: Vec<TxnId> = cycle.to_vec();
        if let (true, Some(txn)) = (on_cycle.is_empty(), txn) {
            // The shortest circle: others that only wait behind it do not belong to it.
            let chains = graph.edges_of(txn).into_iter().filter_map(|edge| graph.chain(edge.to, txn));
            on_cycle = chains.min_by_key(Vec::len).unwrap_or_default();
        }
        let entries = on_cycle.iter().filter_map(|txn| self.registry.session_of(*txn));
        entries.map(|entry| entry.server_thread).collect()
    }
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
