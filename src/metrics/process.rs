//! The process itself, under the names that every exporter uses, read from `/proc` at each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Collects `process_*`.
pub(super) struct Process {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start: Gauge,
}

/// Ticks of `/proc/self/stat` in a second: `USER_HZ`, 100 on every Linux architecture that Rust knows.
const TICKS: f64 = 100.0;

impl Process {
    pub(super) fn new() -> Result<Process, prometheus::Error> {
        Ok(Process {
            cpu: Counter::new(
                "process_cpu_seconds_total",
                "User and system CPU time of interlock, seconds.",
            )?,
            resident: Gauge::new(
                "process_resident_memory_bytes",
                "Memory of interlock that is in RAM, bytes.",
            )?,
            virtual_memory: Gauge::new(
                "process_virtual_memory_bytes",
                "Address space of interlock, bytes; most of it is never touched.",
            )?,
            open_fds: Gauge::new(
                "process_open_fds",
                "Open file descriptors: two for each session, and a few more.",
            )?,
            max_fds: Gauge::new(
                "process_max_fds",
                "File descriptors that the system allows interlock; at the limit it cannot accept clients.",
            )?,
            threads: Gauge::new(
                "process_threads",
                "Threads of interlock: one for each worker, and a few more.",
            )?,
            start: Gauge::new(
                "process_start_time_seconds",
                "When interlock was started, seconds since 1970; a change is a restart.",
            )?,
        })
    }

    /// Reads what there is; on systems without `/proc` everything stays 0.
    fn read(&self) {
        let text = |file: &str| std::fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
        let stat = Stat::read(&text("self/stat"));
        let grown = stat.cpu_ticks / TICKS - self.cpu.get();
        if grown > 0.0 {
            self.cpu.inc_by(grown);
        }
        self.threads.set(stat.threads);
        self.virtual_memory.set(stat.virtual_bytes);
        let boot = field(&text("stat"), "btime");
        if boot > 0.0 {
            self.start.set(boot + stat.start_ticks / TICKS);
        }
        self.resident.set(field(&text("self/status"), "VmRSS:") * 1024.0);
        self.max_fds.set(field(&text("self/limits"), "Max open files"));
        self.open_fds.set(std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as f64);
    }

    fn collectors(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu,
            &self.resident,
            &self.virtual_memory,
            &self.open_fds,
            &self.max_fds,
            &self.threads,
            &self.start,
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}

#[derive(PartialEq, Debug, Default)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
}

impl Stat {
    /// Reads `/proc/self/stat` (`man 5 proc`). The name, field 2, may hold anything and ends with the last `)`.
    fn read(text: &str) -> Stat {
        let Some((_, rest)) = text.rsplit_once(')') else { return Stat::default() };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // `rest` begins with field 3.
        let number = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        Stat {
            cpu_ticks: number(14) + number(15),
            threads: number(20),
            start_ticks: number(22),
            virtual_bytes: number(23),
        }
    }
}

/// The first number behind a word at the beginning of a line.
fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_name() {
        let text = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 4096000 500 18446744";
        let expected =
            Stat { cpu_ticks: 300.0, threads: 9.0, start_ticks: 12_345.0, virtual_bytes: 4_096_000.0 };
        assert_eq!(Stat::read(text), expected);
        assert_eq!(Stat::read("nonsense"), Stat::default());
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(field("VmPeak: 9 kB\nVmRSS:\t 1234 kB\n", "VmRSS:"), 1234.0);
        assert_eq!(field("", "VmRSS:"), 0.0);
    }
}
