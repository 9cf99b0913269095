//! Traces: one id from the trigger to everything that comes of it, in lines, spans, the audit trail and what is sent.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::prelude::*;
use wharfage::observe::{LineFormat, Lines, Trace};
use wharfage::otlp::{Exporting, Spans};
use wharfage::{Config, Host};
use wharfage_tests::scene::secret_file;
use wharfage_tests::{API_KEY, Provider, Reply, Scene, guests, skipped, until};

use crate::log::Logged;
use crate::webhooks;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Lines as JSON, and spans to a receiver, on this thread.
pub(crate) fn listen(logged: &Logged, format: LineFormat, spans: &Spans) -> tracing::subscriber::DefaultGuard {
    let lines = Lines::new(format, logged.clone()).with_filter(EnvFilter::new("wharfage=trace"));
    tracing::subscriber::set_default(tracing_subscriber::registry().with(lines).with(spans.layer()))
}

/// Sends spans to this receiver, with a secret of its own.
fn export(host: &Host, receiver: &Provider, spans: &Spans, folder: &std::path::Path) -> Exporting {
    export_all(host, receiver, spans, folder, false)
}

/// Spans, and metrics where they are wanted.
pub(crate) fn export_all(
    host: &Host,
    receiver: &Provider,
    spans: &Spans,
    folder: &std::path::Path,
    with_metrics: bool,
) -> Exporting {
    secret_file(&folder.join("otlp-key"), "Bearer otlp-k3y-of-the-receiver");
    let text = format!(
        "[observe]\notlp = '{}/base'\notlp_secret = {{ file = 'otlp-key' }}\notlp_metrics = {with_metrics}\n",
        receiver.url()
    );
    let config = Config::parse(&text, &folder.join("wharfage.toml")).unwrap();
    host.export(&config.observe, spans).unwrap().unwrap()
}

fn lines(logged: &Logged) -> Vec<Value> {
    logged.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// What a message of protocol buffers holds: field numbers with numbers or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Result<u64, &[u8]>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                return number;
            }
        }
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut taken = |count: usize| {
            let (taken, rest) = bytes.split_at(count);
            bytes = rest;
            taken
        };
        let value = match key & 7 {
            0 => Ok(varint(&mut bytes)),
            1 => Ok(u64::from_le_bytes(taken(8).try_into().unwrap())),
            2 => {
                let count = varint(&mut bytes) as usize;
                let (taken, rest) = bytes.split_at(count);
                bytes = rest;
                Err(taken)
            }
            5 => Ok(u64::from(u32::from_le_bytes(taken(4).try_into().unwrap()))),
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, value));
    }
    all
}

fn part<'a>(all: &[(u64, Result<u64, &'a [u8]>)], number: u64) -> &'a [u8] {
    all.iter().find(|(field, _)| *field == number).map_or(&[], |(_, value)| value.unwrap_err())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A span as the receiver got it.
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    is_error: bool,
    attributes: std::collections::BTreeMap<String, String>,
}

fn spans(receiver: &Provider) -> Vec<Span> {
    let mut spans = Vec::new();
    for seen in receiver.seen() {
        assert_eq!(
            (seen.target.as_str(), seen.header("content-type")),
            ("/base/v1/traces", Some("application/x-protobuf"))
        );
        assert_eq!(seen.header("authorization"), Some("Bearer otlp-k3y-of-the-receiver"));
        let resource = fields(&seen.body);
        let scopes = fields(part(&resource, 1));
        for (_, scope) in scopes.iter().filter(|(field, _)| *field == 2) {
            for (_, span) in fields(scope.unwrap_err()).iter().filter(|(field, _)| *field == 2) {
                let all = fields(span.unwrap_err());
                let number =
                    |wanted| all.iter().find(|(field, _)| *field == wanted).map_or(0, |(_, value)| value.unwrap());
                assert!(number(7) <= number(8) && number(7) > 0, "it ends before it begins");
                let attributes = all.iter().filter(|(field, _)| *field == 9).map(|(_, pair)| {
                    let pair = fields(pair.unwrap_err());
                    let value = fields(part(&pair, 2))[0].1;
                    let value = value.map_or_else(|text| String::from_utf8_lossy(text).into_owned(), |n| n.to_string());
                    (String::from_utf8_lossy(part(&pair, 1)).into_owned(), value)
                });
                spans.push(Span {
                    trace: hex(part(&all, 1)),
                    id: hex(part(&all, 2)),
                    parent: hex(part(&all, 4)),
                    name: String::from_utf8_lossy(part(&all, 5)).into_owned(),
                    kind: number(6),
                    is_error: !part(&all, 15).is_empty(),
                    attributes: attributes.collect(),
                });
            }
        }
    }
    spans
}

/// A delivery that is a part of somebody's trace: everything that comes of it is, too, over the store and another task.
#[tokio::test]
async fn one_id_goes_from_a_delivery_to_every_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::answering(|seen| Reply::status(if seen.number == 1 { 500 } else { 200 })).await;
    let receiver = Provider::answering(|_| Reply::status(200)).await;
    let (logged, spans_kept) = (Logged::default(), Spans::new());
    let _listening = listen(&logged, LineFormat::Json, &spans_kept);
    let mut config = webhooks::signed(folder.path(), &provider).await;
    let connection = config.connections.get_mut("acme").unwrap();
    connection.trace_context = true;
    connection.limits.retry_wait_ms = 1;
    let clock = wharfage_tests::skipping();
    let host = Host::builder().state_dir(folder.path().join("state")).code_dir(wharfage_tests::compiled_code());
    let host = host.clock(clock).build().unwrap();
    let exporting = export(&host, &receiver, &spans_kept, folder.path());
    let serving = host.serve(&config).await.unwrap();
    let header = format!("{}\r\ntraceparent: {PARENT}", webhooks::SIGNED);
    assert_eq!(webhooks::deliver(&serving, &header).await.0, "200");
    until!(provider.count() >= 5);
    assert!(serving.drain().await);
    exporting.end().await;

    let all = spans(&receiver);
    assert!(all.iter().all(|span| span.trace == ID), "{all:#?}");
    let named = |name: &str| all.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let one = |name: &str| match named(name).as_slice() {
        [one] => *one,
        other => panic!("{name}: {other:#?}"),
    };
    let (delivery, event, call) = (one("POST /webhooks/{id}"), one("event"), one("call"));
    assert_eq!((delivery.parent.as_str(), delivery.kind), (&PARENT[36..52], 2));
    assert_eq!(delivery.attributes["http.response.status_code"], "200");
    assert_eq!((event.parent.as_str(), call.parent.as_str(), event.kind), (delivery.id.as_str(), event.id.as_str(), 5));
    assert_eq!((call.attributes["connection"].as_str(), call.attributes["plugin"].as_str()), ("acme", "events-keyed"));
    let requests = named("request");
    assert_eq!(requests.len(), 4, "{all:#?}");
    assert!(requests.iter().all(|request| request.parent == call.id && request.kind == 1));
    let attempts: Vec<&Span> = all.iter().filter(|span| span.kind == 3).collect();
    assert_eq!(attempts.len(), 5);
    for attempt in &attempts {
        assert!(requests.iter().any(|request| request.id == attempt.parent), "{attempt:#?}");
        let about = &attempt.attributes;
        assert_eq!((about["http.request.method"].as_str(), about["server.address"].as_str()), ("POST", "127.0.0.1"));
        assert_eq!(about["server.port"], provider.port().to_string());
        assert!(about["url.full"].starts_with(&provider.url()), "{about:?}");
        assert_eq!(attempt.name, format!("POST {}", about["url.template"]));
    }
    let failed: Vec<&&Span> = attempts.iter().filter(|attempt| attempt.is_error).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (failed[0].attributes["error.type"].as_str(), failed[0].attributes["http.response.status_code"].as_str()),
        ("500", "500")
    );
    let again = attempts.iter().find(|attempt| attempt.attributes.contains_key("http.request.resend_count")).unwrap();
    assert_eq!(again.attributes["http.request.resend_count"], "1");

    // Each request carries the id of the attempt that it is.
    let mut sent: Vec<String> =
        provider.seen().iter().map(|seen| seen.header("traceparent").unwrap().to_owned()).collect();
    let mut expected: Vec<String> = attempts.iter().map(|attempt| format!("00-{ID}-{}-01", attempt.id)).collect();
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);

    // And so do the lines and the audit trail.
    let lines = lines(&logged);
    for message in ["api_request", "api_response", "api_error", "retrying", "an event was handled"] {
        let said: Vec<&Value> = lines.iter().filter(|line| line["message"] == message).collect();
        assert!(!said.is_empty(), "nobody said {message}");
        assert!(said.iter().all(|line| line["trace_id"] == ID), "{said:#?}");
    }
    let error = lines.iter().find(|line| line["message"] == "api_error").unwrap();
    assert_eq!(
        (&error["service"], &error["method"], &error["status"]),
        (&json!("events-keyed"), &json!("POST"), &json!(500))
    );
    assert!(error["duration_ms"].is_u64() && error["timestamp"].is_string() && error["url"].is_string(), "{error}");
    let rows = host.audit().page(0, 1_000).await.unwrap();
    let placed: Vec<_> =
        rows.iter().filter_map(|row| row.entry.as_ref()).filter(|entry| entry.action.name() != "set").collect();
    assert!(placed.len() > 5 && placed.iter().any(|entry| entry.action.name() == "placed"), "{placed:#?}");
    let strange: Vec<_> = placed.iter().filter(|entry| entry.trace != ID).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

/// A provider gets nothing that it did not ask for.
#[tokio::test]
async fn only_a_connection_that_says_so_tells_of_traces() {
    let trace = Trace::parse(PARENT).unwrap();
    for says_so in [false, true] {
        let provider = Provider::answering(|_| Reply::status(200)).await;
        let scene = Scene::of(guests::HTTP_SEND).with(&provider);
        let open = scene.grant(move |connection| connection.trace_context = says_so).open().await;
        trace.run(open.output("send", json!({"url": "{api}/"}))).await;
        open.output("send", json!({"url": "{api}/"})).await;
        let told: Vec<Option<String>> =
            provider.seen().iter().map(|seen| seen.header("traceparent").map(str::to_owned)).collect();
        if !says_so {
            assert_eq!(told, [None, None]);
            continue;
        }
        let read: Vec<Trace> = told.iter().map(|told| Trace::parse(told.as_ref().unwrap()).unwrap()).collect();
        assert_eq!(read[0].id().to_string(), ID);
        assert_ne!(read[1].id().to_string(), ID, "a call that nobody sent begins a trace of its own");
        assert!(wharfage::explain(open.plugin.needs(), open.plugin.grant()).contains("traceparent"));
    }
}

/// The guide's logger writes the URL of each request as it is, with the key in its query.
#[tokio::test]
async fn guide_s36_a_url_was_logged_with_its_key() {
    let (logged, kept) = (Logged::default(), Spans::new());
    let folder = tempfile::tempdir().unwrap();
    let receiver = Provider::answering(|_| Reply::status(200)).await;
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let _listening = listen(&logged, LineFormat::Json, &kept);
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    let exporting = export(&open.host, &receiver, &kept, folder.path());
    open.output("send", json!({"url": "{api}/orders?page=2", "credential": "in-query"})).await;
    exporting.end().await;
    let key: String = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect();
    assert!(provider.seen()[0].target.ends_with(&format!("&apikey={key}")), "{}", provider.seen()[0].target);
    let lines = lines(&logged);
    let urls: Vec<&str> = lines.iter().filter_map(|line| line["url"].as_str()).collect();
    let shown = format!("{}/orders", provider.url());
    assert_eq!(urls, [&shown, &shown], "{lines:#?}");
    let attempt = spans(&receiver).into_iter().find(|span| span.kind == 3).unwrap();
    assert_eq!(attempt.attributes["url.full"], urls[0]);
    assert!(!logged.text().contains(API_KEY) && !logged.text().contains(&key));
}

/// The plugin's own lines carry the id of their call, each call another.
#[tokio::test]
async fn a_plugins_lines_say_which_call_they_are_from() {
    let logged = Logged::default();
    let _listening = listen(&logged, LineFormat::Json, &Spans::new());
    let open = Scene::of(guests::LOG_LINES).open().await;
    for line in ["first", "Bearer abc123def456 of bo@acme.example\nforged"] {
        open.output("log", json!({"line": line})).await;
    }
    let lines = lines(&logged);
    let ids = |begins: &str| -> Vec<&str> {
        let own = lines.iter().filter(|line| line["message"].as_str().unwrap().starts_with(begins));
        own.map(|line| line["trace_id"].as_str().unwrap_or_else(|| panic!("{line}"))).collect()
    };
    let (first, second) = (ids("first"), ids("Bearer [masked] of [email]\\nforged"));
    assert_eq!((first.len(), second.len()), (5, 5), "{lines:#?}");
    assert!(first.iter().all(|id| *id == first[0] && id.len() == 32) && second.iter().all(|id| *id == second[0]));
    assert_ne!(first[0], second[0]);
    let line = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("first")).unwrap();
    assert_eq!(
        (&line["plugin"], &line["connection"], &line["operation"]),
        (&json!("log-lines"), &json!("acme"), &json!("log"))
    );
}

/// A secret of one connection is in no line, whoever writes it: also in one of the host's embedder, and in no span.
#[tokio::test]
async fn what_any_connection_keeps_is_in_nobodys_line() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    open.output("send", json!({"url": "{api}/", "credential": "key"})).await;
    let logged = Logged::default();
    let _listening = listen(&logged, LineFormat::Human, &Spans::new());
    tracing::warn!(target: "wharfage::elsewhere", note = %format!("x{API_KEY}y"), "heard {API_KEY}");
    assert!(logged.text().contains("heard [masked] note=x[masked]y"), "{}", logged.text());
    assert_eq!(wharfage::observe::redact(&format!("a {API_KEY} b")), "a [masked] b");
}

/// A receiver that is away, slow or wrong is told once, and nobody waits for it.
#[tokio::test]
async fn a_receiver_that_fails_is_told_once_and_costs_spans_only() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Provider::answering(|_| Reply::status(503).body(format!("no: {API_KEY}"))).await;
    let (logged, kept) = (Logged::default(), Spans::new());
    let _listening = listen(&logged, LineFormat::Json, &kept);
    let open = Scene::of(guests::LOG_LINES).open().await;
    open.output("log", json!({"line": "before"})).await;
    let exporting = export(&open.host, &receiver, &kept, folder.path());
    for _ in 0..3 {
        open.output("log", json!({"line": "x"})).await;
    }
    exporting.end().await;
    open.output("log", json!({"line": "after"})).await;
    assert_eq!(kept.dropped(), 3, "before and after nobody wanted spans");
    assert_eq!(receiver.count(), 3, "attempts");
    let told: Vec<Value> = lines(&logged).into_iter().filter(|line| line["target"] == "wharfage::observe").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["level"], &told[0]["dropped"]), (&json!("warn"), &json!(3)));
}

/// An answer that says what of a message was not taken, as `Export…ServiceResponse` has it.
fn rejecting(count: u8) -> Reply {
    Reply::status(200).body([&b"\x0a\x12\x08"[..], &[count], b"\x12\x0eover the limit"].concat())
}

/// What a receiver does not take of a message is counted and told once, although it answers that all is well.
#[tokio::test]
async fn what_a_receiver_rejects_is_counted_and_told_once() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), wharfage::ManualClock::new(wharfage_tests::NOW, 1));
    let (logged, kept) = (Logged::default(), Spans::new());
    let _listening = listen(&logged, LineFormat::Json, &kept);
    let receiver = Provider::answering(|_| rejecting(2)).await;
    let open = Scene::of(guests::LOG_LINES).open().await;
    let exporting = export(&open.host, &receiver, &kept, folder.path());
    for _ in 0..3 {
        open.output("log", json!({"line": "x"})).await;
    }
    exporting.end().await;
    assert_eq!((kept.dropped(), receiver.count()), (2, 1));
    let host = Host::builder().clock(clock.clone()).build().unwrap();
    let exporting = export_all(&host, &receiver, &Spans::new(), folder.path(), true);
    for readings in 1..=2 {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        clock.advance(60_000);
        until!(exporting.untaken() >= readings);
    }
    let told = lines(&logged).into_iter().filter(|line| line["target"] == "wharfage::observe");
    let told: Vec<String> = told.map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    let expected = ["2 of 3 spans are not taken: over the limit", "2 points of metrics are not taken: over the limit"];
    assert_eq!(told, expected);
}

/// What the messages that OpenTelemetry publishes for Python read, of the kind `trace` or `metrics`; nothing where they are
/// not there.
fn published(kind: &str, body: &[u8]) -> Option<Value> {
    let name = if kind == "trace" { "Trace" } else { "Metrics" };
    let read = format!(
        "import sys, json\n\
         from opentelemetry.proto.collector.{kind}.v1.{kind}_service_pb2 import Export{name}ServiceRequest as R\n\
         from google.protobuf.json_format import MessageToDict\n\
         r = R(); r.ParseFromString(sys.stdin.buffer.read())\n\
         print(json.dumps(MessageToDict(r)))"
    );
    #[allow(clippy::disallowed_methods, reason = "another interpreter is a matter of whoever starts the tests")]
    let python = std::env::var("WHARFAGE_OTLP_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import opentelemetry.proto"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        let why = format!("{python} has none; install it, or name a python with WHARFAGE_OTLP_PYTHON");
        skipped("opentelemetry-proto", &why);
        return None;
    }
    let mut reading = Command::new(&python);
    let mut reading = reading.args(["-c", &read]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reading.stdin.take().unwrap().write_all(body).unwrap();
    let output = reading.wait_with_output().unwrap();
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The attribute of that name.
fn attribute(of: &Value, name: &str) -> Value {
    let all = of["attributes"].as_array().unwrap();
    all.iter().find(|pair| pair["key"] == name).unwrap_or_else(|| panic!("{name}: {of:#}"))["value"].clone()
}

/// Another's reader of the protocol reads what is sent.
#[tokio::test]
async fn the_published_messages_read_what_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Provider::answering(|_| Reply::status(200)).await;
    let kept = Spans::new();
    let _listening = listen(&Logged::default(), LineFormat::Json, &kept);
    let open = Scene::of(guests::LOG_LINES).open().await;
    let exporting = export(&open.host, &receiver, &kept, folder.path());
    Trace::parse(PARENT).unwrap().run(open.output("log", json!({"line": "x"}))).await;
    exporting.end().await;
    let Some(read) = published("trace", &receiver.seen()[0].body) else { return };
    let resource = &read["resourceSpans"][0];
    assert_eq!(attribute(&resource["resource"], "service.name")["stringValue"], "wharfage");
    let span = &resource["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["name"], &span["kind"]), (&json!("call"), &json!("SPAN_KIND_INTERNAL")));
    assert_eq!(attribute(span, "operation")["stringValue"], "log");
    assert_eq!(attribute(span, "attempts")["intValue"], "0");
}

/// Samples of metrics that a receiver got, as Prometheus is told them; a histogram by its count and its sum. `wanted` is
/// the place where they belong.
fn samples(receiver: &Provider, wanted: &str) -> Vec<(String, f64)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut samples = Vec::new();
    for seen in receiver.seen().iter().filter(|seen| seen.target.ends_with("/v1/metrics")) {
        assert_eq!((seen.target.as_str(), seen.header("content-type")), (wanted, Some("application/x-protobuf")));
        assert_eq!(seen.header("authorization"), Some("Bearer otlp-k3y-of-the-receiver"));
        let resource = fields(&seen.body);
        let scopes = fields(part(fields(part(&resource, 1)).as_slice(), 2));
        for (_, metric) in scopes.iter().filter(|(field, _)| *field == 2) {
            let metric = fields(metric.unwrap_err());
            let name = text(part(&metric, 1));
            let (kind, data) = metric.iter().find(|(field, _)| [5, 7, 9].contains(field)).unwrap();
            let data = fields(data.unwrap_err());
            // Cumulative, and a counter only grows.
            let says: Vec<_> =
                data.iter().filter(|(field, _)| *field > 1).map(|(at, said)| (*at, said.unwrap())).collect();
            assert_eq!(says, [&[][..], &[(2, 2), (3, 1)], &[(2, 2)]][(*kind as usize - 5) / 2], "{name}");
            for (_, point) in data.iter().filter(|(field, _)| *field == 1) {
                let point = fields(point.unwrap_err());
                let number = |wanted| point.iter().find(|(field, _)| *field == wanted).map(|(_, value)| value.unwrap());
                assert!(number(2).unwrap() <= number(3).unwrap() && number(2).unwrap() > 0, "{name} has no beginning");
                let labels = point.iter().filter(|(field, _)| *field == if *kind == 9 { 9 } else { 7 });
                let labels: Vec<String> = labels
                    .map(|(_, pair)| fields(pair.unwrap_err()))
                    .map(|pair| format!("{}=\"{}\"", text(part(&pair, 1)), text(part(&fields(part(&pair, 2)), 1))))
                    .collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                if *kind == 9 {
                    let numbers =
                        |field| part(&point, field).chunks(8).map(|it| u64::from_le_bytes(it.try_into().unwrap()));
                    assert_eq!(numbers(6).count(), numbers(7).count() + 1, "{name}");
                    assert_eq!(numbers(6).sum::<u64>(), number(4).unwrap(), "{name}");
                    samples.push((format!("{name}_count{labels}"), number(4).unwrap() as f64));
                    samples.push((format!("{name}_sum{labels}"), f64::from_bits(number(5).unwrap())));
                    continue;
                }
                let suffix = if *kind == 7 { "_total" } else { "" };
                let value = number(6).map_or_else(|| f64::from_bits(number(4).unwrap()), |count| count as f64);
                samples.push((format!("{name}{suffix}{labels}"), value));
            }
        }
    }
    samples
}

/// What is sent is what `/metrics` says: every sample of every family, and nothing else.
#[tokio::test]
async fn a_receiver_is_told_every_number_that_prometheus_is() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), wharfage::ManualClock::new(wharfage_tests::NOW, 1));
    let provider =
        Provider::answering(|seen| Reply::status(if seen.number == 1 { 200 } else { 404 }).body("words")).await;
    let receiver = Provider::answering(|_| Reply::status(200)).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).clock(&clock).open().await;
    open.output("send", json!({"url": "{api}/x", "credential": "key"})).await;
    open.call("send", json!({"url": "{api}/y"})).await.unwrap_err();
    let exporting = export_all(&open.host, &receiver, &Spans::new(), folder.path(), true);
    let mut expected: Vec<(String, f64)> = open
        .host
        .metrics()
        .prometheus()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect();
    assert!(expected.len() > 30, "{expected:#?}");

    // Every minute, without being asked.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(60_000);
    until!(receiver.count() >= 1);
    let mut told = samples(&receiver, "/base/v1/metrics");
    let by_name = |a: &(String, f64), b: &(String, f64)| a.0.cmp(&b.0);
    told.sort_by(by_name);
    expected.sort_by(by_name);
    assert_eq!(told, expected);
    assert!(
        !receiver.seen().iter().any(|seen| seen.body.windows(API_KEY.len()).any(|part| part == API_KEY.as_bytes()))
    );

    // And once more at the end.
    exporting.end().await;
    assert_eq!(receiver.count(), 2);
    let Some(read) = published("metrics", &receiver.seen()[0].body) else { return };
    let resource = &read["resourceMetrics"][0];
    assert_eq!(attribute(&resource["resource"], "service.name")["stringValue"], "wharfage");
    let metrics = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let of = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("{read:#}"));
    let calls = &of("wharfage_calls")["sum"];
    assert_eq!(
        (&calls["aggregationTemporality"], &calls["isMonotonic"]),
        (&json!("AGGREGATION_TEMPORALITY_CUMULATIVE"), &json!(true))
    );
    let took = &of("wharfage_call_duration_seconds")["histogram"]["dataPoints"][0];
    assert_eq!((&of("wharfage_call_duration_seconds")["unit"], &took["count"]), (&json!("s"), &json!("2")));
    assert_eq!(took["explicitBounds"].as_array().unwrap().len(), wharfage::metrics::BOUNDS_MS.len());
}

/// Metrics that are not taken are told once and counted, cost nobody a wait, and are in the next reading.
#[tokio::test]
async fn a_receiver_that_takes_no_metrics_is_told_once() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), wharfage::ManualClock::new(wharfage_tests::NOW, 1));
    let receiver = Provider::answering(|_| Reply::status(503).body(format!("no: {API_KEY}"))).await;
    let (logged, kept) = (Logged::default(), Spans::new());
    let _listening = listen(&logged, LineFormat::Json, &Spans::new());
    let host = Host::builder().clock(clock.clone()).build().unwrap();
    let exporting = export_all(&host, &receiver, &kept, folder.path(), true);
    while exporting.untaken() < 2 {
        clock.advance(100);
        tokio::task::yield_now().await;
    }
    let end = tokio::spawn(exporting.end());
    while !end.is_finished() {
        clock.advance(100);
        tokio::task::yield_now().await;
    }
    let told: Vec<Value> = lines(&logged).into_iter().filter(|line| line["target"] == "wharfage::observe").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0]["message"].as_str().unwrap().starts_with("metrics are not taken: "), "{told:#?}");
    assert!(!logged.text().contains(API_KEY));
}
