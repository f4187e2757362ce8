//! The two texts that a scrape can ask for: Prometheus' own and OpenMetrics.
//!
//! OpenMetrics differs where this matters: a counter's family is named without `_total` while its samples
//! keep it, bucket borders are written with a decimal point, and the text ends with `# EOF` (OpenMetrics 1.0,
//! "Text format").

use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

/// The form of an answer to a scrape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exposition {
    /// Prometheus text format 0.0.4, which everything reads.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// What a scraper's `Accept` header asks for. Of several forms the one with the highest weight is taken;
    /// without a header, or with one that names neither, it is the text format.
    pub fn accepted(header: Option<&str>) -> Exposition {
        let mut best = (Exposition::Text, 0.0);
        for range in header.unwrap_or("").split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next() {
                Some("application/openmetrics-text") => Exposition::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Exposition::Text,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }

    /// The value of the `Content-Type` header.
    pub fn media_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The families as text.
    pub(super) fn write(self, families: &[MetricFamily]) -> String {
        match self {
            Exposition::Text => text(families),
            Exposition::OpenMetrics => {
                let mut all: String = families.iter().map(open_metrics).collect();
                all.push_str("# EOF\n");
                all
            }
        }
    }
}

fn text(families: &[MetricFamily]) -> String {
    let mut text = Vec::new();
    // Writing to a Vec fails only for families that are inconsistent, which the tests would show.
    if let Err(error) = TextEncoder::new().encode(families, &mut text) {
        tracing::warn!(%error, "metrics cannot be written");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn open_metrics(family: &MetricFamily) -> String {
    let text = text(std::slice::from_ref(family));
    match family.get_field_type() {
        MetricType::COUNTER => {
            let name = family.name();
            let short = name.strip_suffix("_total").unwrap_or(name);
            text.replacen(&format!("# HELP {name} "), &format!("# HELP {short} "), 1).replacen(
                &format!("# TYPE {name} "),
                &format!("# TYPE {short} "),
                1,
            )
        }
        MetricType::HISTOGRAM => text.lines().map(|line| bucket(line) + "\n").collect(),
        _ => text,
    }
}

/// A histogram's line with its border as a number that has a decimal point.
fn bucket(line: &str) -> String {
    const LABEL: &str = "le=\"";
    let Some(at) = line.find(LABEL) else { return line.to_owned() };
    let (before, rest) = line.split_at(at + LABEL.len());
    match rest.split_once('"') {
        Some((border, after)) if border.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{before}{border}.0\"{after}")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_form_wins() {
        let check = |header: &str, expected| {
            assert_eq!(Exposition::accepted(Some(header)), expected, "{header}");
        };
        assert_eq!(Exposition::accepted(None), Exposition::Text);
        check("*/*", Exposition::Text);
        check("text/html", Exposition::Text);
        check("application/openmetrics-text", Exposition::OpenMetrics);
        check("text/plain;q=0.9, application/openmetrics-text; version=1.0.0", Exposition::OpenMetrics);
        check("application/openmetrics-text;q=0.1,text/plain;version=0.0.4;q=0.5", Exposition::Text);
        // Prometheus 2.42
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Exposition::OpenMetrics,
        );
    }

    #[test]
    fn borders_have_a_decimal_point() {
        assert_eq!(bucket("a_bucket{le=\"10\"} 3"), "a_bucket{le=\"10.0\"} 3");
        assert_eq!(bucket("a_bucket{le=\"0.5\"} 3"), "a_bucket{le=\"0.5\"} 3");
        assert_eq!(bucket("a_bucket{le=\"+Inf\"} 3"), "a_bucket{le=\"+Inf\"} 3");
        assert_eq!(bucket("a_sum 3"), "a_sum 3");
    }
}
