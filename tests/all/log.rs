//! `log`: a plugin's lines, masked, escaped and bounded.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::json;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;
use wharfage::{Kind, ManualClock};
use wharfage_tests::scene::host;
use wharfage_tests::{API_KEY, NOW, Provider, Reply, Scene, drained, guests, until};

use crate::assert_exists;

wharfage_tests::foreach_log!(assert_exists);

/// Everything that is logged on this thread while it lives.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// Listens at the finest level to what this filter lets through.
    pub(crate) fn listen(&self, filter: &str) -> tracing::subscriber::DefaultGuard {
        // With one dispatcher alone, a line that another test's thread comes to first is never heard again by anybody.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(NoSubscriber::new()));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(self.clone())
            .with_env_filter(filter)
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn log_lines() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace");
    let open = Scene::of(guests::LOG_LINES).open().await;
    open.output("log", json!({"line": "a\nforged line\u{1b}[2J"})).await;
    let text = logged.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("forged line")).collect();
    for level in ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] {
        assert!(lines.iter().any(|line| line.trim_start().starts_with(level)), "{level} is missing:\n{text}");
    }
    assert!(lines.iter().any(|line| line.contains("field=") && line.contains("acme")), "{text}");
    assert!(!text.contains('\u{1b}'), "an escape reached the log");
    assert!(!text.lines().any(|line| line.starts_with("forged line")), "a line was forged:\n{text}");
    assert!(text.contains("printed a"), "what a guest prints is in the log:\n{text}");
}

/// Whoever reads the log alone learns there where the key goes.
#[tokio::test]
async fn a_poll_that_fails_is_told_with_what_helps() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let folder = crate::sinks::folder(&provider, "").await;
    std::fs::remove_file(folder.path().join("key")).unwrap();
    let logged = Logged::default();
    let _listening = logged.listen("wharfage::poll=warn");
    let clock = ManualClock::new(NOW, 1);
    let host = host(&folder.path().join("state"), clock.clone());
    let serving = host.serve(&crate::sinks::config(folder.path())).await.unwrap();
    until!(logged.text().contains("it failed, 1 in a row"));
    let text = logged.text();
    assert!(text.contains("`api_key` of connection `acme` cannot be had") && text.contains("write it into"), "{text}");
    assert!(drained(serving, &clock).await);
}

/// Its path and its query may hold a key.
#[tokio::test]
async fn of_the_address_of_a_sink_lines_and_spans_hold_the_origin_alone() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let receiver = Provider::answering(|_| Reply::status(204)).await;
    let sink = format!(
        "[sinks.s]\nkind = 'http'\nurl = '{}/services/s3cret-path?key=s3cret-query'\n\
         secret = {{ file = 'sink-secret' }}\nprivate_addresses = ['127.0.0.1/32']\n",
        receiver.url()
    );
    let folder = crate::sinks::folder(&provider, &sink).await;
    let logged = Logged::default();
    let _listening = logged.listen("trace");
    let clock = ManualClock::new(NOW, 1);
    let host = host(&folder.path().join("state"), clock.clone());
    let serving = host.serve(&crate::sinks::config(folder.path())).await.unwrap();
    until!(receiver.count() > 0);
    assert!(drained(serving, &clock).await);
    let text = logged.text();
    assert!(text.contains(&receiver.url()), "the log is not listened to:\n{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

/// Whatever happens on the path at the finest level, crates of HTTP included, the key is not in the log (R6). What those of
/// TLS and HTTP/2 say is heard in `host/src/outbound/wires.rs`.
#[tokio::test]
async fn r6_no_line_of_a_call_holds_the_key() {
    let provider =
        Provider::answering(|seen| Reply::status(if seen.number == 1 { 500 } else { 200 }).body(seen.text())).await;
    let logged = Logged::default();
    let _listening = logged.listen("trace");
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    for credential in ["key", "bearer", "pair", "in-query"] {
        open.output("send", json!({"url": "{api}/", "credential": credential})).await;
    }
    let text = logged.text();
    assert!(text.contains("retrying"), "the log is not listened to:\n{text}");
    for (at, line) in text.lines().enumerate() {
        assert!(!line.contains(API_KEY) && !line.contains("wharf-s3cret"), "line {at}: {line}");
    }
}

/// What a guest prints is kept as far as its connection says, and told where it fails.
#[tokio::test]
async fn log_prints() {
    let open = Scene::of(guests::LOG_PRINTS).connection("limits.printed_bytes = 100").open().await;
    assert_eq!(open.output("print", json!({})).await, json!(null));
    let error = open.error("panic", json!({})).await;
    assert!(matches!(error.kind(), Kind::Internal(_)), "{error:?}");
    assert!(error.details().unwrap().contains("panicked at") && error.to_string().len() < 300, "{error}");
}
