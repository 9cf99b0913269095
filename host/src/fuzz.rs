//! The readers of bytes from outside, as functions that take bytes and fail on whatever must never be.
//!
//! Public only because a byte harness and cargo-fuzz both live in other packages and call the same functions, which are
//! nobody else's to use: they are there with the feature `internals` alone, hidden from the documentation, and may change at
//! any time. Each answers what the bytes came to in a few words, so that a harness without coverage can tell a new
//! behaviour from one it has seen.

use serde_json::Value;
use url::Url;

use crate::connection::Config;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Needs};
use crate::outbound::path_pattern::PathPattern;
use crate::outbound::scope::{Asked, OriginScope, Scope};
use crate::outbound::{Method, Request, hints};
use crate::schema::Schema;
use crate::time::Timestamp;

/// Takes bytes and answers what they came to; it panics where a promise is broken.
pub type Target = fn(&[u8]) -> String;

/// The targets by name. A reader of bytes gets its row here, a folder `tests/fuzz/corpus/<name>` and a file in
/// `tests/fuzz/targets`; the test asks for all three.
pub const TARGETS: &[(&str, Target)] = &[
    ("hints", hints),
    ("scope", scope),
    ("fields", fields),
    ("manifest", manifest),
    ("config", config),
    ("schema", schema),
    ("component", component),
    ("tape", tape),
    ("webhook", webhook),
];

/// `<now> <longest wait>` in a line, then header fields. A hint is never earlier than now nor later than the longest wait,
/// and the same answer is read alike twice.
pub fn hints(bytes: &[u8]) -> String {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut numbers = first.split(' ').filter_map(|number| number.parse::<u64>().ok());
    let now = Timestamp::from_millis(numbers.next().unwrap_or(1_795_337_377_000));
    let wait_ms_max = numbers.next().unwrap_or(86_400_000);
    let fields: Vec<(String, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((String::from_utf8_lossy(&line[..colon]).into_owned(), &line[colon + 1..]))
        })
        .collect();
    let read = || hints::read(fields.iter().map(|(name, value)| (name.as_str(), *value)), &[], now, wait_ms_max);
    let hint = read();
    let resets = hint.windows.iter().map(|window| window.reset_at);
    for at in resets.chain([hint.retry_at, hint.come_back_at()]).flatten() {
        assert!(at >= now, "a hint lies before now: {at:?} < {now:?}");
        assert!(at.since(now) <= wait_ms_max, "a hint lies beyond the longest wait: {at:?}");
    }
    assert!(hint == read(), "the same answer is read in two ways");
    let told = |window: &hints::Window| {
        let said =
            [window.length_ms.is_some(), window.remaining.is_some(), window.reset_at.is_some(), window.limit.is_some()];
        said.map(|said| if said { '1' } else { '0' }).iter().collect::<String>()
    };
    let windows: Vec<String> = hint.windows.iter().take(3).map(told).collect();
    format!("{} {}", hint.retry_at.is_some(), windows.join(" "))
}

/// A method in a line, a URL in the next, a path pattern in a third. What passes goes to a granted place as the `url` crate
/// reads it, passes again as it is sent, and comes to the same; a pattern reads back as it is shown.
pub fn scope(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let method = lines.next().and_then(Method::parse).unwrap_or(Method::Get);
    let written = lines.next().unwrap_or_default();
    if let Ok(pattern) = PathPattern::parse(lines.next().unwrap_or_default()) {
        assert!(PathPattern::parse(&pattern.to_string()) == Ok(pattern.clone()), "{pattern} does not read back");
    }
    let Some(scope) = granted() else { return "no scope".to_owned() };
    let scoped = match scope.check(request(method, written)) {
        Ok(scoped) => scoped,
        Err(error) => return outcome(&Err::<(), _>(error)),
    };
    let (origin, sent) = (scope.origin_of(&scoped), scoped.url());
    let read = scope.expand(written).ok().and_then(|(whole, _)| Url::parse(&whole).ok());
    assert!(read.as_ref() == Some(sent), "{written:?} is sent as {sent}, and reads as {read:?}");
    assert!(sent.origin() == origin.base.origin(), "{written:?} goes to {sent}");
    assert!(sent.username().is_empty() && sent.password().is_none() && sent.fragment().is_none(), "{sent}");
    assert!(origin.methods.contains(&method), "{method} {sent}");
    assert!(origin.paths.iter().any(|pattern| pattern.matches(sent.path())), "{sent}");
    let again = scope.check(request(method, sent.as_str()));
    assert!(again.as_ref().is_ok_and(|again| again.url() == sent), "{sent} does not pass again: {again:?}");
    format!("passes to {}", origin.name)
}

/// Header fields that a plugin wants to send, a line each. What passes is one field as the `http` crate reads it, is none of
/// the host's however it is spelled, and keeps to the limits.
pub fn fields(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let headers: Vec<(String, String)> = text
        .split('\n')
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let Some(scope) = granted() else { return "no scope".to_owned() };
    let checked = scope.check(Request { headers, ..request(Method::Get, "{api}/v2/x") });
    let Ok(scoped) = &checked else { return outcome(&checked) };
    let passed = &scoped.request().headers;
    for (name, value) in passed {
        assert!(http::HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name:?} is no name");
        assert!(http::HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{value:?} is no value");
        let spelled = name.to_ascii_lowercase().replace('_', "-");
        let is_owned =
            ["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "x-key"];
        assert!(!is_owned.contains(&spelled.as_str()), "{name} is the host's");
    }
    let length: usize = passed.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(passed.len() <= scope.header_count_max && length <= scope.header_bytes_max, "{length} bytes pass");
    format!("passes {}", passed.len())
}

/// A `plugin.toml`. It is read alike twice, and what is said about a wrong one is short and can be shown.
pub fn manifest(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let read = Manifest::parse(&text);
    assert!(read == Manifest::parse(&text), "the same manifest is read in two ways");
    outcome(&read)
}

/// A `wharfage.toml`, likewise.
pub fn config(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let read = || Config::parse(&text, std::path::Path::new("wharfage.toml"));
    assert!(read() == read(), "the same file is read in two ways");
    outcome(&read())
}

/// A tape. It is read alike twice, and what is read can be written and read again, alike.
pub fn tape(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let read = || crate::outbound::tape::Fixture::parse(&text);
    let read = (read(), read());
    match &read {
        (Ok(first), Ok(second)) => {
            let written = serde_json::to_string(first).map_err(|error| error.to_string());
            assert!(written == serde_json::to_string(second).map_err(|error| error.to_string()), "read in two ways");
            if let Ok(written) = written {
                let again = crate::outbound::tape::Fixture::parse(&written);
                let again = again.map(|again| serde_json::to_string(&again).ok());
                assert!(again.is_ok_and(|again| again == Some(written)), "what was read does not read again alike");
            }
        }
        (Err(first), Err(second)) => assert!(first == second, "refused in two ways"),
        _ => panic!("read once and refused once"),
    }
    outcome(&read.0.map(|_| ()))
}

/// A schema in a line, then a value. Both come from outside; a value is judged alike twice.
pub fn schema(bytes: &[u8]) -> String {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut json = || serde_json::from_slice::<Value>(lines.next().unwrap_or_default()).ok();
    let (Some(schema), Some(value)) = (json(), json()) else { return "no JSON".to_owned() };
    let compiled = match Schema::new(&schema) {
        Ok(compiled) => compiled,
        Err(error) => return outcome(&Err::<(), _>(error)),
    };
    let check = || compiled.check_input(&value, bytes.len());
    let checked = check();
    assert!(checked == check(), "the same value is judged in two ways");
    // Of a misfit only whether it can be shown; every value has words of its own.
    match outcome(&checked).as_str() {
        "fits" => "fits".to_owned(),
        _ => "does not fit".to_owned(),
    }
}

/// A recipe's number in a line, header fields to an empty one, a query in the next, then a body. It is judged alike twice;
/// what passes has a key of some length, shows no plugin what proved it, and passes neither with one byte more nor a day
/// later.
pub fn webhook(bytes: &[u8]) -> String {
    use crate::inbound::verify::{Delivery, Proof, Verified, verify};

    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let number = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let number = number % RECIPES.len();
    let Some(recipe) = RECIPES.get(number) else { return "no recipe".to_owned() };
    let Ok(manifest) = Manifest::parse(&format!("{RECIPES_HEAD}{recipe}")) else { return "no manifest".to_owned() };
    let mut rest = lines.next().unwrap_or_default();
    let mut headers = http::HeaderMap::new();
    let mut next = || {
        let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(at);
        rest = after.get(1..).unwrap_or_default();
        line
    };
    loop {
        let line = next();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        let value = http::HeaderValue::from_bytes(&line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (name, value)
            && headers.len() < 100
        {
            headers.append(name, value);
        }
    }
    let query = std::str::from_utf8(next()).ok().filter(|query| !query.is_empty());
    let (body, url) = (rest, Some("https://hooks.example.org/webhooks/w"));
    let secrets = [zeroize::Zeroizing::new("c2lnbmluZy1zZWNyZXQtb2YtMzItYnl0ZXMtb3Itc28=".to_owned())];
    let now = Timestamp::from_millis(1_764_000_000_000);
    let judged = |body: &[u8], now| match manifest.webhooks.get("w") {
        Some(facts) => verify(facts, &Proof::Secrets(&secrets), &Delivery { headers: &headers, url, query, body }, now)
            .map_err(|refused| format!("{refused:?}")),
        None => Err("no webhook".to_owned()),
    };
    let verified = judged(body, now);
    assert!(verified == judged(body, now), "the same delivery is judged in two ways");
    if verified.is_ok() {
        let (is_timed, is_token) = (recipe.contains("time="), recipe.contains("'token'"));
        assert!(is_token || judged(&[body, b"!"].concat(), now).is_err(), "one byte more passes");
        assert!(!is_timed || judged(body, now.plus(86_400_000)).is_err(), "it passes a day later");
    }
    match verified {
        Ok(Verified::Event(event)) => {
            assert!((1..=256).contains(&event.key.len()), "a key of {} bytes", event.key.len());
            let shows = |name: &str| event.headers.iter().any(|(known, _)| known == name);
            assert!(!["x-sign", "authorization", "cookie"].into_iter().any(shows), "it shows what proved it");
            format!("passes {number} {} {}", event.key.starts_with("sha256:"), event.order.is_some())
        }
        Ok(other) => format!("passes {number} {}", matches!(other, Verified::Ignored)),
        Err(refused) => format!("{number} {refused}"),
    }
}

const RECIPES_HEAD: &str = "[plugin]\nname='sample'\nversion='1.0.0'\ncontract='0.1.0'\nprovider='Sample'\n\
    [secrets.hook]\npurpose='verify'\n[webhooks.w]\nsource='made up'\ndate='2026-11-24'\n\
    order={pointers=['/order']}\nignored=[{header='X-Event',equals='ping'},{pointer='/type',equals='ping'}]\n";

/// The shapes in which a delivery can be proven; the secret is the same for all.
const RECIPES: [&str; 5] = [
    "keys=[{pointers=['/id']}]\ntime={header='X-Sign',name='t'}\n\
     challenge={pointer='/type',equals='ask',answer='/challenge'}\n\
     verify={scheme='signature',secret='hook',header='X-Sign',form='pairs',name='v1',algorithm='hmac-sha256',\
     encoding='hex',content='{timestamp}.{body}'}",
    "keys=[{headers=['X-Id']}]\ntime={header='X-Time'}\n\
     verify={scheme='signature',secret='hook',secret_encoding='base64',header='X-Sign',form='list',name='v1',\
     algorithm='hmac-sha256',encoding='base64',id='X-Id',content='{id}.{timestamp}.{body}'}",
    "keys=[{fields=['Sid','Status']},{pointers=['/*/id']},{hash=true}]\n\
     verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha1',encoding='base64',\
     content='{url}{form}',body_hash='bodySHA256'}",
    "keys=[{headers=['X-Channel','X-Number']}]\nends='X-Ends'\nverify={scheme='token',secret='hook',header='X-Sign'}",
    "keys=[{pointers=['/*/id','/*/at']},{hash=true}]\ntime={header='X-Time',form='rfc3339'}\n\
     verify={scheme='signature',secret='hook',header='X-Sign',prefix='v0=',algorithm='hmac-sha512',encoding='hex',\
     content='v0:{timestamp}:{body}'}",
];

/// A component, before a byte of it is compiled.
pub fn component(bytes: &[u8]) -> String {
    let read = Needs::read(bytes);
    assert!(read == Needs::read(bytes), "the same component is read in two ways");
    outcome(&read)
}

/// What is said of it, without what differs from input to input.
fn outcome<T>(result: &Result<T>) -> String {
    /// An error may quote a line of its file and a name or two.
    const ERROR_BYTES_MAX: usize = 64 << 10;
    match result {
        Ok(_) => "fits".to_owned(),
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.len() <= ERROR_BYTES_MAX, "an error of {} bytes", shown.len());
            let is_shown = |c: char| c == '\n' || c == '\t' || !c.is_control();
            assert!(shown.chars().all(is_shown), "an error holds control characters: {shown:?}");
            kind_and_words(error)
        }
    }
}

/// The kind, and the words of our own: what stands in backticks is somebody else's, and so may the rest be where there are
/// more than two.
fn kind_and_words(error: &Error) -> String {
    let parts: Vec<&str> = error.message().split('`').collect();
    let ours = parts.iter().step_by(2).filter(|_| parts.len() <= 3).flat_map(|part| part.split(' '));
    let words: Vec<&str> = ours.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).take(12).collect();
    format!("{} {:?} {}", error.kind().name(), error.kind(), words.join(" "))
}

/// A small grant with every kind of rule.
fn granted() -> Option<Scope> {
    let origin = |name: &str, base: &str, methods: &[Method], paths: &[&str]| {
        let paths = paths.iter().map(|path| PathPattern::parse(path)).collect::<std::result::Result<_, _>>().ok()?;
        Some(OriginScope::new(name, Url::parse(base).ok()?, methods.to_vec(), paths))
    };
    Some(Scope {
        plugin: "sample".to_owned(),
        connection: "acme".to_owned(),
        origins: vec![
            origin("api", "https://api.test/v2", &[Method::Get], &["/v2/**"])?,
            origin("api", "https://api.test/v2", &[Method::Post], &["/v2/orders/*/lines"])?,
            origin("files", "http://files.test:8080", &[Method::Get, Method::Put], &["/f/*"])?,
            origin("six", "https://[2001:db8::1]", &[Method::Get], &["/**"])?,
            origin("four", "https://192.0.2.1", &[Method::Get], &["/**"])?,
        ],
        asked: vec![Asked {
            name: "else".to_owned(),
            base: Url::parse("https://example.org").ok()?,
            methods: Method::ALL.to_vec(),
            paths: vec![PathPattern::parse("/**").ok()?],
        }],
        stated: vec!["https://api.test".to_owned()],
        credential_headers: vec!["X-Key".to_owned()],
        url_bytes_max: 2_000,
        request_body_bytes_max: 10,
        header_count_max: 4,
        header_bytes_max: 100,
    })
}

fn request(method: Method, url: &str) -> Request {
    Request { method, ..Request::get(url) }
}
