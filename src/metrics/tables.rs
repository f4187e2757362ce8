//! Figures by table, for as many tables as `metrics.max_tables` allows; all others are one, `other`.
//!
//! Only what is rare is counted here: conflicts, holds, deadlocks. A table appears with its first event and
//! stays, so that its counters never fall.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::label::{Label, Labels};
use super::labels::Pattern;
use crate::scheduler::conflict::Taken;

/// The tables and their figures. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Tables(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    rows: Mutex<HashMap<(String, String), Row>>,
    families: [Family; 3],
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    desc: Desc,
}

/// The figures of one table.
#[derive(Debug, Default)]
struct Row {
    /// By the index of `(Pattern, Taken)`.
    conflicts: Vec<u64>,
    held: Duration,
    deadlocks: u64,
}

/// Schema and table of what is not counted by its name: over the limit, or not known.
const OTHER: &str = "other";

impl Tables {
    pub(super) fn new(max: usize) -> Result<Tables, prometheus::Error> {
        let family = |name: &'static str, help: &'static str, more: &[&str]| {
            let labels = ["schema", "table"].iter().chain(more).map(|label| (*label).to_owned()).collect();
            let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
            Ok::<_, prometheus::Error>(Family { name, help, desc })
        };
        Ok(Tables(Arc::new(Shared {
            max,
            rows: Mutex::default(),
            families: [
                family(
                    "interlock_table_conflicts_total",
                    "Conflicts found before their statement reached the server, by table, by the pattern of \
                     statements that makes them and by what was done: where to begin. Tables beyond \
                     metrics.max_tables are other.",
                    &[Pattern::NAME, Taken::NAME],
                )?,
                family(
                    "interlock_table_hold_seconds_total",
                    "Time that statements were held, seconds by table: where waiting in interlock costs \
                     clients most.",
                    &[],
                )?,
                family(
                    "interlock_table_deadlocks_total",
                    "Deadlock errors that the server sent, by the table of the conflict that was foreseen, or of \
                     the server's own report: what is left.",
                    &[],
                )?,
            ],
        })))
    }

    /// A conflict on a table.
    pub fn conflict(&self, schema: &str, table: &str, pattern: Pattern, taken: Taken) {
        self.update(schema, table, |row| {
            row.conflicts.resize(Pattern::ALL.len() * Taken::ALL.len(), 0);
            row.conflicts[Labels::index((pattern, taken))] += 1;
        });
    }

    /// A statement was held for a conflict on a table.
    pub fn held(&self, schema: &str, table: &str, held: Duration) {
        self.update(schema, table, |row| row.held += held);
    }

    /// The server has reported a deadlock in which this table was asked for.
    pub fn deadlock(&self, schema: &str, table: &str) {
        self.update(schema, table, |row| row.deadlocks += 1);
    }

    fn update(&self, schema: &str, table: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.0.rows.lock();
        let key = (schema.to_owned(), table.to_owned());
        let known = rows.contains_key(&key);
        if table.is_empty() || (!known && rows.len() >= self.0.max) {
            change(rows.entry((OTHER.to_owned(), OTHER.to_owned())).or_default());
        } else {
            change(rows.entry(key).or_default());
        }
    }

    pub(super) fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.clone())
    }
}

impl Collector for Tables {
    fn desc(&self) -> Vec<&Desc> {
        self.0.families.iter().map(|family| &family.desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics: [Vec<Metric>; 3] = Default::default();
        let series = <(Pattern, Taken)>::series();
        for ((schema, table), row) in self.0.rows.lock().iter() {
            let place = [("schema", schema.as_str()), ("table", table.as_str())];
            for (labels, count) in series.iter().zip(&row.conflicts).filter(|(_, count)| **count > 0) {
                let more = [(Pattern::NAME, labels[0]), (Taken::NAME, labels[1])];
                metrics[0].push(metric(place.iter().chain(&more), *count as f64));
            }
            if !row.held.is_zero() {
                metrics[1].push(metric(place.iter(), row.held.as_secs_f64()));
            }
            if row.deadlocks > 0 {
                metrics[2].push(metric(place.iter(), row.deadlocks as f64));
            }
        }
        let families = self.0.families.iter().zip(metrics).filter(|(_, metrics)| !metrics.is_empty());
        families.map(|(family, metrics)| family.with(metrics)).collect()
    }
}

impl Family {
    fn with(&self, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(metrics);
        family
    }
}

fn metric<'a>(labels: impl Iterator<Item = &'a (&'a str, &'a str)>, value: f64) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels.map(pair).collect());
    metric.set_counter(counter);
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_tables_are_a_few_series() {
        let tables = Tables::new(5).unwrap();
        for n in 0..10_000 {
            tables.conflict("shop", &format!("t{n}"), Pattern::GapThenInsert, Taken::Held);
            tables.held("shop", &format!("t{n}"), Duration::from_millis(500));
        }
        tables.deadlock("", "");
        let families = tables.collect();
        let sizes: Vec<usize> = families.iter().map(|family| family.get_metric().len()).collect();
        assert_eq!(sizes, [6, 6, 1], "five tables and the rest");
        let sum: f64 = families[0].get_metric().iter().map(|m| m.get_counter().get_value()).sum();
        assert_eq!(sum, 10_000.0);
    }
}
