//! The door under load: what a look at it costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry as Prometheus;

use super::registry::Entry;
use super::{Admission, Settings};
use crate::id::{IndexId, TableId};
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::metrics::exposition::Exposition;
use crate::metrics::{Level, Metrics};
use crate::scheduler::conflict::{Known, Submission};
use crate::scheduler::policy::{Action, Limits};

fn request(table: u32, key: i128) -> Request {
    let mut place = Key::default();
    place.push_int(key, false);
    Request {
        index: IndexId { table: TableId(table), index: 0 },
        mode: Mode::X,
        range: Range::entries(&place),
        kind: Kind::Record,
        certainty: Certainty::Certain,
        rule: "unique-lookup",
    }
}

/// 1,000 sessions with a transaction of 100 locks each.
fn crowded(metrics: &Metrics) -> Arc<Admission> {
    let settings = Settings {
        hold_timeout: Duration::from_secs(2),
        deadlock_hold_timeout: Duration::from_secs(10),
        look_time: Duration::from_millis(100),
        limits: Limits { max_held: 1000, max_queue: 200, max_overtaking_ms: 500 },
        fence_lifetime: Duration::from_secs(10),
        max_locks: 100_000,
        keep: 1000,
        redact: true,
    };
    let admission = Admission::new(settings, metrics.clone());
    for number in 0..1000u32 {
        let session = admission.session();
        let entry = admission.registry.open(Entry::new(session, number, "app", None, String::new(), 200));
        let txn = admission.transaction();
        admission.registry.began(txn, &entry);
        let requests = (0..100).map(|n| request(number % 50, i128::from(number * 1000 + n))).collect();
        let action = Action::Flag;
        let submission = Submission {
            session,
            txn,
            action,
            requests,
            known: Known::default(),
            patience_ms: 1000,
            keeps: true,
            overtakes: false,
            leaves_out: false,
            changes: false,
            seen: Default::default(),
        };
        assert!(admission.enter(&submission).is_some(), "nothing is in the way");
    }
    admission
}

#[test]
fn a_scrape_of_a_thousand_sessions_and_a_hundred_thousand_locks_is_quick() {
    let metrics = Metrics::new(&Prometheus::new()).unwrap();
    let admission = crowded(&metrics);
    let (locks, oldest) = (admission.clone(), admission.clone());
    metrics.watch(Level::Locks, move || locks.scheduler().locks().len() as f64).unwrap();
    metrics.watch(Level::OldestTransaction, move || oldest.registry.oldest().as_secs_f64()).unwrap();
    let scrape = || {
        let begun = Instant::now();
        let text = metrics.render(Exposition::Text);
        assert!(text.contains("\ninterlock_locks 100000\n"), "{text}");
        begun.elapsed()
    };
    // The best of many: what else the machine does is not meant.
    let best = (0..50).map(|_| scrape()).min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
}
