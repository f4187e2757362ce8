//! A family of counters over a closed set of labels.
//!
//! Families that are counted for every statement are kept in shards, one for each thread as far as they go:
//! one shared counter would move its cache line between cores with every packet. A scrape adds the shards up.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::label::Labels;

/// How often a family is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// For every packet or statement: sharded.
    Hot,
    /// For what is rare: one shard.
    Rare,
}

/// Counters, one for each combination of labels. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Counters<L> {
    shared: Arc<Shared>,
    labels: PhantomData<fn(L)>,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    help: &'static str,
    desc: Desc,
    names: Vec<&'static str>,
    series: Vec<Vec<&'static str>>,
    shards: Vec<Box<[Line]>>,
    /// What is counted, in units of the exposition: 1, or 1e-9 for nanoseconds shown as seconds.
    unit: f64,
}

/// Eight counters on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// Shards of a hot family. More threads than this share.
const SHARDS: usize = 16;

thread_local! {
    /// The shard of this thread.
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl<L: Labels> Counters<L> {
    /// A family that starts at 0 everywhere. Names must be legal; they are constants of this crate.
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        rate: Rate,
        unit: f64,
    ) -> Result<Counters<L>, prometheus::Error> {
        let names = L::names();
        let series = L::series();
        let desc = Desc::new(
            name.to_owned(),
            help.to_owned(),
            names.iter().map(|name| (*name).to_owned()).collect(),
            std::collections::HashMap::new(),
        )?;
        let shards = if rate == Rate::Hot { SHARDS } else { 1 };
        let shard = || (0..series.len().div_ceil(8)).map(|_| Line::default()).collect();
        let shards = (0..shards).map(|_| shard()).collect();
        Ok(Counters {
            shared: Arc::new(Shared { name, help, desc, names, series, shards, unit }),
            labels: PhantomData,
        })
    }

    /// One more.
    pub fn inc(&self, labels: L) {
        self.add(labels, 1);
    }

    /// `n` more.
    pub fn add(&self, labels: L, n: u64) {
        let index = labels.index();
        let shards = &self.shared.shards;
        let shard = if shards.len() == 1 { 0 } else { SHARD.with(|shard| *shard) };
        shards[shard][index / 8].0[index % 8].fetch_add(n, Ordering::Relaxed);
    }

    /// The sum of one series.
    pub fn get(&self, labels: L) -> u64 {
        self.shared.sum(labels.index())
    }

    /// The sum of all series.
    pub fn total(&self) -> u64 {
        (0..self.shared.series.len()).map(|index| self.shared.sum(index)).sum()
    }

    /// What the registry collects.
    pub(super) fn collector(&self) -> Box<dyn Collector> {
        Box::new(Collected(Arc::clone(&self.shared)))
    }
}

impl Shared {
    fn sum(&self, index: usize) -> u64 {
        self.shards.iter().map(|shard| shard[index / 8].0[index % 8].load(Ordering::Relaxed)).sum()
    }

    fn metric(&self, index: usize, values: &[&'static str]) -> Metric {
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut counter = Counter::default();
        counter.set_value(self.sum(index) as f64 * self.unit);
        let mut metric = Metric::from_label(self.names.iter().zip(values).map(pair).collect());
        metric.set_counter(counter);
        metric
    }
}

struct Collected(Arc<Shared>);

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.0.name.to_owned());
        family.set_help(self.0.help.to_owned());
        family.set_field_type(MetricType::COUNTER);
        let series = self.0.series.iter().enumerate();
        family.set_metric(series.map(|(index, values)| self.0.metric(index, values)).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::label::{Label, label};

    label! {
        /// A test label.
        Side = "side" {
            /// Left.
            Left = "left",
            /// Right.
            Right = "right",
        }
    }

    label! {
        /// Another one.
        Size = "size" {
            /// Small.
            Small = "small",
            /// Medium.
            Medium = "medium",
            /// Large.
            Large = "large",
        }
    }

    label! {
        /// And a third.
        Colour = "colour" {
            /// Red.
            Red = "red",
            /// Blue.
            Blue = "blue",
        }
    }

    #[test]
    fn threads_count_together() {
        let counters = Counters::<Side>::new("t_total", "Test.", Rate::Hot, 1.0).unwrap();
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let counters = counters.clone();
                std::thread::spawn(move || (0..1000).for_each(|_| counters.inc(Side::Right)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((counters.get(Side::Left), counters.get(Side::Right)), (0, 20_000));
    }

    #[test]
    fn every_combination_is_a_series_of_its_own() {
        let counters = Counters::<(Side, Size, Colour)>::new("t_total", "Test.", Rate::Rare, 1.0).unwrap();
        let mut n = 0;
        for a in Side::ALL {
            for b in Size::ALL {
                for c in Colour::ALL {
                    n += 1;
                    counters.add((*a, *b, *c), n);
                    assert_eq!(counters.get((*a, *b, *c)), n);
                    let texts = vec![a.text(), b.text(), c.text()];
                    assert_eq!(counters.shared.series[Labels::index((*a, *b, *c))], texts);
                }
            }
        }
        assert_eq!(counters.total(), 78);
    }
}
