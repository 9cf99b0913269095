//! An app that signs for itself and exchanges that for a token: whatever plugin's provider has it so.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{rsa, signature};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wharfage::tape::Fixture;
use wharfage::{Account, Clock as _, Connection, Error, Kind, ManualClock, Plugin, SecretSource, SecretValue};
use wharfage_tests::provider::Seen;
use wharfage_tests::scene::{host, imports};
use wharfage_tests::{NOW, PLUGINS, PluginFolder, Provider, Reply, component};

const APP: &str = "Iv23liAbCdEfGhIjKlMn";
const INSTALLATION: &str = "12345678";

/// What the provider does.
struct Setup {
    public_key: Vec<u8>,
    now: ManualClock,
    /// How many tokens were given.
    given: AtomicUsize,
    /// Tokens up to this one are refused.
    refused_to: AtomicUsize,
    /// The status of a refusal to give one; 0 for none.
    status: AtomicU16,
    troubles: Mutex<Vec<String>>,
    answer: Vec<u8>,
}

impl Setup {
    fn answer(&self, seen: &Seen) -> Reply {
        let shown = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if seen.method == "GET" {
            let number = shown.strip_prefix("ghs_stand-in-").and_then(|number| number.parse().ok()).unwrap_or(0);
            return match number > self.refused_to.load(Ordering::SeqCst) {
                true => Reply::status(200).header("content-type", "application/json").body(self.answer.clone()),
                false => Reply::status(401).body("{\"message\": \"Bad credentials\"}"),
            };
        }
        if let Err(trouble) = self.check(seen, shown) {
            self.troubles.lock().unwrap().push(trouble);
        }
        match self.status.load(Ordering::SeqCst) {
            0 => {}
            status => {
                return Reply::status(status).body("{\"message\": \"This installation has been suspended\"}");
            }
        }
        let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({
            "token": format!("ghs_stand-in-{number}"), "expires_at": self.now.now().plus(3_600_000).to_string(),
            "permissions": {"issues": "write", "contents": "read"}, "repository_selection": "selected",
        });
        Reply::status(201).header("content-type", "application/json").body(body.to_string())
    }

    /// What the provider's documentation wants of such a request.
    fn check(&self, seen: &Seen, token: &str) -> Result<(), String> {
        let at = format!("/app/installations/{INSTALLATION}/access_tokens");
        if (seen.method.as_str(), seen.target.as_str(), seen.body.len()) != ("POST", at.as_str(), 0) {
            return Err(format!("{} {}", seen.method, seen.target));
        }
        let (message, signed) = token.rsplit_once('.').ok_or("no token")?;
        let signed = URL_SAFE_NO_PAD.decode(signed).map_err(|error| error.to_string())?;
        signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(message.as_bytes(), &signed)
            .map_err(|_| "the signature is not the app's")?;
        let claims = URL_SAFE_NO_PAD.decode(message.split_once('.').ok_or("no token")?.1).unwrap();
        let claims: Value = serde_json::from_slice(&claims).map_err(|error| error.to_string())?;
        let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
        let (now_s, second) = (self.now.now().as_millis() / 1000, |name: &str| claims[name].as_u64().unwrap());
        let is_good =
            claims["iss"] == APP && second("iat") < now_s && (now_s + 1..=now_s + 600).contains(&second("exp"));
        if is_good && names == ["exp", "iat", "iss"] { Ok(()) } else { Err(claims.to_string()) }
    }
}

struct Set {
    setup: Arc<Setup>,
    provider: Provider,
    clock: ManualClock,
    key: String,
    operation: String,
    state: tempfile::TempDir,
    bytes: Arc<Vec<u8>>,
}

impl Set {
    async fn new() -> Self {
        let signs_so = |plugin: &&PluginFolder| plugin.manifest().contains("flow = \"exchange\"");
        let plugin = *PLUGINS.iter().find(signs_so).expect("a plugin whose provider has apps");
        let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
        // A fixture whose one answer is good for any number of calls.
        let path = std::path::Path::new(plugin.folder).join("fixtures/limits.get.json");
        let fixture = Fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let clock = ManualClock::skipping(NOW, 1);
        let setup = Arc::new(Setup {
            public_key: key.public_key().as_ref().to_vec(),
            now: clock.clone(),
            given: AtomicUsize::new(0),
            refused_to: AtomicUsize::new(0),
            status: AtomicU16::new(0),
            troubles: Mutex::default(),
            answer: fixture.exchanges[0].response.body(&|_| None),
        });
        let provider = Provider::answering({
            let setup = setup.clone();
            move |seen| setup.answer(seen)
        })
        .await;
        // The form in which the provider gives keys (PKCS #1) stands inside the other one, after 26 bytes.
        let whole = key.as_der().unwrap();
        let pem = format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
            STANDARD.encode(&whole.as_ref()[26..])
        );
        let state = tempfile::tempdir().unwrap();
        Self { setup, provider, clock, key: pem, operation: fixture.operation, state, bytes }
    }

    async fn open(&self) -> Plugin {
        let host = host(self.state.path(), self.clock.clone());
        let url = self.provider.url();
        let text = format!(
            "credential = 'app'\nimports = {:?}\nsecrets = ['app_id', 'app_key', 'installation']\norigins = ['{url}']\n\
             private_addresses = ['127.0.0.1/32']\nbase = {{ api = '{url}', search = '{url}', write = '{url}', app = '{url}' }}\n\
             cache = {{ enabled = false }}\n",
            imports(&self.bytes).unwrap()
        );
        let secrets = [("app_id", APP), ("app_key", self.key.as_str()), ("installation", INSTALLATION)];
        let account = secrets.iter().fold(Account::default(), |account, (name, value)| {
            account.with_secret(name, SecretSource::Value(SecretValue::new(*value)))
        });
        host.connect("acme", &self.bytes, &Connection::parse(&text).unwrap(), Some(&account)).await.unwrap()
    }

    async fn call(&self, plugin: &Plugin) -> Result<(), Error> {
        plugin.call::<Value>(&self.operation, &json!({})).await.map(drop)
    }

    fn given(&self) -> usize {
        assert_eq!(*self.setup.troubles.lock().unwrap(), Vec::<String>::new());
        self.setup.given.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_app_signs_once_for_everybody_and_again_before_its_token_ends() {
    let set = Set::new().await;
    let plugins = [set.open().await, set.open().await];
    let calls = (0..16).map(|number| set.call(&plugins[number % 2]));
    for called in futures_util::future::join_all(calls).await {
        called.unwrap();
    }
    assert_eq!(set.given(), 1, "two hosts and eight calls each");
    // The next process has it as well.
    set.call(&set.open().await).await.unwrap();
    // This clock passes over waits, so it is some seconds later than what was added to it.
    set.clock.advance(3_000_000);
    set.call(&plugins[0]).await.unwrap();
    assert_eq!(set.given(), 1);
    set.clock.advance(400_000);
    set.call(&plugins[0]).await.unwrap();
    set.clock.advance(3_600_000);
    set.call(&plugins[1]).await.unwrap();
    assert_eq!(set.given(), 3, "within its last five minutes, and after its end");
}

#[tokio::test]
async fn a_token_that_is_refused_is_exchanged_once_more() {
    let set = Set::new().await;
    let plugin = set.open().await;
    set.call(&plugin).await.unwrap();
    set.setup.refused_to.store(1, Ordering::SeqCst);
    set.call(&plugin).await.unwrap();
    assert_eq!(set.given(), 2);
    set.clock.advance(30_000);
    set.setup.refused_to.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(*set.call(&plugin).await.unwrap_err().kind(), Kind::Unauthorized);
    assert_eq!(set.given(), 3);
}

#[tokio::test]
async fn a_suspended_installation_is_said_and_asked_about_later() {
    let set = Set::new().await;
    let plugin = set.open().await;
    set.setup.status.store(403, Ordering::SeqCst);
    let error = set.call(&plugin).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Forbidden);
    let text = format!("{error} {error:?}");
    assert!(text.contains("the token endpoint did not answer well"), "{text}");
    assert!(!text.contains("PRIVATE") && !text.contains("eyJ"), "{text}");
    let count = set.provider.count();
    set.call(&plugin).await.unwrap_err();
    assert_eq!(set.provider.count(), count, "not again at once");
    set.setup.status.store(0, Ordering::SeqCst);
    set.clock.advance(30_000);
    set.call(&plugin).await.unwrap();
    assert_eq!(set.given(), 1);
}

#[tokio::test]
async fn a_key_that_is_none_sends_nothing() {
    let mut set = Set::new().await;
    set.key = "s3cret, and no key".to_owned();
    let error = set.call(&set.open().await).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::CredentialUnavailable);
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    assert_eq!(set.provider.count(), 0);
}
