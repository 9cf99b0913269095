//! Connecting an account, each way, and disconnecting it: browserless, against a provider of our own and one of others.
//!
//! The provider of our own ([`Consent`]) does what `oauth2-mock-server` lacks: a device endpoint, refusals, a revocation
//! that fails. The other is started by hand, outside the repository, and told by its address; without it the test says that
//! it was skipped.
//!
//! ```text
//! oauth2-mock-server -a 127.0.0.1 -p 3301                                             # npm i oauth2-mock-server@9
//! WHARFAGE_OAUTH2=http://127.0.0.1:3301 cargo test -p wharfage-tests oauth2_connect
//! ```
//!
//! It gives a new refresh token with each renewal. Some providers give none, and take consent back whenever they like; made
//! to do so, it is told by `WHARFAGE_OAUTH2_SPARSE`:
//!
//! ```text
//! import { OAuth2Server } from 'oauth2-mock-server';
//! const server = new OAuth2Server();
//! await server.issuer.keys.generate('RS256');
//! await server.start(3302, '127.0.0.1');
//! let answers = 0;
//! server.service.on('beforeResponse', (response, request) => {
//!   if (request.body.grant_type === 'refresh_token') delete response.body.refresh_token;
//!   if (++answers === 3) { response.statusCode = 400; response.body = { error: 'invalid_grant' }; }
//! });
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use url::Url;
use wharfage::sign_in::{Disconnected, ExternalToken, SignInKind};
use wharfage::{AnswerSource, Config, Error, Host, Kind, ManualClock, SecretValue};
use wharfage_tests::provider::{Reply, Seen};
use wharfage_tests::scene::{AUTHORITY, host, secret_file};
use wharfage_tests::{NOW, PATIENCE, Provider, Scene, guests, skipped, skipping, until};

const CLIENT_ID: &str = "client-of-the-harbour";
const CLIENT_SECRET: &str = "client-s3cret-of-the-harbour";

/// The manifest's lines about the credential; `{flow}` and more is a test's.
const MANIFEST: &str = r#"
[secrets.client_id]
[secrets.client_secret]

[credentials.account]
scheme = "oauth2"
authorize = "{auth}/authorize?tenant=7"
token = "{auth}/token"
revoke = "{auth}/revoke"
device = "{auth}/device"
client_id = "client_id"
secret = "client_secret"
scopes = ["orders.read", "orders.write"]
capture = ["realmId"]
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"
"#;

/// What the provider has been told, and what it does.
#[derive(Default)]
pub(crate) struct Consent {
    /// The parameters of the sign-in address, by code.
    codes: BTreeMap<String, BTreeMap<String, String>>,
    /// What the token endpoint answers first, one by one.
    refusals: Vec<&'static str>,
    /// More of the redirect's query.
    redirect_more: &'static str,
    /// The scope that is granted; what was asked for where empty.
    pub(crate) granted: &'static str,
    /// The status of a revocation.
    revoke_status: u16,
    /// No refresh token comes with an access token.
    is_sparse: bool,
    /// Whoever asks for a token is not answered.
    is_silent: bool,
    tokens: usize,
}

pub(crate) struct Setup {
    pub(crate) provider: Provider,
    pub(crate) consent: Arc<Mutex<Consent>>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) text: String,
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn form(seen: &Seen) -> BTreeMap<String, String> {
    pairs(std::str::from_utf8(&seen.body).unwrap())
}

fn answer(consent: &Mutex<Consent>, seen: &Seen) -> Reply {
    let mut consent = consent.lock().unwrap();
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let refused = |status: u16, code: &str| {
        let body = json!({"error": code, "error_description": format!("because {code}")});
        Reply::status(status).header("content-type", "application/json").body(body.to_string())
    };
    match path {
        "/authorize" => {
            let asked = pairs(query);
            let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
            let code = format!("code-{}", consent.codes.len());
            back.query_pairs_mut().append_pair("state", &asked["state"]);
            let more = consent.redirect_more;
            let whole = match more.contains("error=") {
                true => format!("{back}{more}"),
                false => format!("{back}&code={code}{more}"),
            };
            consent.codes.insert(code, asked);
            Reply::redirect(302, &whole)
        }
        "/device" => Reply::json(&json!({
            "device_code": "the-device-s-code", "user_code": "WDJB-MJHT", "interval": 5, "expires_in": 1800,
            "verification_uri": "https://stand-in.test/device",
        })),
        "/token" if consent.is_silent => Reply::never(),
        "/token" if !consent.refusals.is_empty() => refused(400, consent.refusals.remove(0)),
        "/token" => {
            let asked = form(seen);
            let scope = match asked["grant_type"].as_str() {
                "authorization_code" => match consent.codes.remove(&asked["code"]) {
                    Some(at) if at["redirect_uri"] == asked["redirect_uri"] && asked.contains_key("code_verifier") => {
                        at["scope"].clone()
                    }
                    _ => return refused(400, "invalid_grant"),
                },
                _ => asked.get("scope").cloned().unwrap_or_default(),
            };
            let scope = if consent.granted.is_empty() { scope } else { consent.granted.to_owned() };
            consent.tokens += 1;
            let refresh = (!consent.is_sparse).then(|| format!("refresh-token-{}", consent.tokens));
            Reply::json(&json!({
                "access_token": format!("access-token-{}", consent.tokens), "token_type": "Bearer", "expires_in": 3600,
                "refresh_token": refresh, "scope": scope,
            }))
        }
        "/revoke" => Reply::status(consent.revoke_status),
        _ => Reply::json(&json!({"is": "an order"})),
    }
}

impl Setup {
    async fn new() -> Self {
        Self::with("", "").await
    }

    /// With more lines of the credential, and more lines of the account.
    pub(crate) async fn with(credential: &str, account: &str) -> Self {
        let consent = Arc::new(Mutex::new(Consent { revoke_status: 200, ..Consent::default() }));
        let provider = Provider::answering({
            let consent = consent.clone();
            move |seen| answer(&consent, seen)
        })
        .await;
        let mut setup = Self { provider, consent, folder: tempfile::tempdir().unwrap(), text: String::new() };
        setup.secret("client_id", CLIENT_ID);
        setup.secret("client_secret", CLIENT_SECRET);
        setup.text = format!(
            "[accounts.harbour]\n{account}\n[accounts.harbour.secrets]\nclient_id = {{ file = 'client_id' }}\n\
             client_secret = {{ file = 'client_secret' }}\n"
        );
        setup.connection("acme", credential).await;
        setup
    }

    fn secret(&self, name: &str, value: &str) {
        secret_file(&self.folder.path().join(name), value);
    }

    /// A component with these lines of the credential.
    async fn component(&self, name: &str, credential: &str) {
        let scene = Scene::of(guests::HTTP_SEND)
            .manifest_with("credential = \"key\"", "credential = \"account\"")
            .manifest(AUTHORITY)
            .manifest(&replaced(credential));
        std::fs::write(self.folder.path().join(format!("{name}.wasm")), scene.component().await.as_slice()).unwrap();
    }

    /// One more connection of the account, with a component of its own.
    pub(crate) async fn connection(&mut self, name: &str, credential: &str) {
        self.component(name, credential).await;
        let url = self.provider.url();
        self.text += &format!(
            "[plugins.{name}]\ncomponent = '{name}.wasm'\n[connections.{name}]\nplugin = '{name}'\naccount = 'harbour'\n\
             imports = ['http']\norigins = ['{url}']\nsecrets = ['client_id', 'client_secret']\n\
             private_addresses = ['127.0.0.1/32']\nbase = {{ api = '{url}', auth = '{url}' }}\n"
        );
        std::fs::write(self.folder.path().join("wharfage.toml"), &self.text).unwrap();
    }

    /// The same, where the tokens of those before it go to a place of their own.
    async fn connection_elsewhere(&mut self, name: &str, credential: &str) {
        let api = format!("base = {{ api = '{}", self.provider.url());
        self.text = self.text.replace(&api, &format!("{api}/shop"));
        self.connection(name, credential).await;
    }

    pub(crate) fn config(&self) -> Config {
        Config::parse(&self.text, &self.folder.path().join("wharfage.toml")).unwrap()
    }

    pub(crate) fn host(&self, clock: &ManualClock) -> Host {
        host(&self.folder.path().join("state"), clock.clone())
    }

    /// The `Authorization` that the provider gets with a call now.
    async fn bearer(&self, host: &Host) -> Result<String, Error> {
        self.bearer_over(host, "acme").await
    }

    /// The same over any connection.
    async fn bearer_over(&self, host: &Host, name: &str) -> Result<String, Error> {
        let plugin = host.open(&self.config(), name).await?;
        plugin.call::<Value>("send", &json!({"url": "{api}/orders"})).await?;
        Ok(self.provider.seen().last().unwrap().header("authorization").unwrap_or_default().to_owned())
    }

    /// The forms that came to an endpoint.
    fn forms(&self, path: &str) -> Vec<BTreeMap<String, String>> {
        self.provider.seen().iter().filter(|seen| seen.target == path).map(form).collect()
    }

    /// Runs the program here.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut program = self.start(arguments);
        std::io::Write::write_all(&mut program.stdin.take().unwrap(), input.as_bytes()).unwrap();
        crate::cli::said(&tokio::task::spawn_blocking(move || program.wait_with_output().unwrap()).await.unwrap())
    }

    fn start(&self, arguments: &[&str]) -> std::process::Child {
        use std::process::Stdio;
        let mut command = std::process::Command::new(crate::cli::program());
        command.args(arguments).args(["--state-dir", "state"]).current_dir(self.folder.path()).env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// The manifest's lines, where a line of the test stands instead of one with the same key.
fn replaced(credential: &str) -> String {
    let keys: Vec<&str> = credential.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
    let (head, facts) = MANIFEST.split_once("[credentials.account]\n").unwrap();
    let kept = facts.lines().filter(|line| !keys.iter().any(|key| line.starts_with(&format!("{key} = "))));
    let kept: Vec<&str> = kept.collect();
    // A key without a value is taken out.
    let credential: Vec<&str> = credential.lines().filter(|line| !line.ends_with(" = ")).collect();
    format!("{head}[credentials.account]\n{}\n{}\n", kept.join("\n"), credential.join("\n"))
}

/// A browser that shows what it ends on.
async fn browse(link: &str) -> (u16, String) {
    let browser = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = browser.get(link).send().await.unwrap();
    (page.status().as_u16(), page.text().await.unwrap())
}

/// The address that a sign-in ends on, for a browser that cannot open it.
pub(crate) async fn ends_on(link: &str) -> String {
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = browser.get(link).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_signs_in_and_the_plugin_s_calls_carry_the_token() {
    let setup = Setup::new().await;
    let host = setup.host(&skipping());
    let error = setup.bearer(&host).await.unwrap_err();
    assert!(error.details().unwrap().contains("wharfage connect acme"), "{error}");

    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    assert!(authorization.kind() == SignInKind::Browser && authorization.can_listen());
    setup.consent.lock().unwrap().redirect_more = "&realmId=4620816365";
    let listening = authorization.listen().await.unwrap();
    let link = listening.link().to_owned();
    assert!(link.contains("tenant=7") && link.contains("code_challenge_method=S256"), "{link}");
    let (connected, page) = tokio::join!(listening.wait(), browse(&link));
    let connected = connected.unwrap();
    assert_eq!((connected.granted.join(" "), connected.missing.len()), ("orders.read orders.write".to_owned(), 0));
    assert!(page.0 == 200 && page.1.contains("<h1>Connected.</h1>"), "{page:?}");
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");
    // The next host of the same folder has it as well.
    drop(host);
    assert_eq!(setup.bearer(&setup.host(&skipping())).await.unwrap(), "Bearer access-token-1");
    assert_eq!(setup.forms("/token").len(), 1);
}

/// What the redirect said besides goes into the path where the plugin writes its name, and nowhere else; where it said
/// nothing, a person is asked to connect again, and nothing is sent.
#[tokio::test]
async fn what_the_redirect_said_besides_goes_into_the_path() {
    let setup = Setup::new().await;
    let host = setup.host(&skipping());
    let sign_in = async |more: &'static str| {
        setup.consent.lock().unwrap().redirect_more = more;
        let mut sign_in = host.authorize(&setup.config(), "acme", None).await.unwrap().sign_in().await.unwrap();
        sign_in.finish(&ends_on(sign_in.link()).await).await.unwrap();
        host.open(&setup.config(), "acme").await.unwrap()
    };
    let at = |url: &str| json!({"url": url});
    let orders = "{api}/company/{realmId}/orders?x=1";

    let plugin = sign_in("").await;
    let error = plugin.call::<Value>("send", &at(orders)).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::ReauthorizationNeeded);
    assert!(error.message().contains("did not say `realmId`"), "{error}");

    let plugin = sign_in("&realmId=46%2F20").await;
    let told = plugin.call::<Value>("send", &at(orders)).await.unwrap();
    assert!(told.output["url"].as_str().unwrap().contains("%7BrealmId%7D"), "{:?}", told.output);
    assert_eq!(setup.provider.seen().last().unwrap().target, "/company/46%2F20/orders?x=1");

    let count = setup.provider.count();
    for wrong in ["{api}/{realmId}/{realmId}", "{api}/x?id={realmId}", "{api}/{realmid}/x?id=%7BrealmId%7D"] {
        let error = plugin.call::<Value>("send", &at(wrong)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::PolicyDenied(rule) if rule == "credential"), "{wrong}: {error}");
    }
    let bare = json!({"url": orders, "credential": "anonymous"});
    assert!(plugin.call::<Value>("send", &bare).await.is_err());
    assert_eq!(setup.provider.count(), count);
}

/// A program with a token service of its own hands the token in; no endpoint is asked.
#[tokio::test]
async fn an_embedder_may_hand_in_the_token() {
    let setup = Setup::new().await;
    let host = setup.host(&skipping());
    let captured = BTreeMap::from([("realmId".to_owned(), "7".to_owned())]);
    let given = ExternalToken { token: SecretValue::new("of-another-service"), captured };
    let mut config = setup.config();
    let account = config.accounts.remove("harbour").unwrap().with_access("account", given);
    config.accounts.insert("harbour".to_owned(), account);
    let plugin = host.open(&config, "acme").await.unwrap();
    plugin.call::<Value>("send", &json!({"url": "{api}/{realmId}/orders"})).await.unwrap();
    let seen = setup.provider.seen();
    assert_eq!((seen.len(), seen[0].target.as_str()), (1, "/7/orders"));
    assert_eq!(seen[0].header("authorization"), Some("Bearer of-another-service"));
}

/// The guide's callback took the first request whatever it was. Here nothing that is not the answer ends the wait.
#[tokio::test]
async fn guide_s18_foreign_requests_neither_end_nor_become_the_sign_in() {
    let setup = Setup::new().await;
    let host = setup.host(&skipping());
    let listening = host.authorize(&setup.config(), "acme", None).await.unwrap().listen().await.unwrap();
    let (link, back) = (listening.link().to_owned(), listening.redirect().to_owned());
    let browser = async {
        for (wrong, status) in [
            (back.replace("/callback", "/favicon.ico"), 404),
            (back.clone(), 400),
            (format!("{back}?code=stolen&state=guessed"), 400),
            (format!("{back}?error=access_denied"), 400),
        ] {
            let (told, page) = browse(&wrong).await;
            assert_eq!(told, status, "{wrong}: {page}");
        }
        let right = ends_on(&link).await;
        assert_eq!(browse(&right).await.0, 200);
        let browser = reqwest::Client::builder().no_proxy().build().unwrap();
        assert!(browser.get(&right).send().await.is_err(), "nobody listens any more");
    };
    let (connected, ()) = tokio::join!(listening.wait(), browser);
    connected.unwrap();
    assert_eq!(setup.forms("/token").len(), 1, "nothing but the right code was sent");
}

#[tokio::test]
async fn a_refusal_is_said_in_words_to_the_browser_and_to_whoever_waits() {
    let setup = Setup::new().await;
    let host = setup.host(&skipping());
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    let more = "&error=access_denied&error_description=Not+for+%3Cb%3E+client-s3cret-of-the-harbour%1b[2J";
    setup.consent.lock().unwrap().redirect_more = more;
    let listening = authorization.listen().await.unwrap();
    let link = listening.link().to_owned();
    let (ended, (status, page)) = tokio::join!(listening.wait(), browse(&link));
    let error = ended.unwrap_err();
    assert_eq!((error.kind(), error.provider_code(), status), (&Kind::Forbidden, Some("access_denied"), 400));
    let text = error.to_string();
    assert!(text.contains("The provider says: Not for <b>") && text.contains("wharfage connect acme"), "{text}");
    assert!(page.contains("Not for &lt;b&gt;"), "{page}");
    assert!(!text.contains('\u{1b}') && !page.contains('\u{1b}'));
    assert!(setup.forms("/token").is_empty());

    // The token endpoint refuses: the code is gone, what was there before is not.
    setup.consent.lock().unwrap().redirect_more = "";
    setup.consent.lock().unwrap().refusals = vec!["invalid_grant"];
    let listening = authorization.listen().await.unwrap();
    let link = listening.link().to_owned();
    let (ended, (status, _)) = tokio::join!(listening.wait(), browse(&link));
    let error = ended.unwrap_err();
    assert!(status == 400 && error.to_string().contains("wharfage connect acme"), "{error}");
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_two_minutes() {
    let setup = Setup::new().await;
    let clock = ManualClock::new(NOW, 1);
    let host = setup.host(&clock);
    let listening = host.authorize(&setup.config(), "acme", None).await.unwrap().listen().await.unwrap();
    let back = listening.redirect().to_owned();
    let waiting = tokio::spawn(listening.wait());
    clock.advance(119_999);
    assert_eq!(browse(&back).await.0, 400, "it still listens");
    clock.advance(1);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(*error.kind() == Kind::Timeout && error.to_string().contains("--paste"), "{error}");
}

#[tokio::test]
async fn an_address_is_pasted_where_the_provider_takes_only_https() {
    let redirect = "https://acme.test/oauth/done";
    let setup = Setup::with("", &format!("redirect = '{redirect}'")).await;
    let clock = ManualClock::new(NOW, 1);
    let host = setup.host(&clock);
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    assert!(!authorization.can_listen());
    let refused = authorization.listen().await.err().unwrap();
    assert!(refused.to_string().contains("not on this machine"), "{refused}");
    let mut sign_in = authorization.sign_in().await.unwrap();
    let right = ends_on(sign_in.link()).await;
    let other = ends_on(authorization.sign_in().await.unwrap().link()).await;
    for wrong in ["", "yes", redirect, &other, &right.replace("https://acme.test", "http://acme.test")] {
        let error = sign_in.finish(wrong).await.unwrap_err();
        assert!(!sign_in.is_over() && matches!(error.kind(), Kind::InvalidRequest(_)), "{wrong}: {error:?}");
        assert!(error.details().is_some_and(|next| !next.is_empty()), "{error}");
    }
    assert!(setup.forms("/token").is_empty());
    let connected = sign_in.finish(&format!(" {right} \n")).await.unwrap();
    assert_eq!(connected.granted.len(), 2);
    let again = sign_in.finish(&right).await.unwrap_err();
    assert!(sign_in.is_over() && again.to_string().contains("wharfage connect acme"), "{again}");

    let mut late = authorization.sign_in().await.unwrap();
    let right = ends_on(late.link()).await;
    clock.advance(600_000);
    assert_eq!(*late.finish(&right).await.unwrap_err().kind(), Kind::Timeout);
    assert_eq!(setup.forms("/token").len(), 1);
}

#[tokio::test]
async fn less_granted_than_asked_for_is_said() {
    let setup = Setup::new().await;
    setup.consent.lock().unwrap().granted = "orders.read profile";
    let host = setup.host(&skipping());
    let mut sign_in = host.authorize(&setup.config(), "acme", None).await.unwrap().sign_in().await.unwrap();
    let right = ends_on(sign_in.link()).await;
    let connected = sign_in.finish(&right).await.unwrap();
    assert_eq!(connected.missing, ["orders.write"]);
    assert_eq!(connected.granted, ["orders.read", "profile"]);
}

#[tokio::test]
async fn one_consent_serves_all_connections_of_an_account() {
    let mut setup = Setup::new().await;
    let mail = "scopes = [\"mail.send\", \"orders.read\"]";
    setup.connection_elsewhere("mail", mail).await;
    // Another provider's, under the same name.
    setup.connection("other", "scopes = [\"never\"]\ntoken = \"{auth}/elsewhere\"").await;
    let host = setup.host(&skipping());
    let scopes =
        async |name: &str, config: &Config| host.authorize(config, name, None).await.unwrap().scopes().to_vec();
    assert_eq!(scopes("acme", &setup.config()).await, ["orders.read", "orders.write", "mail.send"]);
    assert_eq!(scopes("mail", &setup.config()).await, ["mail.send", "orders.read", "orders.write"]);
    assert_eq!(scopes("other", &setup.config()).await, ["never"]);
    let mut config = setup.config();
    config.accounts.get_mut("harbour").unwrap().scopes = vec!["orders.read".to_owned()];
    assert_eq!(scopes("acme", &config).await, ["orders.read"], "the operator asks for less");

    let authorize = async |host: &Host, config: &Config| host.authorize(config, "mail", None).await.unwrap();
    let url = setup.provider.url();
    let places: Vec<String> = authorize(&host, &config).await.audience().map(str::to_owned).collect();
    assert_eq!(places, [format!("{url}/"), format!("{url}/shop")]);
    let sign_in = async |host: &Host| {
        let mut sign_in = authorize(host, &setup.config()).await.sign_in().await.unwrap();
        sign_in.finish(&ends_on(sign_in.link()).await).await.unwrap();
    };
    sign_in(&host).await;
    for (name, target) in [("acme", "/shop/orders"), ("mail", "/orders"), ("acme", "/shop/orders")] {
        assert_eq!(setup.bearer_over(&host, name).await.unwrap(), "Bearer access-token-1");
        assert_eq!(setup.provider.seen().last().unwrap().target, target);
    }
    // What a plugin wants beyond that was not approved, until a person does it, here in another process.
    setup.component("mail", &format!("{mail}\norigins = [\"api\", \"other\"]")).await;
    let error = setup.bearer_over(&host, "mail").await.unwrap_err();
    let is_named = error.message().contains("would now also go to https://other.stand-in.test");
    assert!(*error.kind() == Kind::ReauthorizationNeeded && is_named, "{error}");
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");
    sign_in(&setup.host(&skipping())).await;
    for name in ["mail", "acme"] {
        assert_eq!(setup.bearer_over(&host, name).await.unwrap(), "Bearer access-token-2");
    }

    std::fs::remove_file(setup.folder.path().join("mail.wasm")).unwrap();
    assert_eq!(scopes("acme", &setup.config()).await, ["orders.read", "orders.write"]);
}

/// Some providers read the scopes in the assertion, so it says those that are asked for, not those of one plugin.
#[tokio::test]
async fn an_assertion_says_what_is_asked_for() {
    use base64::Engine as _;
    let signs = "flow = \"jwt-bearer\"\nassertion = { key = \"client_secret\", algorithm = \"HS256\" }";
    let mut setup = Setup::with(signs, "").await;
    setup.connection("mail", &format!("{signs}\nscopes = [\"mail.send\"]")).await;
    let host = setup.host(&skipping());
    host.authorize(&setup.config(), "acme", None).await.unwrap().obtain().await.unwrap();
    let asked = &setup.forms("/token")[0];
    assert_eq!(asked["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let payload = asked["assertion"].split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&claims["iss"], &claims["scope"]), (&json!(CLIENT_ID), &json!("orders.read orders.write mail.send")));
    assert_eq!(claims["aud"], json!(format!("{}/token", setup.provider.url())));
    assert_eq!(claims["iat"], json!(NOW.as_millis() / 1_000));
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");
}

#[tokio::test]
async fn a_person_signs_in_on_another_device() {
    let setup = Setup::with("flow = \"device-code\"", "").await;
    let clock = skipping();
    let host = setup.host(&clock);
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    assert_eq!(authorization.kind(), SignInKind::Device);
    let device = authorization.device().await.unwrap();
    assert_eq!((device.user_code(), device.address()), ("WDJB-MJHT", "https://stand-in.test/device"));
    let asked = setup.forms("/device");
    assert_eq!((asked[0]["client_id"].as_str(), asked[0]["scope"].as_str()), (CLIENT_ID, "orders.read orders.write"));
    setup.consent.lock().unwrap().refusals = vec!["authorization_pending", "slow_down", "authorization_pending"];
    let began = wharfage::Clock::now(&clock);
    device.wait().await.unwrap();
    // 5 s, 5 s, then 10 s twice (RFC 8628, 3.5).
    assert_eq!(wharfage::Clock::now(&clock).since(began), 30_000);
    let polls = setup.forms("/token");
    assert_eq!(polls.len(), 4);
    assert!(polls.iter().all(|poll| poll["device_code"] == "the-device-s-code"
        && poll["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"));
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");

    for (refusal, kind) in [("access_denied", Kind::Forbidden), ("expired_token", Kind::Timeout)] {
        setup.consent.lock().unwrap().refusals = vec!["authorization_pending", refusal];
        let error = authorization.device().await.unwrap().wait().await.unwrap_err();
        assert!(*error.kind() == kind && error.to_string().contains("wharfage connect acme"), "{error:?}");
    }
    setup.consent.lock().unwrap().refusals = vec!["authorization_pending"; 1_000];
    let error = authorization.device().await.unwrap().wait().await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Timeout);
    let left = setup.consent.lock().unwrap().refusals.len();
    assert_eq!(1_000 - left, 359, "every 5 s until half an hour is over");
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1", "nothing was lost");
}

#[tokio::test]
async fn where_nobody_signs_in_the_tokens_are_there_at_once() {
    let setup = Setup::with("flow = \"client-credentials\"", "").await;
    let host = setup.host(&skipping());
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    assert_eq!(authorization.kind(), SignInKind::Direct);
    authorization.obtain().await.unwrap();
    let asked = &setup.forms("/token")[0];
    assert_eq!(
        (asked["grant_type"].as_str(), asked["scope"].as_str()),
        ("client_credentials", "orders.read orders.write")
    );
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");

    // When the token has ended, as much is asked for again, and less where the operator says so.
    let mut setup = setup;
    setup.text = setup.text.replace("[accounts.harbour]\n", "[accounts.harbour]\nscopes = ['orders.read']\n");
    let host = setup.host(&ManualClock::skipping(NOW.plus(3_600_000), 1));
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-2");
    host.authorize(&setup.config(), "acme", None).await.unwrap().obtain().await.unwrap();
    let asked: Vec<_> = setup.forms("/token").iter().map(|form| form.get("scope").cloned()).collect();
    let (all, less) = (Some("orders.read orders.write".to_owned()), Some("orders.read".to_owned()));
    assert_eq!(asked, [all, None, less], "with a refresh token the provider renews what it granted");

    let person = Setup::with("device = ", "").await;
    let authorization = person.host(&skipping()).authorize(&person.config(), "acme", None).await;
    let error = authorization.unwrap().obtain().await.unwrap_err();
    assert!(error.to_string().contains("wharfage connect acme"), "{error}");
}

/// Without a refresh token a client asks for tokens anew, and other connections of the account live on these.
#[tokio::test]
async fn tokens_that_are_asked_for_anew_serve_all_connections_of_an_account() {
    let flow = "flow = \"client-credentials\"";
    let mut setup = Setup::with(flow, "").await;
    setup.connection_elsewhere("mail", flow).await;
    setup.consent.lock().unwrap().is_sparse = true;
    let clock = skipping();
    let host = setup.host(&clock);
    host.authorize(&setup.config(), "acme", None).await.unwrap().obtain().await.unwrap();
    clock.advance(3_600_000);
    for name in ["acme", "mail"] {
        assert_eq!(setup.bearer_over(&host, name).await.unwrap(), "Bearer access-token-2");
    }
}

/// The first call stands for its own connection alone, and nobody approved anything.
#[tokio::test]
async fn tokens_that_came_by_themselves_serve_another_connection_once_it_is_connected() {
    let flow = "flow = \"client-credentials\"";
    let mut setup = Setup::with(flow, "").await;
    setup.connection_elsewhere("mail", flow).await;
    let host = setup.host(&skipping());
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");
    let error = setup.bearer_over(&host, "mail").await.unwrap_err();
    let said = "wants other than what its tokens were obtained for: its tokens would now also go to";
    assert!(*error.kind() == Kind::ReauthorizationNeeded && error.message().contains(said), "{error}");
    assert!(error.details().unwrap().contains("wharfage connect mail"), "{error}");
    host.authorize(&setup.config(), "mail", None).await.unwrap().obtain().await.unwrap();
    for name in ["mail", "acme"] {
        assert_eq!(setup.bearer_over(&host, name).await.unwrap(), "Bearer access-token-2");
    }
}

/// It stood for a minute, and was told only then.
#[tokio::test]
async fn who_was_not_approved_is_told_so_while_a_renewal_hangs() {
    let flow = "flow = \"client-credentials\"";
    let mut setup = Setup::with(flow, "").await;
    let clock = ManualClock::new(NOW, 1);
    let host = setup.host(&clock);
    host.authorize(&setup.config(), "acme", None).await.unwrap().obtain().await.unwrap();
    setup.connection("mail", &format!("{flow}\norigins = [\"api\", \"other\"]")).await;
    clock.advance(3_400_000);
    setup.consent.lock().unwrap().is_silent = true;
    let plugin = host.open(&setup.config(), "acme").await.unwrap();
    let renewing = tokio::spawn(async move { plugin.call::<Value>("send", &json!({"url": "{api}/orders"})).await });
    until!(setup.forms("/token").len() == 2);
    let told = tokio::time::timeout(PATIENCE, setup.bearer_over(&host, "mail")).await;
    let error = told.expect("it waits for the renewal").unwrap_err();
    let is_named = error.message().contains("would now also go to https://other.stand-in.test");
    assert!(*error.kind() == Kind::ReauthorizationNeeded && is_named, "{error}");
    renewing.abort();
}

#[tokio::test]
async fn what_the_provider_cannot_be_told_stays_unless_forced() {
    let setup = Setup::with("flow = \"client-credentials\"", "").await;
    let host = setup.host(&skipping());
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    assert_eq!(authorization.disconnect(false).await.unwrap(), Disconnected::Nothing);
    authorization.obtain().await.unwrap();
    setup.consent.lock().unwrap().revoke_status = 503;
    let error = authorization.disconnect(false).await.unwrap_err();
    assert!(error.message().contains("still here") && error.details().unwrap().contains("--force"), "{error}");
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-1");
    match authorization.disconnect(true).await.unwrap() {
        // By now the breaker of that origin is open, and nobody asks it.
        Disconnected::RemovedLocallyUntold(error) => assert_eq!(*error.kind(), Kind::CircuitOpen),
        other => panic!("{other:?}"),
    }
    assert_eq!(authorization.disconnect(false).await.unwrap(), Disconnected::Nothing);

    let silent = Setup::with("flow = \"client-credentials\"\nrevoke = ", "").await;
    let authorization = silent.host(&skipping()).authorize(&silent.config(), "acme", None).await.unwrap();
    authorization.obtain().await.unwrap();
    assert_eq!(authorization.disconnect(false).await.unwrap(), Disconnected::RemovedLocally);
}

/// What was kept of answers goes as well. The store knows it by connection and credential; for who comes back, tokens are
/// others, so here the same credential is a key before and after.
#[tokio::test]
async fn r4_disconnecting_takes_away_what_was_kept() {
    let setup = Setup::new().await;
    let path = setup.folder.path().join("acme.wasm");
    let signed_in = std::fs::read(&path).unwrap();
    let key = "[credentials.key]\nscheme = \"api-key\"\nsecret = \"api_key\"";
    let keyed = Scene::of(guests::HTTP_SEND)
        .manifest_with("credential = \"key\"", "credential = \"account\"")
        .manifest_with(key, "[credentials.account]\nscheme = \"api-key\"\nsecret = \"client_id\"")
        .manifest(AUTHORITY)
        .manifest("[secrets.client_id]\n[secrets.client_secret]\n")
        .component()
        .await;
    let source = async || {
        std::fs::write(&path, keyed.as_slice()).unwrap();
        let plugin = setup.host(&skipping()).open(&setup.config(), "acme").await.unwrap();
        let answer = plugin.call::<Value>("send", &json!({"url": "{api}/orders", "keep": 60})).await.unwrap();
        plugin.flush().await;
        answer.source
    };
    assert_eq!((source().await, source().await), (AnswerSource::Live, AnswerSource::Cache));
    std::fs::write(&path, &signed_in).unwrap();
    let authorization = setup.host(&skipping()).authorize(&setup.config(), "acme", None).await.unwrap();
    assert_eq!(authorization.disconnect(false).await.unwrap(), Disconnected::Nothing);
    assert_eq!(source().await, AnswerSource::Live);
}

/// RFC 7009 has a form, and some providers want JSON.
#[tokio::test]
async fn a_token_is_revoked_as_the_provider_wants_it_written() {
    let setup = Setup::with("flow = \"client-credentials\"\nrevoke_form = \"json\"", "").await;
    let authorization = setup.host(&skipping()).authorize(&setup.config(), "acme", None).await.unwrap();
    authorization.obtain().await.unwrap();
    assert_eq!(authorization.disconnect(false).await.unwrap(), Disconnected::Revoked);
    let seen = setup.provider.seen();
    let revoked = seen.last().unwrap();
    assert_eq!((revoked.target.as_str(), revoked.header("content-type")), ("/revoke", Some("application/json")));
    let body: Value = serde_json::from_slice(&revoked.body).unwrap();
    assert_eq!(body, json!({"token": "refresh-token-1"}));
    assert!(revoked.header("authorization").unwrap().starts_with("Basic "));
}

/// R12: what a person approved is where tokens go and where they are renewed. A component that wants other places gets
/// none, loaded anew in this host or in another, until a person approves it.
#[tokio::test]
async fn r12_another_place_for_tokens_is_refused_until_it_is_approved() {
    let flow = "flow = \"client-credentials\"\n";
    let mut setup = Setup::with(flow, "").await;
    let other = Provider::scripted([Reply::status(200)]).await;
    setup.text = setup.text.replace("origins = [", &format!("origins = ['{}', ", other.url()));
    setup.text = setup.text.replace("base = { ", &format!("base = {{ other = '{}', ", other.url()));
    let host = setup.host(&skipping());
    host.authorize(&setup.config(), "acme", None).await.unwrap().obtain().await.unwrap();
    setup.bearer(&host).await.unwrap();
    for (wanted, said) in [
        ("token = \"{auth}/elsewhere\"", "the token endpoint was"),
        ("revoke = \"{auth}/elsewhere\"", "the endpoint that revokes is another"),
        ("origins = [\"api\", \"other\"]", &other.url()),
    ] {
        setup.component("acme", &format!("{flow}{wanted}")).await;
        let asked = setup.provider.count();
        for host in [&host, &setup.host(&skipping())] {
            let error = setup.bearer(host).await.unwrap_err();
            assert_eq!(*error.kind(), Kind::ReauthorizationNeeded, "{wanted}: {error}");
            assert!(error.message().contains(said), "{wanted}: {error}");
            assert!(error.details().unwrap().contains("approve it:   wharfage connect acme"), "{error}");
        }
        assert_eq!((setup.provider.count(), other.count()), (asked, 0), "{wanted}: something was sent");
    }
    host.authorize(&setup.config(), "acme", None).await.unwrap().obtain().await.unwrap();
    assert_eq!(setup.bearer(&host).await.unwrap(), "Bearer access-token-2");
}

/// A sign-in whose tokens could not be fetched would be a person's time lost.
#[tokio::test]
async fn nobody_signs_in_where_the_token_endpoint_is_not_granted() {
    let mut setup = Setup::new().await;
    setup.text = setup.text.replace(&format!("auth = '{}'", setup.provider.url()), "auth = 'http://127.0.0.1:1'");
    let error =
        setup.host(&skipping()).authorize(&setup.config(), "acme", None).await.unwrap().listen().await.err().unwrap();
    assert!(
        matches!(error.kind(), Kind::PolicyDenied(_)) && error.to_string().contains("http://127.0.0.1:1"),
        "{error}"
    );
    assert_eq!(setup.provider.count(), 0);
}

/// The program, with a browser that is an HTTP client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_connects_and_disconnects() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let setup = Setup::new().await;
    setup.consent.lock().unwrap().granted = "orders.read";
    let program = tokio_child(setup.start(&["connect", "acme"]));
    let mut said = BufReader::new(program.1).lines();
    let link = loop {
        let line = said.next_line().await.unwrap().expect("it prints a link");
        if let Some(link) = line.strip_prefix("  http") {
            break format!("http{link}");
        }
    };
    assert_eq!(browse(&link).await.0, 200);
    let mut rest = String::new();
    while let Some(line) = said.next_line().await.unwrap() {
        rest += &format!("{line}\n");
    }
    let output = tokio::task::spawn_blocking(move || program.0.wait_with_output().unwrap()).await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && stdout.starts_with("connected acme: orders.read"), "{stdout}\n{rest}");
    assert!(rest.contains("asked for and not granted: orders.write"), "{rest}");
    assert!(!format!("{stdout}{rest}").contains("token-1"));

    let (code, stdout, stderr) =
        setup.run(&["call", "acme", "send", "--input", "{\"url\":\"{api}/orders\"}"], "").await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(setup.provider.seen().last().unwrap().header("authorization"), Some("Bearer access-token-1"));

    // The provider does not want: the tokens stay, and the program says so.
    setup.consent.lock().unwrap().revoke_status = 400;
    let (code, _, stderr) = setup.run(&["disconnect", "acme"], "").await;
    assert!(code != 0 && stderr.contains("still here") && stderr.contains("--force"), "{code} {stderr}");
    assert_eq!(setup.run(&["call", "acme", "send", "--input", "{\"url\":\"{api}/orders\"}"], "").await.0, 0);
    setup.consent.lock().unwrap().revoke_status = 200;
    let (code, stdout, stderr) = setup.run(&["disconnect", "acme"], "").await;
    assert!(code == 0 && stdout.starts_with("disconnected acme"), "{stdout}{stderr}");
    let revoked = setup.forms("/revoke");
    assert_eq!(revoked.last().unwrap()["token"], "refresh-token-1");
    let (code, _, stderr) = setup.run(&["call", "acme", "send", "--input", "{\"url\":\"{api}/orders\"}"], "").await;
    assert!(code == 3 && stderr.contains("wharfage connect acme"), "{code} {stderr}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_the_wait_for_a_sign_in() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let setup = Setup::new().await;
    let (child, stderr) = tokio_child(setup.start(&["connect", "acme"]));
    let mut said = BufReader::new(stderr).lines();
    while !said.next_line().await.unwrap().expect("it waits").contains("waiting at") {}
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let last = said.next_line().await.unwrap().unwrap_or_default();
    assert!(output.status.code() == Some(130) && last.contains("nothing was stored"), "{output:?} {last}");
}

/// Standard error as something to wait for.
fn tokio_child(mut child: std::process::Child) -> (std::process::Child, tokio::process::ChildStderr) {
    let stderr = tokio::process::ChildStderr::from_std(child.stderr.take().unwrap()).unwrap();
    (child, stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_takes_a_pasted_address_and_a_provider_that_is_away() {
    let setup = Setup::with("", "redirect = 'https://acme.test/done'").await;
    let (code, _, stderr) = setup.run(&["connect", "acme"], "nothing\n\n").await;
    assert!(code == 2 && stderr.contains("https://acme.test/done") && stderr.contains("--paste"), "{code} {stderr}");
    let (code, _, stderr) = setup.run(&["disconnect", "acme"], "").await;
    assert!(code == 0 && stderr.contains("was not connected"), "{code} {stderr}");
    assert!(Path::new(&setup.folder.path().join("state")).is_dir());
}

const HOW: &str = "tests/all/oauth2_connect.rs tells how to start it";

/// A server that nobody here wrote.
#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
async fn oauth2_mock_server() {
    let Ok(url) = std::env::var("WHARFAGE_OAUTH2") else {
        return skipped("WHARFAGE_OAUTH2", HOW);
    };
    let mut setup = Setup::new().await;
    setup.text = setup.text.replace(&format!("auth = '{}'", setup.provider.url()), &format!("auth = '{url}'"));
    setup.text = setup.text.replace("origins = [", &format!("origins = ['{url}', "));
    let host = setup.host(&skipping());
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    for _ in 0..2 {
        let listening = authorization.listen().await.unwrap();
        let link = listening.link().to_owned();
        let (connected, (status, page)) = tokio::join!(listening.wait(), browse(&link));
        // It calls what it grants `dummy`, whatever was asked for.
        assert_eq!(connected.unwrap().missing, ["orders.read", "orders.write"]);
        assert!(status == 200, "{page}");
    }
    let bearer = setup.bearer(&host).await.unwrap();
    assert_eq!(bearer.split('.').count(), 3, "a JWT");
    // It compares the verifier with the challenge: a code with another sign-in's is refused.
    let (mut first, mut second) = (authorization.sign_in().await.unwrap(), authorization.sign_in().await.unwrap());
    let (to_first, to_second) = (ends_on(first.link()).await, ends_on(second.link()).await);
    let code = |text: &str| text.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let swapped = to_first.replace(&code(&to_first), &code(&to_second));
    first.finish(&swapped).await.unwrap_err();
    second.finish(&to_second).await.unwrap_err();
    assert_eq!(setup.bearer(&host).await.unwrap(), bearer, "what was there is still there");
    assert_eq!(authorization.disconnect(false).await.unwrap(), Disconnected::Revoked);
    setup.bearer(&host).await.unwrap_err();
}

/// The same server, that gives no refresh token with a renewal, and refuses the second one.
#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
async fn oauth2_mock_server_that_gives_no_new_refresh_token() {
    let Ok(url) = std::env::var("WHARFAGE_OAUTH2_SPARSE") else {
        return skipped("WHARFAGE_OAUTH2_SPARSE", HOW);
    };
    let mut setup = Setup::new().await;
    setup.text = setup.text.replace(&format!("auth = '{}'", setup.provider.url()), &format!("auth = '{url}'"));
    setup.text = setup.text.replace("origins = [", &format!("origins = ['{url}', "));
    let clock = skipping();
    let host = setup.host(&clock);
    let authorization = host.authorize(&setup.config(), "acme", None).await.unwrap();
    let sign_in = async || {
        let mut signing_in = authorization.sign_in().await.unwrap();
        let back = ends_on(signing_in.link()).await;
        signing_in.finish(&back).await.unwrap();
    };
    sign_in().await;
    setup.bearer(&host).await.unwrap();
    clock.advance(3_600_000);
    setup.bearer(&host).await.unwrap();
    clock.advance(3_600_000);
    let error = setup.bearer(&host).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::ReauthorizationNeeded, "the refresh token of the sign-in went on, and was refused");
    assert!(error.to_string().contains("wharfage connect acme"), "{error}");
    sign_in().await;
    for _ in 0..3 {
        setup.bearer(&host).await.unwrap();
        clock.advance(3_600_000);
    }
}
