//! The pure parts of the path, each as work that can be done over and over: what instructions are counted of.
//!
//! Public only because the program that counts lives in another package; it is nobody else's to use, there with the feature
//! `internals` alone, hidden from the documentation, and may change at any time. A piece of work makes what it needs once,
//! so that what one time more costs is the part's own cost and that of what it consumes.

use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::admit::{BucketQueue, BucketQueues, Coverage};
use super::breaker::BreakerPolicy;
use super::buckets::{Bucket, BucketSpec, Shape};
use super::cache::{Cache, CachePolicy};
use super::circuit::Circuits;
use super::classify::{Answers, classify};
use super::path_pattern::PathPattern;
use super::scope::{OriginScope, Scope};
use super::sign::SignedRequest;
use super::transport::{Answered, Raw, ResponseBody, ResponseHead, Transport, TransportError};
use super::{CallContext, Method, Outbound, Request, hints};
use crate::error::Result;
use crate::manifest::AnswerRule;
use crate::mask::Mask;
use crate::time::{BoxFuture, Clock, ManualClock, Timestamp};
use crate::vault::Secrets;

/// A part of the path at work on one input.
#[derive(Debug)]
pub struct Work {
    /// The part: the name of its file.
    pub part: &'static str,
    /// What it works on.
    pub input: &'static str,
    /// Does it so many times.
    pub run: fn(usize),
}

/// Every part that neither waits nor asks anybody, on what calls bring and on what costs most.
pub const WORK: &[Work] = &[
    work("buckets", "a unit of a window of 1,000 that is half full, taken and settled", buckets_take),
    work("buckets", "three buckets, of which the last one is spent", buckets_wait),
    work("hints", "twelve headers that say nothing of waiting", |times| read_hints(times, &[])),
    work("hints", "twelve headers, Retry-After with a date", |times| {
        read_hints(times, &[("retry-after", "Sun, 22 Nov 2026 08:50:37 GMT")])
    }),
    work("hints", "twelve headers, RateLimit with two windows", |times| {
        let policy = r#""second";q=5;w=1, "day";q=100000;w=86400"#;
        read_hints(times, &[("ratelimit-policy", policy), ("ratelimit", r#""second";r=4;t=1, "day";r=99000;t=3600"#)])
    }),
    work("scope", "a GET by the name of its origin, the last of five", |times| {
        judge(times, Method::Get, "{four}/v4/orders/7?page=2")
    }),
    work("scope", "a POST that is refused, with the line that would allow it", |times| {
        judge(times, Method::Post, "https://four.test/v4/orders/7")
    }),
    work("mask", "1 KiB without a secret", |times| mask_clean(times, 1 << 10)),
    work("mask", "100 KiB without a secret", |times| mask_clean(times, 100 << 10)),
    work("mask", "1 KiB with two secrets", mask_echo),
    work("classify", "200 with 1 KiB, two rules about bodies that do not fit", |times| classified(times, 200, ORDERS)),
    work("classify", "429 with a sentence in its body", |times| classified(times, 429, r#"{"error":"slow down"}"#)),
    work("classify", "200 that a rule makes a refusal for its rate", |times| {
        classified(times, 200, r#"{"status":"0","result":"Max calls per sec rate limit reached (5/sec)"}"#)
    }),
    work("path", "all of it: a GET that is answered at once, 1 KiB and twelve headers", walked),
];

const fn work(part: &'static str, input: &'static str, run: fn(usize)) -> Work {
    Work { part, input, run }
}

const NOW: Timestamp = Timestamp::from_millis(1_795_337_377_000);

/// Part of a list of orders; it is repeated for what is longer.
const ORDERS: &str =
    r#"{"id":"00009e33-0451","number":1,"status":"Submitted","paid":false,"total":{"amount":"37.01"}},"#;

fn window(name: &str, limit: u32) -> BucketSpec {
    BucketSpec { name: name.to_owned(), shape: Shape::Window { limit, window_ms: 1_000 } }
}

fn buckets_take(times: usize) {
    let mut bucket = Bucket::new(window("second", 1_000));
    let mut now = NOW;
    // So many more fill half of it first.
    for _ in 0..times + 550 {
        now = now.plus(2);
        match bucket.reserve(now, black_box(1)) {
            Ok(reservation) => bucket.settle(reservation, now),
            Err(wait) => drop(black_box(wait)),
        }
    }
}

fn buckets_wait(times: usize) {
    let mut buckets = [window("minute", 60), window("hour", 1_000), window("second", 5)].map(Bucket::new);
    if let Ok(reservation) = buckets[2].reserve(NOW, 5) {
        buckets[2].settle(reservation, NOW);
    }
    for _ in 0..times {
        for bucket in &mut buckets {
            let reserved = bucket.reserve(NOW, black_box(1));
            let _ = black_box(reserved.map(|reservation| bucket.cancel(reservation)));
        }
    }
}

/// What many an answer brings.
const HEADERS: [(&str, &str); 12] = [
    ("date", "Sun, 22 Nov 2026 08:49:37 GMT"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "1024"),
    ("connection", "keep-alive"),
    ("server", "nginx"),
    ("vary", "Accept, Authorization, Origin"),
    ("allow", "GET, HEAD, OPTIONS"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-request-id", "8a5f0d3e-4f0b-4f7e-9f55-6a6a1f0d1c11"),
];

fn headers() -> HeaderMap {
    HEADERS.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn read_hints(times: usize, more: &[(&str, &str)]) {
    let headers: Vec<(&str, &[u8])> =
        HEADERS.iter().chain(more).map(|(name, value)| (*name, value.as_bytes())).collect();
    for _ in 0..times {
        black_box(hints::read(black_box(&headers).iter().copied(), &[], NOW, 86_400_000));
    }
}

/// Five origins, of which each has three patterns of paths and its own name.
fn scope() -> Option<Scope> {
    let origin = |name: &&str| {
        let patterns = ["/v4/orders/*", "/v4/orders/*/lines", "/v4/customers/**"];
        let paths = patterns.iter().map(|path| PathPattern::parse(path)).collect::<Result<_, _>>().ok()?;
        Some(OriginScope::new(name, Url::parse(&format!("https://{name}.test/")).ok()?, vec![Method::Get], paths))
    };
    Some(Scope {
        plugin: "sample".to_owned(),
        connection: "acme".to_owned(),
        origins: ["zero", "one", "two", "three", "four"].iter().map(origin).collect::<Option<_>>()?,
        asked: Vec::new(),
        stated: vec!["https://four.test".to_owned()],
        credential_headers: vec!["authorization".to_owned()],
        url_bytes_max: 8_192,
        request_body_bytes_max: 8 << 20,
        header_count_max: 100,
        header_bytes_max: 32 << 10,
    })
}

fn judge(times: usize, method: Method, url: &str) {
    let Some(scope) = scope() else { return };
    let headers = vec![("accept".to_owned(), "application/json".to_owned())];
    let request = Request { method, headers, ..Request::get(url) };
    for _ in 0..times {
        let _ = black_box(scope.check(black_box(request.clone())));
    }
}

/// Two secrets of usual length.
fn mask() -> Mask {
    let values = ["wharf-s3cret-0451-berth+crane/7", "harbour-master"];
    Mask::new(values.map(|value| Zeroizing::new(value.to_owned())).to_vec())
}

fn orders(bytes: usize) -> Vec<u8> {
    ORDERS.bytes().cycle().take(bytes).collect()
}

fn mask_clean(times: usize, bytes: usize) {
    let mask = mask();
    let mut body = orders(bytes);
    for _ in 0..times {
        // What holds no secret comes back as it went in.
        body = mask.bytes(black_box(body)).0;
    }
}

fn mask_echo(times: usize) {
    let mask = mask();
    let mut body = orders(1 << 10);
    body.splice(100..100, *b"Bearer wharf-s3cret-0451-berth+crane/7");
    body.splice(900..900, *b"user=Harbour-Master");
    for _ in 0..times {
        black_box(mask.bytes(black_box(body.clone())));
    }
}

/// A path with a budget and the rules that two providers need, whose answers come from nowhere.
fn path() -> Option<Outbound> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW, 1));
    let secrets = Arc::new(Secrets::new("sample", "acme", Default::default()));
    let rule = |contains: &str| AnswerRule {
        origin: None,
        status: Vec::new(),
        pointer: Some("/result".to_owned()),
        header: None,
        contains: Some(contains.to_owned()),
        equals: None,
        any_of: Vec::new(),
        and: Vec::new(),
        kind: "rate-limited".to_owned(),
        bucket: None,
        retry_after_s: None,
        retry_at: None,
        code: None,
        source: String::new(),
        date: String::new(),
    };
    let mut queues = BucketQueues::default();
    queues.add(Arc::new(BucketQueue::new("acme/second", window("second", 5), clock.clone())), Coverage::default());
    Some(Outbound {
        scope: scope()?,
        answers: Answers::new(vec![rule("rate limit"), rule("invalid api key")]),
        queues,
        ..Outbound::nowhere(secrets, clock)
    })
}

/// Answers at once.
struct AtOnce(Bytes, HeaderMap);

impl Transport for AtOnce {
    fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        let body: Box<dyn ResponseBody> = Box::new(Some(self.0.clone()));
        Box::pin(ready(Ok(ResponseHead { status: 200, headers: self.1.clone(), body })))
    }
}

/// With all that a connection has unless it is told otherwise: breaker, cache, mask, budget.
fn walked(times: usize) {
    let Some(path) = path() else { return };
    let clock = Arc::new(ManualClock::new(NOW, 1));
    let (Some(four), Ok(base)) = (path.scope.origins.last().cloned(), Url::parse("http://127.0.0.1:1/")) else {
        return;
    };
    let origin = OriginScope { base, ..four };
    let scope = Scope { origins: vec![origin], ..path.scope.clone() };
    let shared: Arc<dyn Clock> = clock.clone();
    let mut queues = BucketQueues::default();
    queues.add(Arc::new(BucketQueue::new("acme/second", window("second", 5), shared.clone())), Coverage::default());
    let outbound = Outbound {
        circuits: Circuits::new("acme", BreakerPolicy::default(), &scope.origins, &shared),
        cache: Some(Cache::new(CachePolicy::default(), &[7; 32], &["acme".to_owned()], &path.limits, None)),
        transport: Arc::new(AtOnce(orders(1 << 10).into(), headers())),
        private_addresses: "127.0.0.0/8".parse().into_iter().collect(),
        clock: shared,
        queues,
        scope,
        ..path
    };
    for _ in 0..times {
        clock.advance(1_000);
        let context = CallContext { deadline: clock.now().plus(60_000), observer: None, event: None, operation: None };
        let answered =
            outbound.send(&context, black_box(Request::get("{four}/v4/orders/7?page=2")).into()).now_or_never();
        assert!(matches!(black_box(answered), Some(Ok(_))), "it is answered at once");
    }
}

fn classified(times: usize, status: u16, body: &str) {
    let (Some(outbound), Ok(url)) = (path(), Url::parse("https://four.test/v4/orders/7?page=2")) else { return };
    let context = CallContext { deadline: NOW.plus(60_000), observer: None, event: None, operation: None };
    let headers = headers();
    let body = if status < 400 && body == ORDERS { orders(1 << 10) } else { body.as_bytes().to_vec() };
    for _ in 0..times {
        let raw = Raw { status, headers: headers.clone(), body: body.clone(), received_at: NOW };
        let answered =
            Answered { method: Method::Get, url: url.clone(), origin: 4, result: Ok(raw), rest: None, leave: None };
        drop(black_box(classify(&outbound, &context, black_box(answered), false)));
    }
}
