//! Lines of a log, one for each event, as people or as programs read them: a layer for the crate `tracing-subscriber`.
//!
//! Every text passes the door of `redact.rs` before it is written, field by field, so that nothing of one field can end
//! another. A line stays one line, whatever a plugin or a provider puts into it. The fields of the spans around an event
//! stand in its line, the nearest first, so that a line says whose it is without those before it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::redact::{LINE_BYTES_MAX, Redactor, is_secret_name, one_line};
use crate::mask::MASKED;
use crate::time::{Clock, SystemClock};

/// Writes each event as a line.
///
/// ```
/// use tracing_subscriber::prelude::*;
/// use wharfage::observe::{LineFormat, Lines};
///
/// let lines = Lines::new(LineFormat::Json, std::io::stderr);
/// let _subscriber = tracing_subscriber::registry().with(lines);
/// ```
pub struct Lines<W> {
    format: LineFormat,
    writer: W,
    clock: Arc<dyn Clock>,
    redactor: Redactor,
    has_colours: bool,
}

impl<W> fmt::Debug for Lines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("format", &self.format).finish_non_exhaustive()
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// For people: time, level, message, then the fields.
    #[default]
    Human,
    /// For programs: an object of JSON.
    Json,
}

impl<W> Lines<W> {
    /// Writes there.
    pub fn new(format: LineFormat, writer: W) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { format, writer, clock, redactor: Redactor::default(), has_colours: false }
    }

    /// Takes the time from here.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Redacts with these switches.
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Colours the level, for a terminal.
    pub fn colours(mut self, has_colours: bool) -> Self {
        self.has_colours = has_colours;
        self
    }

    /// A text as it may be written.
    fn text<'a>(&self, name: &str, text: &'a str) -> Cow<'a, str> {
        if is_secret_name(name) {
            return Cow::Borrowed(MASKED);
        }
        let mut read = text;
        if read.len() > LINE_BYTES_MAX {
            // What was cut may have been cut in the middle of a secret.
            read = &read[..read.floor_char_boundary(LINE_BYTES_MAX)];
            read = &read[..read.rfind(char::is_whitespace).unwrap_or(0)];
        }
        let redacted = self.redactor.text(read);
        if redacted.len() <= TEXT_BYTES_MAX && read.len() == text.len() {
            return redacted;
        }
        let kept = &redacted[..redacted.floor_char_boundary(TEXT_BYTES_MAX)];
        Cow::Owned(format!("{kept}… [{} bytes in all]", text.len()))
    }

    fn human(&self, event: &Event<'_>, fields: &[(&'static str, Value)]) -> String {
        let level = *event.metadata().level();
        let mut out = format!("{} ", self.clock.now());
        match (self.has_colours, level) {
            (false, _) => _ = write!(out, "{level:>5} "),
            (true, Level::ERROR) => _ = write!(out, "\u{1b}[31m{level:>5}\u{1b}[0m "),
            (true, Level::WARN) => _ = write!(out, "\u{1b}[33m{level:>5}\u{1b}[0m "),
            (true, Level::INFO) => _ = write!(out, "\u{1b}[32m{level:>5}\u{1b}[0m "),
            (true, _) => _ = write!(out, "\u{1b}[2m{level:>5}\u{1b}[0m "),
        }
        for (name, value) in fields {
            // For whoever joins spans, which is nobody who reads.
            if matches!(*name, "span_id" | "parent_id") || name.starts_with("otel.") {
                continue;
            }
            let text = match value {
                Value::String(text) => self.text(name, text),
                other => Cow::Owned(other.to_string()),
            };
            let text = one_line(&text);
            let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
            match *name {
                MESSAGE => out.push_str(&text),
                _ if !text.is_empty() && text.chars().all(is_plain) => _ = write!(out, " {name}={text}"),
                _ => _ = write!(out, " {name}=\"{}\"", text.replace('"', "\\\"")),
            }
        }
        out.push('\n');
        out
    }

    fn json(&self, event: &Event<'_>, fields: &[(&'static str, Value)], span: Option<&str>) -> String {
        let mut out = String::from("{");
        let mut put = |name: &str, value: &Value| {
            if out.len() > 1 {
                out.push(',');
            }
            plain_json(&mut out, &Value::from(name));
            out.push(':');
            plain_json(&mut out, value);
        };
        let about = event.metadata();
        put("timestamp", &self.clock.now().to_string().into());
        put("level", &about.level().as_str().to_ascii_lowercase().into());
        put("target", &about.target().into());
        for (name, value) in fields {
            if matches!(*name, "timestamp" | "level" | "target" | "span") || name.starts_with("otel.") {
                continue;
            }
            match value {
                Value::String(text) => put(name, &self.text(name, text).into()),
                other => put(name, other),
            }
        }
        if let Some(span) = span {
            put("span", &span.into());
        }
        out.push_str("}\n");
        out
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Whatever else an event has, it begins with its message.
        fields.0.sort_by_key(|(name, _)| *name != MESSAGE);
        let mut name = None;
        for span in context.event_scope(event).into_iter().flatten() {
            name = name.or_else(|| Some(span.name()));
            if let Some(around) = span.extensions().get::<Fields>() {
                for (name, value) in &around.0 {
                    if !fields.0.iter().any(|(other, _)| other == name) {
                        fields.0.push((name, value.clone()));
                    }
                }
            }
        }
        let line = match self.format {
            LineFormat::Human => self.human(event, &fields.0),
            LineFormat::Json => self.json(event, &fields.0, name),
        };
        // Where a log cannot be written, there is nobody to tell.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

/// The field that holds an event's text.
const MESSAGE: &str = "message";

/// Most bytes of one text in a line.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// The fields of a span or an event, as they were given.
#[derive(Default)]
pub(crate) struct Fields(pub(crate) Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, before)) => *before = value,
            None => self.0.push((field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// JSON in which no text turns, hides or ends anything where it is shown: what is no plain character is escaped, and so is
/// what would begin a tag.
fn plain_json(out: &mut String, value: &Value) {
    for c in value.to_string().chars() {
        if matches!(c, '<' | '>' | '&') || !matches!(one_line(c.encode_utf8(&mut [0; 4])), Cow::Borrowed(_)) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use tracing_subscriber::prelude::*;

    use super::*;
    use crate::time::{ManualClock, Timestamp};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of what this does.
    fn written(format: LineFormat, doing: impl FnOnce()) -> String {
        let written = Written::default();
        let to = written.clone();
        let clock = ManualClock::new(Timestamp::from_millis(1_764_422_472_123), 1);
        let lines = Lines::new(format, move || to.clone()).clock(clock);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), doing);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    fn some() {
        let call = tracing::error_span!("call", trace_id = "4bf9", span_id = "1", operation = "orders.list", error.type = tracing::field::Empty);
        let _in_call = call.enter();
        call.record("error.type", "timeout");
        let attempt = tracing::error_span!("attempt", span_id = "2", attempt = 2);
        let _in_attempt = attempt.enter();
        tracing::warn!(
            api_key = "k3y",
            path = "/o?apikey=k3y&x=1",
            count = 7_u64,
            "failed:\n{}",
            "Bearer abcdefgh12345678"
        );
    }

    #[test]
    fn a_line_for_people() {
        assert_eq!(
            written(LineFormat::Human, some),
            "2025-11-29T13:21:12.123Z  WARN failed:\\nBearer [masked] api_key=[masked] path=\"/o?apikey=[masked]&x=1\" count=7 \
             attempt=2 trace_id=4bf9 operation=orders.list error.type=timeout\n"
        );
    }

    #[test]
    fn a_line_for_programs() {
        let text = written(LineFormat::Json, some);
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2025-11-29T13:21:12.123Z", "level": "warn", "target": line["target"], "span": "attempt",
            "message": "failed:\nBearer [masked]", "api_key": "[masked]", "path": "/o?apikey=[masked]&x=1", "count": 7,
            "attempt": 2, "span_id": "2", "trace_id": "4bf9", "operation": "orders.list", "error.type": "timeout",
        });
        assert_eq!(line, expected);
    }

    /// Issue: a plugin puts control characters and markup into names and messages.
    #[test]
    fn no_text_ends_a_line_or_turns_it() {
        let hostile = "a\nforged=1 \u{1b}[2J\u{202e}<script>\u{2028}\"}\r{\"level\":\"error";
        for format in [LineFormat::Human, LineFormat::Json] {
            let text = written(format, || tracing::info!(name = hostile, "{hostile}"));
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{2028}', '\r']), "{text:?}");
            if format == LineFormat::Json {
                assert!(!text.contains('<'), "{text}");
                let line: Value = serde_json::from_str(&text).unwrap();
                assert_eq!((line["message"].as_str(), line["level"].as_str()), (Some(hostile), Some("info")));
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let long = "x ".repeat(LINE_BYTES_MAX) + "password=hunter2";
        let text = written(LineFormat::Human, || tracing::info!("{long}"));
        assert!(
            text.len() < TEXT_BYTES_MAX + 200 && text.contains(&format!("[{} bytes in all]", long.len())),
            "{}",
            text.len()
        );
    }
}
