//! A reading as text for Prometheus, in both of its formats, from one list of families.
//!
//! `prometheus-client`, which others use for this, keeps live numbers of its own, which would be a second place for each,
//! and writes OpenMetrics only. Here a reading is a value already; what is left is to write it.
//!
//! Text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>; OpenMetrics 1.0:
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/> (both read 2026-11-29).

use std::fmt::Write as _;

use super::families::{FAMILIES, Family, Type};
use super::{Histogram, Metrics};

impl Metrics {
    /// The content type of [`Metrics::prometheus`].
    pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The content type of [`Metrics::openmetrics`].
    pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// As the text format 0.0.4 of Prometheus has it. Every family is told of, also those without a sample.
    pub fn prometheus(&self) -> String {
        self.exposed(Format::Prometheus)
    }

    /// As OpenMetrics 1.0 has it.
    pub fn openmetrics(&self) -> String {
        self.exposed(Format::OpenMetrics)
    }

    fn exposed(&self, format: Format) -> String {
        let mut text = String::with_capacity(64 << 10);
        for family in FAMILIES {
            let name = match (format, family.kind) {
                (Format::Prometheus, Type::Counter) => format!("{}_total", family.name),
                _ => family.name.to_owned(),
            };
            let _ = writeln!(text, "# HELP {name} {}", family.help);
            let _ = writeln!(text, "# TYPE {name} {}", family.kind.name());
            let units = ["seconds", "bytes"];
            if let (Format::OpenMetrics, Some(unit)) = (format, units.iter().find(|unit| family.name.ends_with(**unit)))
            {
                let _ = writeln!(text, "# UNIT {name} {unit}");
            }
            (family.samples)(self, &mut Samples { family, to: &mut Lines { text: &mut text } });
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Prometheus,
    OpenMetrics,
}

/// What a sample says.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    /// A number.
    Count(u64),
    /// Milliseconds, which are told in seconds.
    Ms(u64),
}

impl Value {
    fn write(self, text: &mut String) {
        let _ = match self {
            Self::Count(count) => write!(text, "{count}"),
            Self::Ms(ms) if ms % 1_000 == 0 => write!(text, "{}.0", ms / 1_000),
            Self::Ms(ms) => {
                let thousandths = format!("{:03}", ms % 1_000);
                write!(text, "{}.{}", ms / 1_000, thousandths.trim_end_matches('0'))
            }
        };
    }
}

/// Who writes samples down.
pub(crate) trait Writes {
    /// One sample, with the values of the family's labels in their order.
    fn sample(&mut self, family: &Family, labels: &[&str], value: Value);

    /// The samples of a histogram.
    fn histogram(&mut self, family: &Family, labels: &[&str], histogram: &Histogram);
}

/// Where a family puts its samples.
pub(crate) struct Samples<'a> {
    pub(crate) family: &'a Family,
    pub(crate) to: &'a mut dyn Writes,
}

impl Samples<'_> {
    /// One sample.
    pub(crate) fn put(&mut self, labels: &[&str], value: Value) {
        self.to.sample(self.family, labels, value);
    }

    /// The samples of a histogram.
    pub(crate) fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        self.to.histogram(self.family, labels, histogram);
    }
}

/// Samples as lines.
struct Lines<'a> {
    text: &'a mut String,
}

impl Writes for Lines<'_> {
    fn sample(&mut self, family: &Family, labels: &[&str], value: Value) {
        let suffix = if family.kind == Type::Counter { "_total" } else { "" };
        self.line((family, suffix), labels, None, value);
    }

    fn histogram(&mut self, family: &Family, labels: &[&str], histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            let mut le = String::new();
            match bound {
                Some(bound) => Value::Ms(bound).write(&mut le),
                None => le.push_str("+Inf"),
            }
            self.line((family, "_bucket"), labels, Some(&le), Value::Count(count));
        }
        self.line((family, "_sum"), labels, None, Value::Ms(histogram.sum_ms()));
        self.line((family, "_count"), labels, None, Value::Count(histogram.count()));
    }
}

impl Lines<'_> {
    fn line(&mut self, (family, suffix): (&Family, &str), values: &[&str], le: Option<&str>, value: Value) {
        let _ = write!(self.text, "{}{suffix}", family.name);
        let labels = family.labels.iter().zip(values).map(|(label, value)| (*label, *value));
        for (number, (label, value)) in labels.chain(le.map(|le| ("le", le))).enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if number == 0 { '{' } else { ',' });
            escape(value, self.text);
            self.text.push('"');
        }
        if !values.is_empty() || le.is_some() {
            self.text.push('}');
        }
        self.text.push(' ');
        value.write(self.text);
        self.text.push('\n');
    }
}

/// What ends a value or a line has another writing.
fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            // A carriage return ends a line for some readers.
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::super::{
        BudgetMetrics, CircuitMetrics, ConnectionMetrics, EndpointMetrics, OperationMetrics, PollMetrics, SinkMetrics,
        SocketMetrics,
    };
    use super::*;
    use crate::observe::states::CircuitState;
    use crate::time::Timestamp;

    const HOSTILE: &str = "a\"b\\c\nd\re\u{1b}f\u{1f6a2}{x=\"1\"} 7 # TYPE";

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_795_337_377_000 + ms)
    }

    /// Something of everything.
    pub(crate) fn reading() -> Metrics {
        let operation = OperationMetrics {
            operation: "orders.list".to_owned(),
            succeeded: 3,
            failed: [("timeout", 2)].into(),
            attempts_failed: [("rate-limited", 4)].into(),
            succeeded_at: Some(at(1)),
            failed_at: Some((at(250), "timeout")),
            failure: Some("the provider says: secret words".to_owned()),
            ..OperationMetrics::default()
        };
        let circuit = |origin: &str, state| CircuitMetrics { origin: origin.to_owned(), state, openings: 2 };
        let budget = BudgetMetrics {
            budget: "pace".to_owned(),
            owner: "account shop".to_owned(),
            limit: 100,
            window_ms: Some(1_500),
            used: 40,
            left: 60,
            blocked_until: Some(at(30_000)),
        };
        let connection = ConnectionMetrics {
            connection: "acme".to_owned(),
            plugin: "leaf".to_owned(),
            health: Some("degraded"),
            operations: vec![operation],
            circuits: vec![
                circuit("https://a.example", CircuitState::Open { until: at(60_000) }),
                circuit("https://b.example", CircuitState::Closed),
            ],
            budgets: vec![budget],
            waiting: Some(7),
            dead_letters: Some(1),
            ..ConnectionMetrics::default()
        };
        Metrics {
            at: at(0),
            since: at(0),
            connections: vec![
                connection,
                ConnectionMetrics { connection: HOSTILE.to_owned(), waiting: Some(9), ..ConnectionMetrics::default() },
            ],
            endpoints: vec![EndpointMetrics { endpoint: "hook".to_owned(), received: 5, ..EndpointMetrics::default() }],
            polls: vec![PollMetrics {
                connection: "acme".to_owned(),
                poll: "orders".to_owned(),
                succeeded_at: Some(at(0)),
                lag_ms: 90,
                ..PollMetrics::default()
            }],
            sockets: vec![SocketMetrics {
                connection: "acme".to_owned(),
                socket: "trades".to_owned(),
                state: "backoff",
                ..SocketMetrics::default()
            }],
            sinks: vec![SinkMetrics { sink: "billing".to_owned(), state: "well", given: 8, ..SinkMetrics::default() }],
        }
    }

    #[test]
    fn what_was_read_is_told_in_base_units() {
        let text = reading().prometheus();
        for line in [
            "# TYPE wharfage_calls_total counter",
            r#"wharfage_calls_total{plugin="leaf",connection="acme",operation="orders.list",outcome="ok"} 3"#,
            r#"wharfage_calls_total{plugin="leaf",connection="acme",operation="orders.list",outcome="timeout"} 2"#,
            "# TYPE wharfage_call_duration_seconds histogram",
            r#"wharfage_last_success_timestamp_seconds{plugin="leaf",connection="acme",operation="orders.list"} 1795337377.001"#,
            r#"wharfage_last_failure_timestamp_seconds{plugin="leaf",connection="acme",operation="orders.list"} 1795337377.25"#,
            r#"wharfage_circuit_state{connection="acme",origin="https://a.example",state="open"} 1"#,
            r#"wharfage_circuit_state{connection="acme",origin="https://b.example",state="open"} 0"#,
            r#"wharfage_budget_window_seconds{connection="acme",budget="pace"} 1.5"#,
            r#"wharfage_health_state{connection="acme",state="degraded"} 1"#,
            r#"wharfage_health_state{connection="acme",state="healthy"} 0"#,
            r#"wharfage_dead_letters{connection="acme"} 1"#,
            r#"wharfage_deliveries_total{endpoint="hook",outcome="received"} 5"#,
            r#"wharfage_poll_last_success_timestamp_seconds{connection="acme",poll="orders"} 1795337377.0"#,
            r#"wharfage_socket_state{connection="acme",socket="trades",state="backoff"} 1"#,
            r#"wharfage_sink_events_total{sink="billing"} 8"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing of\n{text}");
        }
        assert!(!text.contains("secret words"), "a sentence became a label");
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let mut metrics = reading();
        metrics.connections[0].operations[0].duration = super::super::histogram::of([1, 30, 30, 500_000]);
        let text = metrics.openmetrics();
        let place = r#"plugin="leaf",connection="acme",operation="orders.list""#;
        for (le, count) in [("0.001", 1), ("0.025", 1), ("0.05", 3), ("1.0", 3), ("120.0", 3), ("+Inf", 4)] {
            let line = format!("wharfage_call_duration_seconds_bucket{{{place},le=\"{le}\"}} {count}\n");
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains(&format!("wharfage_call_duration_seconds_sum{{{place}}} 500.061\n")));
        assert!(text.contains(&format!("wharfage_call_duration_seconds_count{{{place}}} 4\n")));
    }

    #[test]
    fn nothing_in_a_name_acts_on_the_text() {
        for text in [reading().prometheus(), reading().openmetrics()] {
            let escaped = "a\\\"b\\\\c\\nd\u{fffd}e\u{fffd}f\u{1f6a2}{x=\\\"1\\\"} 7 # TYPE";
            assert!(text.contains(&format!("wharfage_waiting_events{{connection=\"{escaped}\"}} 9\n")));
            assert!(!text.contains('\r') && text.lines().all(|line| line.starts_with(['#', 'w'])));
        }
    }

    /// What OpenMetrics wants otherwise: counters by their bare name, units, and an end.
    #[test]
    fn both_formats_tell_the_same() {
        let (old, new) = (reading().prometheus(), reading().openmetrics());
        let samples =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(samples(&old), samples(&new));
        assert!(new.contains("# TYPE wharfage_calls counter\n") && !new.contains("# TYPE wharfage_calls_total"));
        assert!(new.contains("# UNIT wharfage_call_duration_seconds seconds\n"));
        assert!(new.ends_with("\n# EOF\n") && !old.contains("# EOF") && !old.contains("# UNIT"));
        for text in [&old, &new] {
            assert!(!text.contains("\n\n"), "OpenMetrics has no empty line");
            let unique: BTreeSet<_> =
                samples(text).iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
            assert_eq!(unique.len(), samples(text).len(), "a series is told twice");
        }
    }

    #[test]
    fn every_family_keeps_to_the_conventions() {
        let mut names = BTreeSet::new();
        for Family { name, kind, help, labels, .. } in FAMILIES {
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.starts_with("wharfage_") && !name.ends_with("_total"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(help.ends_with('.') && !help.contains(['\\', '\n', '"']), "{name}: {help}");
            assert!(*kind != Type::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(labels.iter().all(|label| !["le", "quantile"].contains(label)), "{name}");
        }
    }
}
