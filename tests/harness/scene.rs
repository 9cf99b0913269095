//! A host with one plugin over one connection, and all that stands around it.
//!
//! A scene grants a guest everything that its manifest asks for, on loopback; a test takes away what it is about.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;
use wharfage::PathEvent;
use wharfage::{
    Account, Answer, BoxFuture, Clock, Connection, Cursor, Error, Host, ManualClock, Needs, Plugin, SecretSource,
    SecretValue, SystemClock, Timestamp,
};

use crate::{API_KEY, Guest, Provider, SIGNING, USER, VERIFYING, component, skipping};

type Change = Box<dyn FnOnce(&mut Connection) + Send>;

/// What an attacker does to a component's bytes.
pub type Forge = fn(Vec<u8>) -> Vec<u8>;

/// A scene before it is set.
pub struct Scene {
    guest: Guest,
    forge: Forge,
    tamper: Forge,
    manifest: String,
    connection: String,
    account: String,
    changes: Vec<Change>,
    clock: Option<Arc<dyn Clock>>,
}

/// A scene that is set.
pub struct Open {
    /// The host.
    pub host: Host,
    /// The plugin over its connection, which is named `acme`.
    pub plugin: Plugin,
    steps: Arc<Mutex<Vec<PathEvent>>>,
}

impl Scene {
    /// A guest that may do everything its manifest says, with nobody on the other side.
    pub fn of(guest: Guest) -> Self {
        crate::watchdog::watch();
        Self {
            guest,
            forge: |compiled| compiled,
            tamper: |built| built,
            manifest: include_str!("guest.toml").replace("{name}", &guest.name.replace('_', "-")),
            connection: String::new(),
            account: String::new(),
            changes: Vec::new(),
            clock: Some(Arc::new(skipping())),
        }
    }

    /// The compiler's component is not what it was, and has another name.
    pub fn forged(mut self, name: &'static str, forge: Forge) -> Self {
        let from = std::mem::replace(&mut self.guest.name, name);
        self.manifest = self.manifest.replace(&from.replace('_', "-"), &name.replace('_', "-"));
        self.forge = forge;
        self
    }

    /// The component is not what `wharfage build` made.
    pub fn tampered(mut self, tamper: Forge) -> Self {
        self.tamper = tamper;
        self
    }

    /// This provider is the origin `api`.
    pub fn with(self, provider: &Provider) -> Self {
        self.at("api", &provider.url())
    }

    /// An origin of the manifest is here.
    pub fn at(self, origin: &str, url: &str) -> Self {
        let (origin, url) = (origin.to_owned(), url.to_owned());
        self.grant(move |connection| {
            let bare = url::Url::parse(&url).expect("a URL").origin().ascii_serialization();
            connection.base.insert(origin, url);
            connection.origins.push(bare);
        })
    }

    /// What goes to the origin `api` carries a token, which the host gets here by itself.
    pub fn signed_in(self, url: &str) -> Self {
        self.at("auth", url)
            .manifest_with("credential = \"key\"", "credential = \"account\"")
            .manifest(AUTHORITY)
            .manifest(SIGNED_IN)
    }

    /// More lines of the manifest.
    pub fn manifest(mut self, text: &str) -> Self {
        self.manifest.push_str(text);
        self
    }

    /// The manifest with something else in it.
    pub fn manifest_with(mut self, from: &str, to: &str) -> Self {
        assert!(self.manifest.contains(from), "the manifest has no {from}");
        self.manifest = self.manifest.replace(from, to);
        self
    }

    /// More lines of the connection.
    pub fn connection(mut self, text: &str) -> Self {
        self.connection.push_str(text);
        self
    }

    /// More lines of the account.
    pub fn account(mut self, text: &str) -> Self {
        self.account.push_str(text);
        self
    }

    /// Changes the connection.
    pub fn grant(mut self, change: impl FnOnce(&mut Connection) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// On this clock.
    pub fn clock(self, clock: &ManualClock) -> Self {
        self.any_clock(Arc::new(clock.clone()))
    }

    /// On a clock of any kind.
    pub fn any_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// On the machine's clock: where a limit of real time is what the test is about.
    pub fn real_time(mut self) -> Self {
        self.clock = None;
        self
    }

    /// The manifest as it is now.
    pub fn manifest_text(&self) -> &str {
        &self.manifest
    }

    /// The component with its manifest.
    pub async fn component(&self) -> Arc<Vec<u8>> {
        let name = format!("guest {}", self.guest.name);
        let built = component::built(&name, || (self.compiled(), None), &self.manifest).await;
        Arc::new((self.tamper)(built.to_vec()))
    }

    /// The component without manifest and operations.
    pub fn compiled(&self) -> Vec<u8> {
        (self.forge)(self.guest.compiled())
    }

    /// Sets the scene.
    ///
    /// # Panics
    /// When the host refuses.
    pub async fn open(self) -> Open {
        let name = self.guest.name;
        self.try_open().await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Connects to a host that the test has made, with an account of its own.
    pub async fn connect(self, host: &Host, account: &Account) -> Result<Plugin, Error> {
        self.connect_as("acme", host, account).await
    }

    /// The same under another name than `acme`.
    pub async fn connect_as(self, name: &str, host: &Host, account: &Account) -> Result<Plugin, Error> {
        let bytes = self.component().await;
        let mut connection = Connection::parse(&self.connection)?;
        connection.plugin = self.guest.name.replace('_', "-");
        connection.imports = imports(&bytes)?;
        connection.secrets = SECRETS.map(|(name, _)| name.to_owned()).to_vec();
        connection.private_addresses = vec!["127.0.0.1/32".parse().expect("an address")];
        for change in self.changes {
            change(&mut connection);
        }
        host.connect(name, &bytes, &connection, Some(account)).await
    }

    /// Sets the scene, if the host lets us.
    pub async fn try_open(self) -> Result<Open, Error> {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let mut builder = Host::builder().observer({
            let steps = steps.clone();
            move |step| steps.lock().unwrap_or_else(PoisonError::into_inner).push(step.clone())
        });
        builder = match &self.clock {
            Some(clock) => builder.clock(Shared(clock.clone())),
            None => builder.clock(SystemClock::new()),
        };
        builder = builder.code_dir(crate::compiled_code());
        let host = builder.build()?;
        let account = account(&self.account);
        let plugin = self.connect(&host, &account).await?;
        Ok(Open { host, plugin, steps })
    }
}

/// A clock that several hold.
pub(crate) struct Shared(pub(crate) Arc<dyn Clock>);

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.0.sleep_until(at)
    }

    fn alarm(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.0.alarm(at)
    }

    fn jitter(&self) -> f64 {
        self.0.jitter()
    }
}

impl Open {
    /// Runs an operation.
    pub async fn call(&self, operation: &str, input: Value) -> Result<Answer<Value>, Error> {
        self.plugin.call(operation, &input).await
    }

    /// Runs an operation and answers its output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn output(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error:?}")).output
    }

    /// Runs an operation that has to fail.
    ///
    /// # Panics
    /// When it does not.
    pub async fn error(&self, operation: &str, input: Value) -> Error {
        match self.call(operation, input).await {
            Ok(answer) => panic!("{operation} should have failed, and answered {answer:?}"),
            Err(error) => error,
        }
    }

    /// One page as JSON.
    pub async fn page(
        &self,
        operation: &str,
        input: Value,
        cursor: Option<Cursor>,
    ) -> Result<(Value, Option<Cursor>), Error> {
        let page = self.plugin.page(operation, &input.to_string(), cursor).await?;
        Ok((serde_json::from_str(page.output.get()).expect("an output is JSON"), page.next))
    }

    /// What happened on the path so far.
    pub fn steps(&self) -> Vec<PathEvent> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Milliseconds of the waits between attempts.
    pub fn waits_ms(&self) -> Vec<u64> {
        let wait = |step: PathEvent| match step {
            PathEvent::Retrying { wait_ms, .. } => Some(wait_ms),
            _ => None,
        };
        self.steps().into_iter().filter_map(wait).collect()
    }
}

/// What a component imports of the contract, as far as it must be granted.
pub fn imports(bytes: &[u8]) -> Result<Vec<String>, Error> {
    Ok(Needs::read(bytes)?.imports.into_iter().filter(|name| !matches!(&**name, "clock" | "files" | "log")).collect())
}

/// The secrets that every scene has: name and value.
pub const SECRETS: [(&str, &str); 4] =
    [("api_key", API_KEY), ("user", USER), ("signing", SIGNING), ("verifying", VERIFYING)];

/// The manifest's lines about an origin `auth` where only the host asks: for what is signed in to.
pub const AUTHORITY: &str = r#"
[origins.auth]
url = "https://auth.stand-in.test"
methods = ["POST"]
paths = ["/**"]
host_only = true
source = "made up for the tests"
date = "2026-11-24"
"#;

/// A credential of tokens that the host gets there by itself.
const SIGNED_IN: &str = r#"
[credentials.account]
scheme = "oauth2"
flow = "client-credentials"
token = "{auth}/token"
client_id = "user"
secret = "api_key"
origins = ["api"]
source = "made up for the tests"
date = "2026-11-24"
"#;

/// Where a provider's public keys are.
pub const KEYS: &str = r#"
[origins.keys]
url = "https://keys.stand-in.test"
methods = ["GET"]
paths = ["/jwks"]
host_only = true
source = "made up for the tests"
date = "2026-11-24"
"#;

/// A webhook of things with its token, a poll of them, and an event.
pub const THINGS: &str = r#"
[webhooks.things]
keys = [{ headers = ["X-Id"] }, { hash = true }]
source = "made up for the tests"
date = "2026-11-24"

[webhooks.things.verify]
scheme = "token"
secret = "verifying"
header = "X-Token"

[polls.ticks]
every_s = 3600
source = "made up for the tests"
date = "2026-11-24"

[events."thing.seen"]
description = "Something was seen"
"#;

/// An account that holds every secret of a scene, and what these lines say.
pub fn account(lines: &str) -> Account {
    let account: Account = toml::from_str(lines).unwrap_or_else(|error| panic!("{error}"));
    SECRETS.iter().fold(account, |account, (name, value)| {
        account.with_secret(name, SecretSource::Value(SecretValue::new(*value)))
    })
}

/// A host that keeps everything in this folder, on this clock.
pub fn host(state: &Path, clock: impl Clock) -> Host {
    let builder = Host::builder().state_dir(state).code_dir(crate::compiled_code());
    builder.clock(clock).build().expect("a host starts")
}

/// A file that is its owner's alone.
pub fn secret_file(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its owner's alone");
    }
}

/// A folder with a file per secret, its owner's alone, and the lines of a `wharfage.toml` that say so.
pub fn secret_files(account: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lines = format!("[accounts.{account}.secrets]\n");
    for (name, value) in SECRETS {
        let path = folder.path().join(name);
        secret_file(&path, &format!("{value}\n"));
        lines.push_str(&format!("{name} = {{ file = {} }}\n", toml::Value::from(path.display().to_string())));
    }
    (folder, lines)
}
