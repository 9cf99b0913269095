//! A value of its own for every secret of every kind, traffic of every sort, and a search of everything that comes out.
//!
//! The provider knows all the values and sends them back in every form that is looked for, in headers, bodies and places
//! to go to; the guest logs, prints, keeps and answers what it sees of it, and its whole memory. Beside the secrets goes a
//! word that is none, in the same forms: it must be found in every sink that a provider's words can reach, or nobody
//! looked there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use serde_json::{Value, json};
use wharfage::secrets::SecretSlot;
use wharfage::tape::{Tape, TapeMode};
use wharfage::{Config, Error, Host, Plugin, SecretSource, SecretValue};
use wharfage_tests::scene::{AUTHORITY, account, secret_file};
use wharfage_tests::{Provider, Reply, Scene, Seen, compiled_code, guests, skipping};

use crate::cli::program;
use crate::log::Logged;

/// Name and value of each secret. Values begin with a word of their own and go on with what encoders write differently.
const CANARIES: [(&str, &str); 19] = [
    ("api_key", r#"HdrCanary7fKq2+/="a\b'%41&c d"#),
    ("k_query", r#"QryCanaryZ81xw+/="a\b'%41&c d"#),
    ("k_bearer", r#"BrrCanaryP30mt+/="a\b'%41&c d"#),
    ("k_user", r#"UsrCanaryL55cv+/='a\b~%41&c d"#),
    ("k_password", r#"PwdCanaryT19gy+/="a\b'%41&c d"#),
    ("signing", r#"SgnCanaryW62hb+/="a\b'%41&c d"#),
    ("verifying", r#"VfyCanaryN47js+/="a\b'%41&c d"#),
    ("client_id", "CidCanaryB83fo+/='a~%41"),
    ("client_secret", r#"CscCanaryX06ru+/="a\b'%41&c d"#),
    ("k_cookie", r#"CkiCanaryV58lq+/='a~%41&c"#),
    ("k_body", r#"BdyCanaryJ03sd+/="a\b'%41&c d"#),
    ("k_path", r#"PthCanaryH77gx+/="a\b'%41&c d"#),
    ("k_aws_id", "AidCanaryQ40mn+='a~%41"),
    ("k_aws", r#"AwsCanaryE29bk+/="a\b'%41&c d"#),
    ("k_jwt", r#"JwtCanaryU84wz+/="a\b'%41&c d"#),
    ("(access token)", r#"AcsCanaryM71pe+/="a\b'%41&c"#),
    ("(refresh token)", r#"RfrCanaryG95wa+/="a\b'%41&c"#),
    ("(code)", r#"CodCanaryK36ty+/="a\b'%41&c"#),
    ("(device code)", r#"DevCanaryS12rn+/="a\b'%41&c"#),
];

/// So many of them an account holds; the others the provider gives.
const HELD: usize = 15;

const COOKIE: &str = CANARIES[9].1;
const BODY: &str = CANARIES[10].1;
const PATH: &str = CANARIES[11].1;
const ACCESS: &str = CANARIES[15].1;
const REFRESH: &str = CANARIES[16].1;
const CODE: &str = CANARIES[17].1;
const DEVICE: &str = CANARIES[18].1;

/// What the provider says beside them, which is no secret.
const PLAIN: &str = r#"PlnCanaryR24du+/="a\b'%41&c d"#;

/// So much of a value is its own word.
const WORD: usize = 14;

const MANIFEST: &str = r#"
[secrets.k_query]
[secrets.k_bearer]
[secrets.k_user]
[secrets.k_password]

[credentials.c-query]
scheme = "api-key"
secret = "k_query"
query = "apikey"
origins = ["api"]

[credentials.c-bearer]
scheme = "bearer"
secret = "k_bearer"
origins = ["api"]

[credentials.c-basic]
scheme = "basic"
user = "k_user"
secret = "k_password"
origins = ["api"]

[secrets.client_id]
[secrets.client_secret]

[credentials.c-oauth]
scheme = "oauth2"
flow = "client-credentials"
token = "{auth}/token"
client_id = "client_id"
secret = "client_secret"
scopes = ["orders.read"]
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"

[secrets.k_cookie]
[secrets.k_body]
[secrets.k_path]
[secrets.k_aws_id]
[secrets.k_aws]
[secrets.k_jwt]
purpose = "sign"
jwt = { algorithm = "HS256", issuer = "app", lifetime_s = 600, origins = ["api"] }

[credentials.c-cookie]
scheme = "api-key"
secret = "k_cookie"
cookie = "session"
origins = ["api"]

[credentials.c-body]
scheme = "api-key"
secret = "k_body"
body = "key"
origins = ["api"]

[credentials.c-path]
scheme = "api-key"
secret = "k_path"
path = "{key}"
origins = ["api"]

[credentials.c-aws]
scheme = "aws-sigv4"
access_key = "k_aws_id"
secret = "k_aws"
region = "here-1"
service = "x"
origins = ["api"]
"#;

/// How a person signs in, each way.
const SIGN_INS: &str = r#"
[credentials.c-code]
scheme = "oauth2"
authorize = "{auth}/authorize"
token = "{auth}/token"
client_id = "client_id"
secret = "client_secret"
scopes = ["orders.read"]
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"

[credentials.c-device]
scheme = "oauth2"
flow = "device-code"
device = "{auth}/device"
token = "{auth}/token"
client_id = "client_id"
secret = "client_secret"
scopes = ["orders.read"]
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"
"#;

const CREDENTIALS: [&str; 9] =
    ["c-oauth", "key", "c-query", "c-bearer", "c-basic", "c-cookie", "c-body", "c-path", "c-aws"];

/// A request with a credential: where it has its place, and the operation that may send it.
fn request(credential: &str, path: &str, query: &str) -> (&'static str, Value) {
    let url = match credential {
        "c-path" => format!("{{api}}/k{{key}}{path}{query}"),
        _ => format!("{{api}}{path}{query}"),
    };
    match credential {
        "c-body" => {
            let typed = json!([["content-type", "application/json"]]);
            let request = json!({"method": "POST", "headers": typed, "body": "{\"a\": 1}"});
            ("dump.write", with(request, json!({"url": url, "credential": credential})))
        }
        _ => ("dump", json!({"url": url, "credential": credential})),
    }
}

/// An object with more fields.
fn with(mut object: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// What the provider does on each path, and whether the guest reads it piece by piece.
const PATHS: [(&str, bool); 16] = [
    ("/ok", false),
    ("/ok", true),
    ("/chunked", true),
    ("/kept", false),
    ("/kept", false),
    ("/400", false),
    ("/401", false),
    ("/403", false),
    ("/422", false),
    ("/429", false),
    ("/500", false),
    ("/away", false),
    ("/round", false),
    ("/coded", false),
    ("/cut", false),
    ("/reset", false),
];

/// Every form of a value that is looked for, in lower case.
fn forms(value: &str) -> Vec<(&'static str, String)> {
    let bytes = value.as_bytes();
    let percent = |keeps: &dyn Fn(u8) -> bool| -> String {
        bytes.iter().map(|b| if keeps(*b) { char::from(*b).to_string() } else { format!("%{b:02x}") }).collect()
    };
    let json = serde_json::to_string(value).unwrap();
    let mut all = vec![
        ("raw", value.to_owned()),
        ("its word", value[..WORD].to_owned()),
        ("percent", percent(&|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))),
        ("percent, every byte", percent(&|_| false)),
        ("form", url::form_urlencoded::byte_serialize(bytes).collect()),
        ("hexadecimal", bytes.iter().map(|b| format!("{b:02x}")).collect()),
        ("JSON", json[1..json.len() - 1].to_owned()),
        ("JSON in JSON", {
            let twice = serde_json::to_string(&json).unwrap();
            twice[1..twice.len() - 1].trim_matches(['\\', '"']).to_owned()
        }),
    ];
    for (before, name) in ["base64", "base64, one byte on", "base64, two bytes on"].into_iter().enumerate() {
        for engine in
            [&base64::engine::general_purpose::STANDARD_NO_PAD, &base64::engine::general_purpose::URL_SAFE_NO_PAD]
        {
            let text = engine.encode([&b"xy"[..before], bytes].concat());
            // Digits at both ends hold bits of what stands around.
            all.push((name, text[[0, 2, 3][before]..text.len() - 1].to_owned()));
        }
    }
    all.into_iter().map(|(name, form)| (name, form.to_lowercase())).collect()
}

/// How a provider may write a value: each form within something longer.
fn written(value: &str) -> String {
    let bytes = value.as_bytes();
    let percent: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
    let form: String = url::form_urlencoded::byte_serialize(bytes).collect();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut all = vec![value.to_owned(), percent, form, hex, serde_json::to_string(value).unwrap()];
    for before in ["", "u", "us"] {
        all.push(base64::engine::general_purpose::STANDARD.encode(format!("{before}{value}:z")));
        all.push(base64::engine::general_purpose::URL_SAFE.encode(format!("{before}{value}:z")));
    }
    all.join(" ; ")
}

/// Everything that came out, by the name of where.
#[derive(Default)]
struct Sinks(Vec<(String, String)>);

impl Sinks {
    fn add(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>) {
        self.0.push((name.into(), String::from_utf8_lossy(bytes.as_ref()).to_lowercase()));
    }

    /// An error in every way that it can be shown.
    fn error(&mut self, name: &str, error: &Error) {
        let parts = [error.details(), error.body(), error.provider_code(), error.request_id(), error.endpoint()];
        self.add(name, format!("{error} {error:?} {error:#?} {} {parts:?}", error.message()));
        for part in parts.into_iter().flatten() {
            self.add(name, part);
        }
    }

    /// An answer or an error of the guest, and the memory in it.
    fn told(&mut self, name: &str, result: Result<Value, Error>) {
        match result {
            Err(error) => self.error(&format!("error of {name}"), &error),
            Ok(output) => {
                self.add(format!("answer of {name}"), output.to_string());
                // As the guest has it, not as JSON writes it.
                for seen in output["seen"].as_array().into_iter().flatten() {
                    for text in [&seen["body"], &seen["url"], &seen["error"]].into_iter().filter_map(Value::as_str) {
                        self.add(format!("answer of {name}"), text);
                    }
                    for piece in seen["headers"].as_array().into_iter().flatten() {
                        self.add(format!("answer of {name}"), piece[1].as_str().unwrap_or_default());
                    }
                }
                let memory = unhex(output["memory"].as_str().unwrap_or_default());
                if !memory.is_empty() {
                    assert!(memory.len() > 1 << 16, "this is no whole memory");
                    self.add("memory of the guest", memory);
                }
            }
        }
    }

    /// Every file below a folder.
    fn folder(&mut self, name: &str, folder: &Path) {
        let mut left = vec![folder.to_owned()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                self.add(
                    format!("{name} {}", path.file_name().unwrap().to_string_lossy()),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }

    /// Where a value shows itself, and how.
    fn showing(&self, value: &str) -> Vec<(&str, &'static str)> {
        let (names, texts): (Vec<&str>, Vec<String>) = forms(value).into_iter().unzip();
        self.holding(&texts).into_iter().map(|(sink, form)| (sink, names[form])).collect()
    }

    /// Which sink holds which of these, once each.
    fn holding(&self, texts: &[String]) -> Vec<(&str, usize)> {
        let search = AhoCorasick::new(texts).unwrap();
        let mut found = Vec::new();
        for (sink, text) in &self.0 {
            let held: BTreeSet<usize> =
                search.find_overlapping_iter(text).map(|found| found.pattern().as_usize()).collect();
            found.extend(held.into_iter().map(|at| (sink.as_str(), at)));
        }
        found
    }

    fn assert_clean(&self) {
        for (secret, value) in CANARIES {
            let found = self.showing(value);
            let around = found.first().and_then(|(name, form)| {
                let (_, text) = self.0.iter().find(|(sink, text)| {
                    sink == name
                        && forms(value).iter().any(|(kind, form_text)| kind == form && text.contains(form_text))
                })?;
                let (_, form) =
                    forms(value).into_iter().find(|(kind, form_text)| kind == form && text.contains(form_text))?;
                let at = text.find(&form)?;
                let (from, to) = (
                    text.floor_char_boundary(at.saturating_sub(200)),
                    text.ceil_char_boundary((at + 200).min(text.len())),
                );
                Some(text[from..to].to_owned())
            });
            assert!(found.is_empty(), "{secret} came out: {found:#?}\n{around:?}");
        }
    }

    /// That these sinks were reached at all.
    fn assert_reached(&self, sinks: &[&str]) {
        let found = self.showing(PLAIN);
        for sink in sinks {
            assert!(
                found.iter().any(|(name, _)| name.starts_with(sink)),
                "nothing plain came to {sink}, so nobody looked there"
            );
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Gives tokens, and now and then says in an error what it was asked with. Of its words the first are shown.
fn tokens(seen: &Seen) -> Reply {
    match seen.number {
        3 => {
            let words = format!("{REFRESH} {} {}", String::from_utf8_lossy(&seen.body), seen.text());
            Reply::status(400).body(json!({"error": "invalid_scope", "error_description": words}).to_string())
        }
        4 => Reply::status(500).body(format!("{} {}", seen.text(), written(ACCESS))),
        _ => given(seen),
    }
}

fn given(seen: &Seen) -> Reply {
    Reply::json(&json!({
        "access_token": ACCESS, "refresh_token": REFRESH, "token_type": "Bearer", "expires_in": 600, "echo": seen.text(),
    }))
}

/// Signs a person in, and refuses each way once, saying what it was asked with.
fn sign_in(seen: &Seen) -> Reply {
    let refused = |code: &str, words: String| {
        let body = json!({"error": code, "error_description": words});
        Reply::status(400).header("content-type", "application/json").body(body.to_string())
    };
    let form = String::from_utf8_lossy(&seen.body);
    match seen.number {
        _ if seen.target == "/device" => Reply::json(&json!({
            "device_code": DEVICE, "user_code": "WDJB-MJHT", "interval": 5, "expires_in": 1800,
            "verification_uri": "https://stand-in.test/device", "echo": seen.text(),
        })),
        1 => refused("invalid_grant", format!("{CODE} {form} {} {}", seen.text(), written(CODE))),
        4 => refused("authorization_pending", format!("{DEVICE} {form}")),
        _ => given(seen),
    }
}

/// Says everything it knows, in everything it can say. Tokens it knows from whoever has one, and so it is with what a
/// program prints, which is not run before it is needed.
fn answer(seen: &Seen) -> Reply {
    let has = |name: &str, value: &str| seen.header(name).is_some_and(|field| field.contains(value));
    let (has_token, has_cookie) = (has("authorization", ACCESS), has("cookie", COOKIE));
    let known: Vec<&(&str, &str)> = CANARIES
        .iter()
        .filter(|(name, value)| match *name {
            "k_cookie" => has_cookie,
            "(code)" | "(device code)" => false,
            _ => has_token || ![ACCESS, REFRESH].contains(value),
        })
        .collect();
    let all: Vec<String> =
        std::iter::once(written(PLAIN)).chain(known.iter().map(|(_, value)| written(value))).collect();
    let body = format!("{}\n{}", all.join("\n"), seen.text());
    let path = seen.target.split('?').next().unwrap();
    let path = &path[path.rfind('/').unwrap()..];
    let asked = seen.target.split_once('?').map_or("", |(_, query)| query);
    let reply = |status| {
        let mut reply = Reply::status(status).body(body.clone()).header("x-request-id", CANARIES[0].1);
        for (number, (_, value)) in known.iter().copied().chain([&("plain", PLAIN)]).enumerate() {
            reply =
                reply.header(&format!("x-echo-{number}"), value).header(&format!("x-forms-{number}"), &written(value));
        }
        reply
    };
    match path {
        "/chunked" => {
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(11).collect();
            Reply::chunked("text/plain", pieces)
        }
        "/kept" => reply(200).header("cache-control", "max-age=60").header("etag", "\"1\""),
        "/429" => reply(429).header("retry-after", "1"),
        "/away" => Reply::redirect(
            302,
            &format!("https://elsewhere.test/{}?{asked}&t={}", CANARIES[2].0, percent(CANARIES[2].1)),
        ),
        "/round" => Reply::redirect(302, &format!("/ok?again={}", percent(CANARIES[0].1))),
        "/coded" => reply(200).header("content-encoding", CANARIES[0].1),
        "/cut" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n{body}");
            Reply::raw(head)
        }
        "/reset" => Reply::reset(),
        _ => reply(path[1..].parse().unwrap_or(200)),
    }
}

fn percent(value: &str) -> String {
    value.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// The provider and its desk for tokens.
struct Both {
    api: Provider,
    auth: Provider,
}

impl Both {
    async fn start() -> Self {
        Self { api: Provider::answering(answer).await, auth: Provider::answering(tokens).await }
    }
}

fn scene(provider: &Both) -> Scene {
    let scene = Scene::of(guests::HOSTILE_DUMPS_MEMORY).with(&provider.api).at("auth", &provider.auth.url());
    scene.manifest(AUTHORITY).manifest(MANIFEST).grant(|connection| {
        connection.secrets = CANARIES[..HELD].iter().map(|(name, _)| (*name).to_owned()).collect();
        connection.limits.output_bytes = 32 << 20;
        connection.limits.log_bytes = 4 << 20;
        connection.limits.log_lines = 1_000;
        connection.limits.header_bytes = 256 << 10;
        // Everything is to be asked; what the breaker does is asked at the end.
        connection.breaker.failures = 1_000_000;
    })
}

/// Where those come from that the embedding program does not hold itself.
fn sources(folder: &Path) -> String {
    let (bearer, cookie) = (key_file(folder, "bearer", CANARIES[2].1), key_file(folder, "cookie", COOKIE));
    let text = |path: &Path| toml::Value::from(path.display().to_string());
    format!(
        "k_bearer = {{ file = {} }}\nk_cookie = {{ program = ['cat', {}], env = ['PATH'] }}\nk_body = {{ sealed = true }}\n",
        text(&bearer),
        text(&cookie)
    )
}

const ELSEWHERE: [&str; 3] = ["k_bearer", "k_cookie", "k_body"];

/// The secrets: in the program, a file, the sealed store, and from another program.
fn secrets(folder: &Path) -> wharfage::Account {
    let held = CANARIES[..HELD].iter().filter(|(name, _)| !ELSEWHERE.contains(name));
    held.fold(account(&format!("[secrets]\n{}", sources(folder))), |account, (name, value)| {
        account.with_secret(name, SecretSource::Value(SecretValue::new(*value)))
    })
}

/// Connects, and keeps what comes from the sealed store.
async fn connect(scene: Scene, host: &Host, keys: &Path) -> Plugin {
    let plugin = scene.connect(host, &secrets(keys)).await.unwrap();
    plugin.secrets().keep("k_body", &SecretValue::new(BODY), SecretSlot::Current).await.unwrap();
    plugin
}

/// A file that is its owner's alone.
fn key_file(folder: &Path, name: &str, value: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    secret_file(&path, &format!("{value}\n"));
    path
}

async fn dump(plugin: &Plugin, input: Value) -> Result<Value, Error> {
    ask(plugin, "dump", input).await
}

async fn ask(plugin: &Plugin, operation: &str, input: Value) -> Result<Value, Error> {
    plugin.call::<Value>(operation, &input).await.map(|answer| answer.output)
}

/// One after the other, every credential on every path, and everything else that a plugin can do.
async fn traffic(plugin: &Plugin, sinks: &mut Sinks) {
    let signing = json!({"sign": ["signing", "k_query"], "verify": ["verifying", "api_key"]});
    sinks.told("signing", dump(plugin, signing).await);
    for credential in CREDENTIALS {
        let (operation, request) = request(credential, "/ok", "");
        sinks.told("first", ask(plugin, operation, json!({"requests": [request]})).await);
    }
    sinks.told("a made token", dump(plugin, json!({"make": ["k_jwt", "k_aws"], "dump": true})).await);
    for (at, (path, open)) in PATHS.into_iter().enumerate() {
        for (number, credential) in CREDENTIALS.into_iter().enumerate() {
            let (operation, request) = request(credential, path, &format!("?q={number}"));
            let request = with(request, json!({"open": open}));
            let is_dumped = at % 4 == 0 && number % 4 == at / 4;
            sinks.told(path, ask(plugin, operation, json!({"requests": [request], "dump": is_dumped})).await);
            // Handed on as the plugin's own error.
            sinks.told(path, ask(plugin, operation, json!({"requests": [request], "fail": true})).await);
        }
    }
    let ok = json!({"url": "{api}/ok"});
    sinks.told("a trap", dump(plugin, json!({"requests": [ok], "trap": true})).await);
    for refused in [
        json!({"url": "{api}/ok", "headers": [["authorization", "mine"]]}),
        json!({"url": "{api}/ok?apikey=mine", "credential": "c-query"}),
        json!({"url": "{other}/ok", "credential": "key"}),
        json!({"url": "https://elsewhere.test/"}),
        json!({"url": "{api}/ok", "credential": "no-such"}),
    ] {
        sinks.told("a refusal", dump(plugin, json!({"requests": [refused]})).await);
    }
    let write = json!({"requests": [{"url": "{api}/500", "method": "POST", "body": "x", "repeat": "keyed"}]});
    let written = plugin.call::<Value>("dump.write", &write).await.map(|answer| answer.output);
    sinks.told("a write", written);
}

/// A value as a part of a path.
fn in_path(value: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    value.bytes().map(|b| if keeps(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What the host made of a secret for one request: tokens and signatures. They work as long as they last.
fn made(provider: &Provider) -> Vec<String> {
    let fields = provider.seen().into_iter().filter_map(|seen| seen.header("authorization").map(str::to_owned));
    let made = fields.filter_map(|field| {
        let token = field.strip_prefix("Bearer ").filter(|token| token.starts_with("ey"));
        token.or(field.split("Signature=").nth(1)).map(str::to_owned)
    });
    made.collect()
}

fn assert_everything_was_sent(provider: &Both) {
    let seen: String = provider.api.seen().iter().map(|seen| seen.text() + "\n").collect();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", CANARIES[3].1, CANARIES[4].1));
    let query: String = url::form_urlencoded::byte_serialize(CANARIES[1].1.as_bytes()).collect();
    for sent in [
        format!("App {}", CANARIES[0].1),
        query,
        format!("Bearer {}", CANARIES[2].1),
        format!("Bearer {ACCESS}"),
        format!("Basic {basic}"),
        format!("session={COOKIE}"),
        serde_json::to_string(BODY).unwrap(),
        format!("/k{}", in_path(PATH)),
        format!("AWS4-HMAC-SHA256 Credential={}", CANARIES[12].1),
    ] {
        assert!(seen.contains(&sent), "{sent} was never sent, so nothing was tried");
    }
}

#[tokio::test]
pub(crate) async fn hostile_dumps_memory() {
    let folder = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let provider = Both::start().await;
    let logged = Logged::default();
    let (told, kept) = (Logged::default(), wharfage::otlp::Spans::new());
    let receiver = Provider::answering(|_| Reply::status(200)).await;
    let _listening = {
        use tracing_subscriber::filter::EnvFilter;
        use tracing_subscriber::prelude::*;
        const ALL: &str = "wharfage=trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace";
        // As an embedder's own subscriber has it, which redacts nothing, and as the program has it.
        let bare = tracing_subscriber::fmt::layer().with_writer(logged.clone()).with_ansi(false);
        let lines = wharfage::observe::Lines::new(wharfage::observe::LineFormat::Json, told.clone());
        let all = tracing_subscriber::registry().with(bare.with_filter(EnvFilter::new(ALL)));
        tracing::subscriber::set_default(all.with(lines.with_filter(EnvFilter::new(ALL))).with(kept.layer()))
    };
    let mut sinks = Sinks::default();
    let steps = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    {
        let builder =
            Host::builder().state_dir(folder.path().join("state")).code_dir(compiled_code()).clock(skipping());
        let heard = steps.clone();
        let builder = builder.observer(move |step| *heard.lock().unwrap() += &format!("{step:?}\n"));
        let host = builder.run_programs(true).build().unwrap();
        // By a clock that stands still: where waits are over at once, so is the time for sending.
        let still = wharfage::ManualClock::new(wharfage::Timestamp::from_millis(1_000), 1);
        let exporter = Host::builder().clock(still).build().unwrap();
        let exporting = crate::traces::export_all(&exporter, &receiver, &kept, folder.path(), true);
        let plugin = connect(scene(&provider), &host, keys.path()).await;
        traffic(&plugin, &mut sinks).await;
        exporting.end().await;
        let spans: Vec<u8> = receiver.seen().into_iter().flat_map(|seen| seen.body).collect();
        assert!(String::from_utf8_lossy(&spans).matches("server.address").count() > 100, "no spans were sent");
        sinks.add("spans", spans);
        assert_everything_was_sent(&provider);
        assert!(plugin.leaks() > 100, "the provider said {} times what it knows", plugin.leaks());
        sinks.add("explain", wharfage::explain(plugin.needs(), plugin.grant()));
        sinks.add("sources", format!("{:?}", plugin.secrets().sources()));
        sinks.add("debug", format!("{host:?} {plugin:?} {:?} {:?}", plugin.grant(), plugin.secrets()));
        sinks.add("grant", format!("{:?}", secrets(keys.path())));
        sinks.add("drift", format!("{:?} {:?}", plugin.drift(), plugin.circuits()));
        plugin.flush().await;
        let rows = host.audit().page(0, 100_000).await.unwrap();
        assert!(rows.len() > PATHS.len() * CREDENTIALS.len(), "{} rows", rows.len());
        sinks.add("audit", rows.iter().map(|row| row.text.clone() + "\n").collect::<String>());
        sinks.add("audit", format!("{rows:?} {:?}", host.audit().check().await.unwrap()));
    }
    // With the breaker open, the last good answers and what is said without any.
    {
        let builder = Host::builder().code_dir(compiled_code()).clock(skipping());
        let host = builder.run_programs(true).build().unwrap();
        let broken = scene(&provider).grant(|connection| connection.breaker.failures = 2);
        let plugin = connect(broken, &host, keys.path()).await;
        for path in ["/500", "/500", "/ok", "/kept"] {
            sinks
                .told("an open breaker", dump(&plugin, json!({"requests": [{"url": format!("{{api}}{path}")}]})).await);
        }
        assert!(format!("{:?}", plugin.circuits()).contains("Open"));
    }
    taped(&provider, folder.path(), keys.path(), &mut sinks).await;
    sinks.add("steps", steps.lock().unwrap().as_str());
    sinks.add("log", logged.text());
    sinks.add("lines", told.text());
    sinks.folder("state folder", &folder.path().join("state"));
    assert!(sinks.0.iter().any(|(name, _)| name.contains("state.sqlite")));
    sinks.assert_clean();
    let made = made(&provider.api);
    assert!(made.iter().any(|made| made.starts_with("ey")) && made.iter().any(|made| made.len() == 64), "{made:?}");
    let made: Vec<String> = made.iter().map(|made| made.to_lowercase()).collect();
    let found = sinks.holding(&made);
    assert!(found.is_empty(), "what was made of a secret came out: {found:?}");
    sinks.assert_reached(&[
        "answer of /ok",
        "answer of /chunked",
        "error of /401",
        "error of /ok",
        "error of a trap",
        "memory",
        "log",
        "lines",
        "tape",
    ]);
}

/// What is recorded: a file, or the reason why there is none.
async fn taped(provider: &Both, folder: &Path, keys: &Path, sinks: &mut Sinks) {
    for (path, open) in PATHS {
        let file = folder.join("tape.json");
        let _ = std::fs::remove_file(&file);
        let tape = Tape::open(&file, TapeMode::Record).unwrap();
        let builder = Host::builder().code_dir(compiled_code()).clock(skipping()).tape(tape.clone());
        let host = builder.run_programs(true).build().unwrap();
        let plugin = connect(scene(provider), &host, keys).await;
        // A tape holds one call.
        let requests: Vec<Value> =
            CREDENTIALS.iter().map(|credential| with(request(credential, path, "").1, json!({"open": open}))).collect();
        let input = json!({"requests": requests, "make": ["k_jwt"], "sign": ["signing"], "verify": ["verifying"]});
        sinks.told("a recording", ask(&plugin, "dump.write", input).await);
        match tape.finish() {
            Ok(()) => {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(!text.contains("/token"), "a token exchange is on tape (R14):\n{text}");
                sinks.add("tape", text);
            }
            Err(error) => sinks.error("no tape", &error),
        }
    }
}

/// A search that finds nothing wherever something lies would prove nothing.
#[test]
fn the_search_finds_what_is_there() {
    for (name, value) in CANARIES {
        for (form, text) in forms(value) {
            let mut sinks = Sinks::default();
            sinks.add("elsewhere", "nothing");
            sinks.add("here", format!("before {} after", text.to_uppercase()));
            let found = sinks.showing(value);
            assert!(found.contains(&("here", form)), "{name} as {form} is not found: {found:?}");
            assert!(found.iter().all(|(sink, _)| *sink == "here"));
        }
        // And in what the provider writes, each form is found where it stands among other things.
        let mut sinks = Sinks::default();
        sinks.add("echo", written(value));
        sinks.add("memory", [&[0u8, 255, 128][..], value.as_bytes(), &[0, 254]].concat());
        let found = sinks.showing(value);
        let kinds = [
            "raw",
            "percent, every byte",
            "form",
            "hexadecimal",
            "JSON",
            "base64",
            "base64, one byte on",
            "base64, two bytes on",
        ];
        for form in kinds {
            assert!(found.contains(&("echo", form)), "{name} as {form} is not found: {found:?}");
        }
        assert!(found.contains(&("memory", "raw")));
        assert!(std::panic::catch_unwind(move || sinks.assert_clean()).is_err());
        for (other, _) in CANARIES.iter().filter(|(other, _)| *other != name) {
            let mut sinks = Sinks::default();
            sinks.add("echo", written(value));
            let value = CANARIES.iter().find(|(name, _)| name == other).unwrap().1;
            assert!(sinks.showing(value).is_empty(), "{other} is found in {name}");
        }
    }
}

/// A folder with the component and a `wharfage.toml` that leads to the provider.
async fn write_config(provider: &Both, scene: Scene, folder: &Path) -> String {
    std::fs::write(folder.join("plugin.wasm"), scene.component().await.as_slice()).unwrap();
    let mut lines = String::from("[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\n");
    lines += &sources(folder);
    for (name, _) in CANARIES[..HELD].iter().filter(|(name, _)| !ELSEWHERE.contains(name)) {
        lines += &format!("{name} = {{ env = 'CANARY_{name}' }}\n");
    }
    let names: Vec<String> = CANARIES[..HELD].iter().map(|(name, _)| format!("'{name}'")).collect();
    let names = names.join(", ");
    lines += &format!(
        "[connections.desk]\nplugin = 'p'\naccount = 'a'\nimports = ['http', 'secrets', 'state']\nsecrets = [{names}]\n\
         private_addresses = ['127.0.0.1/32']\norigins = ['{0}', '{1}']\nlimits = {{ header_bytes = 262144, retry_wait_ms = 1 }}\n\
         [connections.desk.base]\napi = '{0}'\nauth = '{1}'\n",
        provider.api.url(),
        provider.auth.url()
    );
    std::fs::write(folder.join("wharfage.toml"), &lines).unwrap();
    lines
}

/// The program with everything said aloud, its keys from the environment and a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_shows_no_value_either() {
    let provider = Both::start().await;
    let folder = tempfile::tempdir().unwrap();
    write_config(&provider, scene(&provider), folder.path()).await;
    let mut command = Command::new(program());
    command.args(["secret", "set", "desk", "k_body", "--state-dir", "state"]).current_dir(folder.path());
    let mut setting = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut setting.stdin.take().unwrap(), BODY.as_bytes()).unwrap();
    assert!(setting.wait().unwrap().success());
    let mut sinks = Sinks::default();
    let runs: Vec<Vec<String>> = CREDENTIALS
        .iter()
        .flat_map(|credential| ["/ok", "/401", "/400", "/away"].map(|path| (credential, path)))
        .map(|(credential, path)| {
            let (operation, request) = request(credential, path, "");
            let input = json!({"requests": [request], "make": ["k_jwt"], "sign": ["signing"], "fail": path == "/401"});
            ["call", "desk", operation, "--input", &input.to_string(), "--config", "wharfage.toml"]
                .map(String::from)
                .to_vec()
        })
        .chain([vec!["explain".into(), "desk".into()], vec!["audit".into(), "--json".into()]])
        .collect();
    for (number, arguments) in runs.into_iter().enumerate() {
        let mut command = Command::new(program());
        command.env("WHARFAGE_LOG_FORMAT", if number % 2 == 0 { "human" } else { "json" });
        command.args(&arguments).args(["-vv", "--state-dir", "state"]).current_dir(folder.path()).env("NO_COLOR", "1");
        for (name, value) in CANARIES[..HELD].iter().filter(|(name, _)| !ELSEWHERE.contains(name)) {
            command.env(format!("CANARY_{name}"), value);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let name = &arguments[0];
        assert!(output.status.code().is_some());
        sinks.add(format!("{name} out"), &output.stdout);
        sinks.add(format!("{name} err"), &output.stderr);
    }
    assert_everything_was_sent(&provider);
    let audited = sinks.0.iter().find(|(name, _)| name == "audit out").unwrap();
    assert!(audited.1.contains("\"action\":\"placed\"") && audited.1.contains("\"action\":\"sign\""), "{}", audited.1);
    sinks.folder("state folder", &folder.path().join("state"));
    sinks.assert_clean();
    sinks.assert_reached(&["call out", "call err"]);
}

/// A person signs in in a browser and on another device, is refused once each way, and calls are made with what came of it.
#[tokio::test]
async fn no_value_of_a_sign_in_comes_out() {
    let (folder, mut sinks) = (tempfile::tempdir().unwrap(), Sinks::default());
    let provider = Both { api: Provider::answering(answer).await, auth: Provider::answering(sign_in).await };
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace");
    let lines = write_config(&provider, scene(&provider).manifest(SIGN_INS), folder.path()).await;
    let mut config = Config::parse(&lines, &folder.path().join("wharfage.toml")).unwrap();
    let (name, held) = config.accounts.pop_first().unwrap();
    let held = CANARIES[..HELD]
        .iter()
        .filter(|(name, _)| !ELSEWHERE.contains(name))
        .fold(held, |account, (name, value)| account.with_secret(name, SecretSource::Value(SecretValue::new(*value))));
    config.accounts.insert(name, held);
    let state = folder.path().join("state");
    {
        let builder = Host::builder().state_dir(&state).code_dir(compiled_code()).clock(skipping());
        let host = builder.run_programs(true).build().unwrap();
        let code = host.authorize(&config, "desk", Some("c-code")).await.unwrap();
        for is_refused in [true, false] {
            let mut signing_in = code.sign_in().await.unwrap();
            let link = url::Url::parse(signing_in.link()).unwrap();
            let state = link.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
            let mut back = url::Url::parse(signing_in.redirect()).unwrap();
            back.query_pairs_mut().append_pair("state", &state).append_pair("code", CODE);
            let shown = format!("{code:?} {signing_in:?}");
            assert!(!shown.contains(&state), "{shown}");
            sinks.add("debug", shown);
            match signing_in.finish(back.as_str()).await {
                Ok(connected) => sinks.add("connected", format!("{connected} {connected:?}")),
                Err(error) if is_refused => sinks.error("a refused code", &error),
                Err(error) => panic!("{error}"),
            }
        }
        let device = host.authorize(&config, "desk", Some("c-device")).await.unwrap().device().await.unwrap();
        sinks.add("device", format!("{} {} {:?}", device.user_code(), device.address(), device.whole_address()));
        sinks.add("debug", format!("{device:?}"));
        let connected = device.wait().await.unwrap();
        sinks.add("connected", format!("{connected} {connected:?}"));
        assert_eq!(provider.auth.count(), 5, "refused, given; a device, pending, given");
        let plugin = host.open(&config, "desk").await.unwrap();
        plugin.secrets().keep("k_body", &SecretValue::new(BODY), SecretSlot::Current).await.unwrap();
        for credential in ["c-code", "c-device"] {
            for (path, is_dumped) in [("/ok", true), ("/401", false), ("/400", false), ("/away", false)] {
                let request = request(credential, path, "").1;
                sinks.told(path, dump(&plugin, json!({"requests": [request], "dump": is_dumped})).await);
            }
        }
        sinks.add("states", format!("{:?}", plugin.token_states().await.unwrap()));
        let explained = wharfage::explain(plugin.needs(), plugin.grant());
        let asked = format!("\nOnly the host asks, to sign in and for keys:\n  POST {}/**\n", provider.auth.url());
        assert!(explained.contains(&asked), "{explained}");
        sinks.add("explain", explained);
        plugin.flush().await;
        let rows = host.audit().page(0, 100_000).await.unwrap();
        sinks.add("audit", rows.iter().map(|row| row.text.clone() + "\n").collect::<String>());
        for action in ["connect", "placed", "refresh"] {
            assert!(rows.iter().any(|row| row.text.contains(&format!("\"action\":\"{action}\""))), "{action}");
        }
    }
    sinks.add("log", logged.text());
    sinks.folder("state folder", &state);
    let seen: String = provider.auth.seen().iter().map(|seen| seen.text() + "\n").collect();
    let form = |value: &str| url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
    assert!(seen.contains(&form(CODE)) && seen.contains(&form(DEVICE)), "nothing was signed in with");
    let api: String = provider.api.seen().iter().map(|seen| seen.text()).collect();
    assert!(api.contains(&format!("Bearer {ACCESS}")));
    sinks.assert_clean();
    sinks.assert_reached(&["answer of /ok", "log", "memory"]);
}
