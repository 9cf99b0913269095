//! A value of its own for every secret of every kind, traffic of every sort, and a search of everything that comes out.
//!
//! The provider knows all the values and sends them back in every form that is looked for, in headers, bodies and places
//! to go to; the guest logs, prints, keeps and answers what it sees of it, and its whole memory. Beside the secrets goes a
//! word that is none, in the same forms: it must be found in every sink that a provider's words can reach, or nobody
//! looked there.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use serde_json::{Value, json};
use wharfage::tape::{Tape, TapeMode};
use wharfage::{Error, Host, Plugin, SecretSource, SecretValue};
use wharfage_tests::scene::{AUTHORITY, account};
use wharfage_tests::{Provider, Reply, Scene, Seen, compiled_code, guests, skipping};

use crate::cli::program;
use crate::log::Logged;

/// Name and value of each secret. Values begin with a word of their own and go on with what encoders write differently.
const CANARIES: [(&str, &str); 11] = [
    ("api_key", r#"HdrCanary7fKq2+/="a\b'%41&c d"#),
    ("k_query", r#"QryCanaryZ81xw+/="a\b'%41&c d"#),
    ("k_bearer", r#"BrrCanaryP30mt+/="a\b'%41&c d"#),
    ("k_user", r#"UsrCanaryL55cv+/='a\b~%41&c d"#),
    ("k_password", r#"PwdCanaryT19gy+/="a\b'%41&c d"#),
    ("signing", r#"SgnCanaryW62hb+/="a\b'%41&c d"#),
    ("verifying", r#"VfyCanaryN47js+/="a\b'%41&c d"#),
    ("client_id", "CidCanaryB83fo+/='a~%41"),
    ("client_secret", r#"CscCanaryX06ru+/="a\b'%41&c d"#),
    ("(access token)", r#"AcsCanaryM71pe+/="a\b'%41&c"#),
    ("(refresh token)", r#"RfrCanaryG95wa+/="a\b'%41&c"#),
];

/// So many of them an account holds; the others the provider gives.
const HELD: usize = 9;

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
"#;

const CREDENTIALS: [&str; 5] = ["c-oauth", "key", "c-query", "c-bearer", "c-basic"];

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
        let forms = forms(value);
        let shows = |(_, text): &(String, String)| {
            forms.iter().filter(|(_, form)| text.contains(form)).map(|(form, _)| *form).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(|sink| shows(sink).into_iter().map(|form| (sink.0.as_str(), form))).collect()
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

/// Gives tokens, and now and then says in an error what it was asked with.
fn tokens(seen: &Seen) -> Reply {
    match seen.number {
        3 => Reply::status(400).body(json!({"error": "invalid_scope", "error_description": seen.text()}).to_string()),
        4 => Reply::status(500).body(format!("{} {}", seen.text(), written(CANARIES[9].1))),
        _ => Reply::json(&json!({
            "access_token": CANARIES[9].1, "refresh_token": CANARIES[10].1, "token_type": "Bearer", "expires_in": 600,
            "echo": seen.text(),
        })),
    }
}

/// Says everything it knows, in everything it can say. Tokens it knows from whoever has one.
fn answer(seen: &Seen) -> Reply {
    let has_token = seen.header("authorization").is_some_and(|value| value.contains(CANARIES[9].1));
    let known = if has_token { &CANARIES[..] } else { &CANARIES[..HELD] };
    let all: Vec<String> =
        std::iter::once(written(PLAIN)).chain(known.iter().map(|(_, value)| written(value))).collect();
    let body = format!("{}\n{}", all.join("\n"), seen.text());
    let path = seen.target.split('?').next().unwrap();
    let asked = seen.target.split_once('?').map_or("", |(_, query)| query);
    let reply = |status| {
        let mut reply = Reply::status(status).body(body.clone()).header("x-request-id", CANARIES[0].1);
        for (number, (_, value)) in known.iter().chain([&("plain", PLAIN)]).enumerate() {
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

/// The secrets, one of them in a file.
fn secrets(folder: &Path) -> wharfage::Account {
    let held = CANARIES[..HELD].iter().fold(account(""), |account, (name, value)| {
        account.with_secret(name, SecretSource::Value(SecretValue::new(*value)))
    });
    held.with_secret("k_bearer", SecretSource::File(key_file(folder, "bearer", CANARIES[2].1)))
}

/// A file that is its owner's alone.
fn key_file(folder: &Path, name: &str, value: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("{value}\n")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    path
}

async fn dump(plugin: &Plugin, input: Value) -> Result<Value, Error> {
    plugin.call::<Value>("dump", &input).await.map(|answer| answer.output)
}

/// One after the other, every credential on every path, and everything else that a plugin can do.
async fn traffic(plugin: &Plugin, sinks: &mut Sinks) {
    let signing = json!({"sign": ["signing", "k_query"], "verify": ["verifying", "api_key"]});
    sinks.told("signing", dump(plugin, signing).await);
    for credential in CREDENTIALS {
        sinks.told("first", dump(plugin, json!({"requests": [{"url": "{api}/ok", "credential": credential}]})).await);
    }
    for (at, (path, open)) in PATHS.into_iter().enumerate() {
        for (number, credential) in CREDENTIALS.into_iter().enumerate() {
            let request = json!({"url": format!("{{api}}{path}?q={number}"), "credential": credential, "open": open});
            let is_dumped = at % 4 == 0 && at / 4 == number;
            sinks.told(path, dump(plugin, json!({"requests": [request], "dump": is_dumped})).await);
            // Handed on as the plugin's own error.
            sinks.told(path, dump(plugin, json!({"requests": [request], "fail": true})).await);
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

fn assert_everything_was_sent(provider: &Both) {
    let seen: String = provider.api.seen().iter().map(|seen| seen.text() + "\n").collect();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", CANARIES[3].1, CANARIES[4].1));
    let query: String = url::form_urlencoded::byte_serialize(CANARIES[1].1.as_bytes()).collect();
    for sent in [
        format!("App {}", CANARIES[0].1),
        query,
        format!("Bearer {}", CANARIES[2].1),
        format!("Bearer {}", CANARIES[9].1),
        format!("Basic {basic}"),
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
    let _listening = logged.listen("wharfage=trace,hyper=trace,hyper_util=trace,reqwest=trace,h2=trace,rustls=trace");
    let mut sinks = Sinks::default();
    let steps = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    {
        let builder =
            Host::builder().state_dir(folder.path().join("state")).code_dir(compiled_code()).clock(skipping());
        let heard = steps.clone();
        let host = builder.observer(move |step| *heard.lock().unwrap() += &format!("{step:?}\n")).build().unwrap();
        let plugin = scene(&provider).connect(&host, &secrets(keys.path())).await.unwrap();
        traffic(&plugin, &mut sinks).await;
        assert_everything_was_sent(&provider);
        assert!(plugin.leaks() > 100, "the provider said {} times what it knows", plugin.leaks());
        sinks.add("explain", wharfage::explain(plugin.needs(), plugin.grant()));
        sinks.add("sources", format!("{:?}", plugin.secrets().sources()));
        sinks.add("grant", format!("{:?}", secrets(keys.path())));
        sinks.add("drift", format!("{:?} {:?}", plugin.drift(), plugin.circuits()));
        plugin.settle().await;
        let rows = host.audit().page(0, 100_000).await.unwrap();
        assert!(rows.len() > PATHS.len() * CREDENTIALS.len(), "{} rows", rows.len());
        sinks.add("audit", rows.iter().map(|row| row.text.clone() + "\n").collect::<String>());
        sinks.add("audit", format!("{rows:?} {:?}", host.audit().check().await.unwrap()));
    }
    // With the breaker open, the last good answers and what is said without any.
    {
        let host = Host::builder().code_dir(compiled_code()).clock(skipping()).build().unwrap();
        let broken = scene(&provider).grant(|connection| connection.breaker.failures = 2);
        let plugin = broken.connect(&host, &secrets(keys.path())).await.unwrap();
        for path in ["/500", "/500", "/ok", "/kept"] {
            sinks
                .told("an open breaker", dump(&plugin, json!({"requests": [{"url": format!("{{api}}{path}")}]})).await);
        }
        assert!(format!("{:?}", plugin.circuits()).contains("Open"));
    }
    taped(&provider, folder.path(), keys.path(), &mut sinks).await;
    sinks.add("steps", steps.lock().unwrap().as_str());
    sinks.add("log", logged.text());
    sinks.folder("state folder", &folder.path().join("state"));
    assert!(sinks.0.iter().any(|(name, _)| name.contains("state.sqlite")));
    sinks.assert_clean();
    sinks.assert_reached(&[
        "answer of /ok",
        "answer of /chunked",
        "error of /401",
        "error of /ok",
        "error of a trap",
        "memory",
        "log",
        "tape",
    ]);
}

/// What is recorded: a file, or the reason why there is none.
async fn taped(provider: &Both, folder: &Path, keys: &Path, sinks: &mut Sinks) {
    for (path, open) in PATHS {
        let file = folder.join("tape.json");
        let _ = std::fs::remove_file(&file);
        let tape = Tape::open(&file, TapeMode::Record).unwrap();
        let host = Host::builder().code_dir(compiled_code()).clock(skipping()).tape(tape.clone()).build().unwrap();
        let plugin = scene(provider).connect(&host, &secrets(keys)).await.unwrap();
        let ask = |credential| json!({"url": format!("{{api}}{path}"), "credential": credential, "open": open});
        // A tape holds one call.
        let requests: Vec<Value> = CREDENTIALS.map(ask).to_vec();
        let input = json!({"requests": requests, "sign": ["signing"], "verify": ["verifying"]});
        sinks.told("a recording", dump(&plugin, input).await);
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

/// The program with everything said aloud, its keys from the environment and a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_shows_no_value_either() {
    let provider = Both::start().await;
    let folder = tempfile::tempdir().unwrap();
    let bytes = scene(&provider).component().await;
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    let file = key_file(folder.path(), "bearer", CANARIES[2].1);
    let mut lines = String::from("[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\n");
    for (name, _) in &CANARIES[..HELD] {
        let name = *name;
        lines += &match name {
            "k_bearer" => format!("{name} = {{ file = {} }}\n", toml::Value::from(file.display().to_string())),
            _ => format!("{name} = {{ env = 'CANARY_{name}' }}\n"),
        };
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
    std::fs::write(folder.path().join("wharfage.toml"), lines).unwrap();
    let mut sinks = Sinks::default();
    let runs: Vec<Vec<String>> = CREDENTIALS
        .iter()
        .flat_map(|credential| ["/ok", "/401", "/400", "/away"].map(|path| (credential, path)))
        .map(|(credential, path)| {
            let request = json!({"url": format!("{{api}}{path}"), "credential": credential});
            let input = json!({"requests": [request], "sign": ["signing"], "fail": path == "/401"});
            vec!["call".into(), "desk".into(), "dump".into(), "--input".into(), input.to_string()]
        })
        .chain([vec!["explain".into(), "desk".into()], vec!["audit".into(), "--json".into()]])
        .collect();
    for arguments in runs {
        let mut command = Command::new(program());
        command.args(&arguments).args(["-vv", "--state-dir", "state"]).current_dir(folder.path()).env("NO_COLOR", "1");
        for (name, value) in CANARIES[..HELD].iter().filter(|(name, _)| *name != "k_bearer") {
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
    assert!(audited.1.contains("\"deed\":\"placed\"") && audited.1.contains("\"deed\":\"sign\""), "{}", audited.1);
    sinks.folder("state folder", &folder.path().join("state"));
    sinks.assert_clean();
    sinks.assert_reached(&["call out", "call err"]);
}
