//! Log lines that nobody will read, counted by the log itself and looked up at each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Opts};

use super::{Metrics, MetricsError};

struct Lost<F> {
    total: IntCounter,
    value: F,
}

impl<F: Fn() -> u64 + Send + Sync> Collector for Lost<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.total.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.total.inc_by((self.value)().saturating_sub(self.total.get()));
        self.total.collect()
    }
}

impl Metrics {
    /// Has the number of log lines that were dropped so far looked up at each scrape. To be called once.
    pub fn watch_log(&self, value: impl Fn() -> u64 + Send + Sync + 'static) -> Result<(), MetricsError> {
        let opts = Opts::new(
            "interlock_log_lines_lost_total",
            "Log lines that were dropped because whoever reads standard error did not keep up.",
        );
        let lost = Lost { total: IntCounter::with_opts(opts)?, value };
        Ok(self.registry.register(Box::new(lost))?)
    }
}
