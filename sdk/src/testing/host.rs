//! The imports, answered from a fixture. The modules here have the names and the functions that the generated bindings have.

// The signatures are those of the generated bindings.
#![allow(clippy::result_large_err)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::fixture::{Exchange, Response};
use super::manifest::{Judged, Manifest};
use super::rules;
use crate::bindings::wharfage::plugin::{http as wire, types};
use crate::http::endpoint;
use crate::{Error, ErrorKind, Timestamp, json};

/// What the host tries at most, as it does by default.
const ATTEMPTS_MAX: u32 = 5;
const BODY_KEPT_BYTES_MAX: usize = 1000;
/// When to come back after a limit of which the answer does not say it.
const RETRY_AFTER_S: u32 = 60;
/// Where the host looks for when to come back: header fields with this in their names.
const WHEN_HEADERS: [&str; 3] = ["retry-after", "ratelimit", "rate-limit"];
/// Where the host looks for the provider's id of a request.
const REQUEST_ID_HEADERS: [&str; 4] = ["x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid"];
/// 2026-01-01T00:00:00Z
const NOW: Timestamp = Timestamp::from_unix_s(1_767_225_600);

/// Everything a call can see.
pub(super) struct Stage {
    manifest: Manifest,
    exchanges: Vec<(Exchange, bool)>,
    now: Timestamp,
    secrets: Vec<String>,
    /// What the plugin keeps.
    pub(super) state: BTreeMap<String, Vec<u8>>,
    /// The files that are given, and those that are taken.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) taken: BTreeMap<String, Vec<u8>>,
    /// The URLs that stay here; the plugin knows them by their number.
    kept: Vec<String>,
    troubles: Vec<String>,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new(Manifest::default(), Vec::new(), None, Vec::new()));
    /// What the last run logged.
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Stage {
    pub(super) fn new(
        manifest: Manifest,
        exchanges: Vec<Exchange>,
        now: Option<Timestamp>,
        secrets: Vec<String>,
    ) -> Self {
        Self {
            manifest,
            exchanges: exchanges.into_iter().map(|exchange| (exchange, false)).collect(),
            now: now.unwrap_or(NOW),
            secrets,
            state: BTreeMap::new(),
            files: BTreeMap::new(),
            taken: BTreeMap::new(),
            kept: Vec::new(),
            troubles: Vec::new(),
        }
    }

    /// Sends a request and whatever redirects make of it; every hop is judged like a request. Of an answer that is opened the
    /// body is not judged.
    fn send(&mut self, request: &wire::Request, is_opened: bool) -> Result<wire::Response, Error> {
        let mut request = request.clone();
        let mut attempts = 0;
        loop {
            let mut response = self.ask(&request, is_opened)?;
            attempts += response.attempts;
            response.attempts = attempts;
            let Some(location) = location_of(&response) else { return Ok(response) };
            if !matches!(response.status, 307 | 308) && !matches!(request.method, wire::Method::Head) {
                request.method = wire::Method::Get;
                request.body = None;
                request.headers.retain(|header| !header.name.to_ascii_lowercase().starts_with("content-"));
            }
            request.url = location;
        }
    }

    fn ask(&mut self, request: &wire::Request, is_opened: bool) -> Result<wire::Response, Error> {
        let kept = self.kept.iter().enumerate().find(|(number, _)| request.url == kept_name(*number));
        let written = || self.manifest.without_masked(&self.manifest.expand(&request.url));
        let url = kept.map_or_else(written, |(_, url)| url.clone());
        let origin = match self.manifest.check(request, &url) {
            Ok(origin) => origin.to_owned(),
            Err(refusal) => {
                self.troubles.push(refusal.clone());
                return Err(Error::new(ErrorKind::PolicyDenied(refusal.clone()), refusal));
            }
        };
        let mut attempts = 0;
        let mut last = None;
        while let Some(index) = self.position(request, &url).filter(|_| attempts < ATTEMPTS_MAX) {
            self.exchanges[index].1 = true;
            attempts += 1;
            match self.judge(&origin, request, &url, attempts, &self.exchanges[index].0.response, is_opened) {
                Err(error) if may_repeat(request, &error) => last = Some(error),
                outcome => return outcome.and_then(|response| self.keep(&origin, response)),
            }
        }
        Err(last.unwrap_or_else(|| {
            let trouble =
                format!("the fixture holds no exchange for {}{}", endpoint(request.method, &url), query(&url));
            self.troubles.push(trouble.clone());
            Error::internal(trouble)
        }))
    }

    /// Takes a URL out of an answer that stays here.
    fn keep(&mut self, origin: &str, mut response: wire::Response) -> Result<wire::Response, Error> {
        let Some((name, base)) = self.manifest.kept_header(origin).filter(|_| response.status < 300) else {
            return Ok(response);
        };
        if let Some(header) = response.headers.iter_mut().find(|header| header.name.eq_ignore_ascii_case(name)) {
            let authority = |url: &str| url.split('/').take(3).collect::<Vec<_>>().join("/");
            if authority(&header.value) != authority(&base) {
                let message = "the provider named a URL that is not at the origin that answered";
                return Err(Error::new(ErrorKind::PolicyDenied("kept-url".to_owned()), message));
            }
            let number = self.kept.len();
            self.kept.push(std::mem::replace(&mut header.value, kept_name(number)));
        }
        Ok(response)
    }

    fn position(&self, request: &wire::Request, url: &str) -> Option<usize> {
        self.exchanges.iter().position(|(exchange, is_used)| !is_used && exchange.request.is(request, url))
    }

    fn judge(
        &self,
        origin: &str,
        request: &wire::Request,
        url: &str,
        attempts: u32,
        response: &Response,
        is_opened: bool,
    ) -> Result<wire::Response, Error> {
        let header = |name: &str| {
            response.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
        };
        // The body of an error, or of what leads elsewhere, is read in any case.
        let leads_on = (300..400).contains(&response.status) && header("location").is_some();
        let is_left = is_opened && response.status < 400 && !leads_on;
        let body = if is_left { Vec::new() } else { response.body() };
        let mut names = self.manifest.request_id_header().into_iter().chain(REQUEST_ID_HEADERS);
        let request_id = names.find_map(header).map(str::to_owned);
        let plain = |error: Error| Judged { error, retry_after_s: None, says_when: false };
        let judged = match (self.manifest.judge(origin, response, &body), response.status) {
            (Some(judged), _) => judged,
            (None, status) if status >= 400 => {
                plain(Error::new(kind_of(status, &body), format!("the provider answered {status}")))
            }
            (None, 301..=303 | 307..=308)
                if header("location").is_some_and(|to| !to.starts_with('/') && !self.manifest.has(to)) =>
            {
                let message = "the provider redirected to an origin that is not granted";
                plain(Error::new(ErrorKind::PolicyDenied("origin".to_owned()), message))
            }
            _ => {
                return Ok(wire::Response {
                    status: response.status,
                    headers: response
                        .headers
                        .iter()
                        .filter(|(name, _)| !rules::header_is_secret(name))
                        .map(|(name, value)| types::Header { name: name.to_ascii_lowercase(), value: value.clone() })
                        .collect(),
                    body: response.body(),
                    url: url.to_owned(),
                    source: wire::Source::Live,
                    age_ms: 0,
                    attempts,
                    request_id,
                });
            }
        };
        let Judged { mut error, retry_after_s, says_when } = judged;
        let said_s = header("retry-after").and_then(|text| text.trim().parse::<u32>().ok());
        let is_limit = matches!(error.kind, ErrorKind::RateLimited | ErrorKind::QuotaExhausted);
        // What says it otherwise than in seconds is not read here, and nothing is made up instead.
        let is_unread = says_when || (said_s.is_none() && response.headers.keys().any(|name| is_about_when(name)));
        let wait_s = said_s.max(retry_after_s).or(is_limit.then_some(RETRY_AFTER_S)).filter(|_| !is_unread);
        error.retry_at = wait_s.map(|seconds| self.now.plus_ms(i64::from(seconds) * 1000));
        error.attempts = attempts;
        error.request_id = request_id;
        error.body = (!body.is_empty()).then(|| json::beginning(&body, BODY_KEPT_BYTES_MAX));
        Err(error.with_status(response.status).with_endpoint(endpoint(request.method, url)))
    }
}

/// Whether a header field may say when to come back.
fn is_about_when(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WHEN_HEADERS.iter().any(|part| name.contains(part))
}

/// What a plugin calls a URL that stays in the host.
fn kept_name(number: usize) -> String {
    format!("{{kept:{number}}}")
}

/// Where an answer leads, if it leads on: an absolute URL, or a path on the same origin.
fn location_of(response: &wire::Response) -> Option<String> {
    if !matches!(response.status, 301..=303 | 307..=308) {
        return None;
    }
    let to = &response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("location"))?.value;
    let to = to.split('#').next().unwrap_or_default();
    if !to.starts_with('/') {
        return Some(to.to_owned());
    }
    let host_end = response.url.match_indices('/').nth(2).map_or(response.url.len(), |(at, _)| at);
    Some(format!("{}{to}", &response.url[..host_end]))
}

fn kind_of(status: u16, body: &[u8]) -> ErrorKind {
    match status {
        400 if String::from_utf8_lossy(body).to_ascii_lowercase().contains("temporarily") => ErrorKind::Transient,
        400 | 422 => ErrorKind::InvalidRequest(Vec::new()),
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        409 | 412 => ErrorKind::Conflict,
        410 => ErrorKind::CursorInvalid,
        425 | 429 => ErrorKind::RateLimited,
        501 | 505 => ErrorKind::ProviderReported,
        500.. => ErrorKind::Transient,
        _ => ErrorKind::ProviderReported,
    }
}

/// A refusal for being too fast proves that nothing was done; anything else only passes where repeating is safe. A spent quota
/// does not come back within a call.
fn may_repeat(request: &wire::Request, error: &Error) -> bool {
    let is_safe = match request.repeat {
        wire::Repeat::ByMethod => !matches!(request.method, wire::Method::Post | wire::Method::Patch),
        wire::Repeat::Safe | wire::Repeat::Keyed => true,
        wire::Repeat::Never => false,
    };
    let may_pass = matches!(error.kind, ErrorKind::Transient | ErrorKind::Timeout | ErrorKind::Network(_));
    error.kind == ErrorKind::RateLimited || (is_safe && may_pass)
}

fn query(url: &str) -> &str {
    url.find('?').map_or("", |at| &url[at..])
}

/// Runs `run` on this stage and tells what it made, what state is left, and what was wrong with what it asked for.
pub(super) fn on<T>(
    mut stage: Stage,
    taken: &BTreeMap<String, Vec<u8>>,
    run: impl FnOnce() -> T,
) -> (T, BTreeMap<String, Vec<u8>>, Vec<String>) {
    stage.taken = taken.keys().map(|name| (name.clone(), Vec::new())).collect();
    LOGGED.with_borrow_mut(Vec::clear);
    let before = STAGE.with(|current| current.replace(stage));
    let outcome = run();
    let stage = STAGE.with(|current| current.replace(before));
    let left_over = stage
        .exchanges
        .iter()
        .filter(|(_, is_used)| !is_used)
        .map(|(exchange, _)| format!("{} is in the fixture and was never asked for", exchange.request));
    let differs = taken.iter().filter(|(name, bytes)| stage.taken.get(*name) != Some(*bytes));
    let differs = differs.map(|(name, _)| format!("the file {name} does not hold what it should"));
    let troubles = stage.troubles.iter().cloned().chain(left_over).chain(differs).collect();
    (outcome, stage.state, troubles)
}

/// What the last run on this thread logged.
pub(super) fn logged() -> Vec<String> {
    LOGGED.with_borrow(Vec::clone)
}

fn stage<T>(act: impl FnOnce(&mut Stage) -> T) -> T {
    STAGE.with(|stage| act(&mut stage.borrow_mut()))
}

pub(crate) mod http {
    use super::*;

    pub(crate) fn send(request: &wire::Request) -> Result<wire::Response, types::Error> {
        stage(|stage| stage.send(request, false)).map_err(Error::into_wire)
    }

    pub(crate) use super::pieces::{Body, Upload, open, start};

    pub(crate) fn send_all(requests: &[wire::Request]) -> Vec<Result<wire::Response, types::Error>> {
        requests.iter().map(send).collect()
    }
}

/// Bodies piece by piece: what the fixture holds, in pieces of any size; what is written is compared at the end.
mod pieces {
    use super::*;

    pub(crate) struct Opened {
        pub(crate) status: u16,
        pub(crate) headers: Vec<types::Header>,
        pub(crate) url: String,
        pub(crate) attempts: u32,
        pub(crate) request_id: Option<String>,
        pub(crate) body: Body,
    }

    pub(crate) struct Body(RefCell<std::collections::VecDeque<u8>>);

    impl Body {
        pub(crate) fn read(&self, bytes_max: u32) -> Result<Vec<u8>, types::Error> {
            let mut left = self.0.borrow_mut();
            let end = left.len().min(usize::try_from(bytes_max.max(1)).unwrap_or(usize::MAX));
            Ok(left.drain(..end).collect())
        }
    }

    pub(crate) fn open(request: &wire::Request) -> Result<Opened, types::Error> {
        let response = stage(|stage| stage.send(request, true)).map_err(Error::into_wire)?;
        Ok(Opened {
            status: response.status,
            headers: response.headers,
            url: response.url,
            attempts: response.attempts,
            request_id: response.request_id,
            body: Body(RefCell::new(response.body.into())),
        })
    }

    pub(crate) struct Upload {
        request: wire::Request,
        length: Option<u64>,
        written: RefCell<Vec<u8>>,
    }

    impl Upload {
        pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), types::Error> {
            let mut written = self.written.borrow_mut();
            written.extend_from_slice(bytes);
            match self.length {
                Some(length) if written.len() as u64 > length => Err(another_length()),
                _ => Ok(()),
            }
        }

        pub(crate) fn finish(upload: Self) -> Result<wire::Response, types::Error> {
            let Self { mut request, length, written } = upload;
            let written = written.into_inner();
            if length.is_some_and(|length| written.len() as u64 != length) {
                return Err(another_length());
            }
            request.body = (!written.is_empty()).then_some(written);
            // Sent once, as the host does.
            request.repeat = wire::Repeat::Never;
            http::send(&request)
        }
    }

    pub(crate) fn start(request: &wire::Request, length: Option<u64>) -> Result<Upload, types::Error> {
        if request.body.is_some() {
            let message = "the body of an upload is written, and here it was given";
            return Err(Error::invalid_request("/body", message).into_wire());
        }
        Ok(Upload { request: request.clone(), length, written: RefCell::default() })
    }

    fn another_length() -> types::Error {
        Error::invalid_request("/length", "something else was written than the length that was stated").into_wire()
    }
}

pub(crate) mod clock {
    use super::*;

    pub(crate) fn now() -> u64 {
        stage(|stage| stage.now).to_wire()
    }
}

pub(crate) mod log {
    use crate::log::Level;

    /// Shown when a test fails, as everything a test prints, and kept until the next run.
    pub(crate) fn write(level: Level, message: &str, fields: &[(String, String)]) {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let line = format!("{level} {message}{fields}");
        println!("{line}");
        super::LOGGED.with_borrow_mut(|lines| lines.push(line));
    }
}

pub(crate) mod state {
    use super::*;

    fn check(key: &str) -> Result<(), types::Error> {
        let error = match key.len() {
            0 => Error::invalid_request("/key", "a key has at least one byte"),
            1..=rules::KEY_BYTES_MAX => return Ok(()),
            _ => {
                let limit = "state_key_bytes".to_owned();
                Error::new(ErrorKind::LimitExceeded(limit), "a key of state is longer than the limit state_key_bytes")
            }
        };
        Err(error.into_wire())
    }

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, types::Error> {
        check(key)?;
        Ok(stage(|stage| stage.state.get(key).cloned()))
    }

    pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), types::Error> {
        check(key)?;
        stage(|stage| {
            let others = stage.state.iter().filter(|(own, _)| *own != key);
            let (keys, bytes) =
                others.fold((1, value.len()), |(keys, bytes), (_, other)| (keys + 1, bytes + other.len()));
            for (limit, size) in [("state_keys", keys), ("state_bytes", bytes)] {
                if let Err(why) = rules::check_limit(limit, size) {
                    stage.troubles.push(format!("the host would not keep this state: {why}"));
                    return Err(Error::new(ErrorKind::LimitExceeded(limit.to_owned()), why).into_wire());
                }
            }
            stage.state.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
    }

    pub(crate) fn delete(key: &str) -> Result<(), types::Error> {
        check(key)?;
        stage(|stage| stage.state.remove(key));
        Ok(())
    }

    pub(crate) fn keys(prefix: &str) -> Result<Vec<String>, types::Error> {
        Ok(stage(|stage| stage.state.keys().filter(|key| key.starts_with(prefix)).cloned().collect()))
    }
}

pub(crate) mod files {
    use super::*;

    fn unknown(name: &str) -> types::Error {
        Error::invalid_request("", format!("nobody handed over a file of the name `{name}` for this")).into_wire()
    }

    pub(crate) fn length(name: &str) -> Result<u64, types::Error> {
        stage(|stage| stage.files.get(name).map(|file| file.len() as u64)).ok_or_else(|| unknown(name))
    }

    pub(crate) fn read(name: &str, offset: u64, bytes_max: u32) -> Result<Vec<u8>, types::Error> {
        // Pieces are smaller than asked for, as they may be.
        const PIECE_BYTES: usize = 100_000;
        let most = PIECE_BYTES.min(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        stage(|stage| {
            let file = stage.files.get(name).ok_or_else(|| unknown(name))?;
            let rest = file.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
            Ok(rest[..rest.len().min(most)].to_vec())
        })
    }

    pub(crate) fn write(name: &str, bytes: &[u8]) -> Result<(), types::Error> {
        stage(|stage| stage.taken.get_mut(name).map(|file| file.extend_from_slice(bytes))).ok_or_else(|| unknown(name))
    }
}

pub(crate) mod secrets {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::secrets::Algorithm;

    /// What every secret that signs is here and wherever a fixture is played, so that it can hold what was made with it.
    const SECRET: &[u8] = b"a-tape-holds-no-secret";
    const BLOCK_BYTES: usize = 64;

    fn unavailable() -> types::Error {
        Error::new(ErrorKind::CredentialUnavailable, "fixtures sign with hmac-sha256 and nothing else").into_wire()
    }

    pub(crate) fn is_available(name: &str) -> bool {
        stage(|stage| stage.secrets.iter().any(|own| own == name))
    }

    pub(crate) fn sign(_: &str, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, types::Error> {
        match algorithm {
            Algorithm::HmacSha256 => Ok(hmac(SECRET, data)),
            _ => Err(unavailable()),
        }
    }

    pub(crate) fn verify(name: &str, algorithm: Algorithm, data: &[u8], mac: &[u8]) -> Result<bool, types::Error> {
        Ok(sign(name, algorithm, data)? == mac)
    }

    /// HMAC with SHA-256 (RFC 2104), for a key that is no longer than a block.
    fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
        let pad = |with: u8| {
            let mut pad = [with; BLOCK_BYTES];
            pad.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            pad
        };
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(data).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }

    #[cfg(test)]
    #[test]
    fn it_signs_as_rfc_4231_says() {
        let mac: String =
            hmac(b"Jefe", b"what do ya want for nothing?").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    pub(crate) fn make_jwt(_: &str, _: &str) -> Result<String, types::Error> {
        Err(unavailable())
    }

    pub(crate) fn verify_jwt(_: &str, _: &str) -> Result<String, types::Error> {
        Err(unavailable())
    }
}

pub(crate) mod rate_limit {
    use super::*;
    use crate::bindings::wharfage::plugin::rate_limit::Feedback;

    pub(crate) fn acquire(bucket: &str, _: u32) -> Result<(), types::Error> {
        if stage(|stage| stage.manifest.has_budget(bucket)) {
            return Ok(());
        }
        Err(Error::invalid_request("/bucket", format!("the manifest has no budget `{bucket}`")).into_wire())
    }

    pub(crate) fn report(feedback: &Feedback) -> Result<(), types::Error> {
        feedback.bucket.as_deref().map_or(Ok(()), |bucket| acquire(bucket, 0))
    }
}
