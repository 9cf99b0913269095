//! A reading as messages of OpenTelemetry's protocol, from the list of families that Prometheus is told: an
//! `ExportMetricsServiceRequest` by the numbers of `opentelemetry/proto/metrics/v1/metrics.proto` (1.7, read 2026-11-29).
//!
//! Names and units are those of the families, without the `_total` of a counter. Everything that is counted is cumulative
//! since the host began; what counts from later on, as a socket that is opened again, shows that by a smaller number.

use std::collections::BTreeMap;

use crate::observe::metrics::exposition::{Samples, Value, Writes};
use crate::observe::metrics::families::{FAMILIES, Family, Type};
use crate::observe::metrics::{BOUNDS_MS, Histogram, Metrics};
use crate::observe::redact::redact;
use crate::otlp::{Message, resource};
use crate::time::Timestamp;

/// Bytes of samples after which another message begins.
const MESSAGE_BYTES: usize = 512 << 10;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

const NANOSECONDS: u64 = 1_000_000;

impl Metrics {
    /// As messages of some hundred kilobytes each; none where there is nothing to tell. `instance` is who sends.
    pub(crate) fn otlp(&self, instance: &str) -> Vec<Vec<u8>> {
        let mut points = Points {
            metrics: self,
            instance,
            texts: BTreeMap::new(),
            of_one: Message::default(),
            of_all: Message::default(),
            done: Vec::new(),
        };
        for family in FAMILIES {
            (family.samples)(self, &mut Samples { family, to: &mut points });
            points.close(family);
        }
        points.finish();
        points.done
    }
}

struct Points<'a> {
    metrics: &'a Metrics,
    instance: &'a str,
    /// Values of labels as they may leave, so that each is looked at once.
    texts: BTreeMap<String, String>,
    /// The data points of one family.
    of_one: Message,
    /// The metrics of one message.
    of_all: Message,
    done: Vec<Vec<u8>>,
}

impl Writes for Points<'_> {
    fn sample(&mut self, family: &Family, labels: &[&str], value: Value) {
        self.point(family, 7, labels, |point| match value {
            Value::Count(count) => point.fixed64(6, count),
            Value::Ms(ms) => point.fixed64(4, seconds(ms)),
        });
    }

    fn histogram(&mut self, family: &Family, labels: &[&str], histogram: &Histogram) {
        self.point(family, 9, labels, |point| {
            point.fixed64(4, histogram.count());
            point.fixed64(5, seconds(histogram.sum_ms()));
            let mut before = 0;
            let apart = |(_, count)| count - std::mem::replace(&mut before, count);
            point.packed64(6, histogram.cumulative().map(apart));
            point.packed64(7, BOUNDS_MS.iter().map(|bound| seconds(*bound)));
        });
    }
}

impl Points<'_> {
    /// A data point: its labels in this field, its times in those that all kinds have.
    fn point(&mut self, family: &Family, labels_in: u64, labels: &[&str], write: impl FnOnce(&mut Message)) {
        let Self { metrics, texts, of_one, .. } = self;
        of_one.message(1, |point| {
            for (label, value) in family.labels.iter().zip(labels) {
                if !texts.contains_key(*value) {
                    texts.insert((*value).to_owned(), redact(value).into_owned());
                }
                let text = texts.get(*value).map(String::as_str).unwrap_or_default();
                point.message(labels_in, |pair| {
                    pair.text(1, label);
                    pair.message(2, |any| any.text(1, text));
                });
            }
            point.fixed64(2, nanoseconds(metrics.since));
            point.fixed64(3, nanoseconds(metrics.at));
            write(point);
        });
        if self.of_one.0.len() + self.of_all.0.len() >= MESSAGE_BYTES {
            self.close(family);
            self.finish();
        }
    }

    /// Ends a family, as far as it goes into this message.
    fn close(&mut self, family: &Family) {
        let points = std::mem::take(&mut self.of_one).0;
        if points.is_empty() {
            return;
        }
        self.of_all.message(2, |metric| {
            metric.text(1, family.name);
            metric.text(2, family.help);
            let units = [("seconds", "s"), ("bytes", "By")];
            if let Some((_, unit)) = units.iter().find(|(name, _)| family.name.ends_with(name)) {
                metric.text(3, unit);
            }
            let field = match family.kind {
                Type::Gauge => 5,
                Type::Counter => 7,
                Type::Histogram => 9,
            };
            metric.message(field, |data| {
                data.0.extend_from_slice(&points);
                if family.kind != Type::Gauge {
                    data.number(2, CUMULATIVE);
                }
                if family.kind == Type::Counter {
                    data.number(3, 1);
                }
            });
        });
    }

    /// Ends a message.
    fn finish(&mut self) {
        let metrics = std::mem::take(&mut self.of_all).0;
        if metrics.is_empty() {
            return;
        }
        let mut out = Message::default();
        out.message(1, |of_resource| {
            of_resource.message(1, |out| resource(out, self.instance));
            of_resource.message(2, |of_scope| {
                of_scope.message(1, |scope| scope.text(1, "wharfage"));
                of_scope.0.extend_from_slice(&metrics);
            });
        });
        self.done.push(out.0);
    }
}

/// Milliseconds in seconds, as the bytes of a floating number.
fn seconds(ms: u64) -> u64 {
    (ms as f64 / 1_000.0).to_bits()
}

fn nanoseconds(at: Timestamp) -> u64 {
    at.as_millis().saturating_mul(NANOSECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::exposition::tests::reading;
    use crate::observe::metrics::{ConnectionMetrics, OperationMetrics};

    /// However much there is, no message is much larger than the others.
    #[test]
    fn much_is_told_in_several_messages() {
        let operation = |number: u64| OperationMetrics {
            operation: format!("orders.list-{number}"),
            succeeded: number + 1,
            ..OperationMetrics::default()
        };
        let connection = |number: u64| ConnectionMetrics {
            connection: format!("acme-{number}"),
            operations: (0..10).map(operation).collect(),
            ..ConnectionMetrics::default()
        };
        let much = Metrics { connections: (0..100).map(connection).collect(), ..reading() };
        let messages = much.otlp("one");
        assert!(messages.len() > 2, "{}", messages.len());
        assert!(messages.iter().all(|message| message.len() < MESSAGE_BYTES + (16 << 10)));
        assert_eq!(reading().otlp("one").len(), 1);
    }
}
