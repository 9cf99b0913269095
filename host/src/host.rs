//! What an embedder holds: a host that loads plugins and connects them.

mod assemble;
mod builder;
mod code;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use self::assemble::Holder;
use self::code::apart;
use crate::account::Account;
use crate::artifact::{self, Artifacts, Code, CompilingListener, Digest};
use crate::component::{COMPONENT_BYTES_MAX, embed};
use crate::connection::{Config, Connection, PluginSource};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::grant::Grant;
#[cfg(feature = "serve")]
use crate::inbound::log::EventLog;
#[cfg(feature = "serve")]
use crate::inbound::sink;
#[cfg(feature = "serve")]
use crate::inbound::sink::channel::Events;
#[cfg(feature = "serve")]
use crate::inbound::sink::http::HttpTarget;
#[cfg(feature = "serve")]
use crate::inbound::sink::lines::{LineTarget, RotatingFile};
#[cfg(feature = "serve")]
use crate::inbound::sink::worker::{SinkContext, SinkTarget, SinkWorker, WakeSignal};
#[cfg(any(feature = "serve", feature = "trace"))]
use crate::limits::Limits;
use crate::manifest::{Manifest, Needs, Operation};
use crate::observe::audit::Audit;
#[cfg(any(feature = "serve", feature = "trace"))]
use crate::observe::audit::AuditContext;
use crate::observe::metrics::{Meters, Metrics};
use crate::observe::refusals::{Refusal, Refusals};
use crate::outbound::Observer;
use crate::outbound::address::Resolver;
use crate::outbound::admit::BucketQueue;
#[cfg(any(feature = "serve", feature = "trace"))]
use crate::outbound::client::Http;
#[cfg(any(feature = "serve", feature = "trace"))]
use crate::outbound::own::OwnPath;
use crate::outbound::session::Tokens;
use crate::outbound::tape::Tape;
use crate::outbound::transport::Transport;
use crate::plugin::{self, Linked, Parts, Plugin};
#[cfg(feature = "serve")]
use crate::policy::sink::SinkPlace;
use crate::store::{Seal, Store};
use crate::time::Clock;
#[cfg(any(feature = "serve", feature = "trace"))]
use crate::vault::SecretsContext;
use crate::vault::{KeyChange, Sealed, Secrets};

pub use self::builder::HostBuilder;

/// Loads plugins and keeps what they share: the engine, compiled code, state, and the budgets of accounts.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

debug_shows!(Host);

struct Inner {
    engine: Engine,
    /// What every component gets, made once for all of them.
    linker: Linked,
    artifacts: Option<Artifacts>,
    #[cfg(feature = "serve")]
    state_dir: Option<PathBuf>,
    store: Arc<dyn Store>,
    /// Whether what the store holds outlives the host.
    is_durable: bool,
    seal: Arc<Seal>,
    /// The outbound path's own key.
    path_key: [u8; 32],
    clock: Arc<dyn Clock>,
    transport: Option<Arc<dyn Transport>>,
    resolver: Arc<Resolver>,
    observer: Option<Observer>,
    compiling: Option<CompilingListener>,
    tape: Option<Tape>,
    audit: Audit,
    meters: Meters,
    refusals: Refusals,
    run_programs: bool,
    queues: Mutex<HashMap<(String, String), Arc<BucketQueue>>>,
    /// Rung when something was emitted.
    #[cfg(feature = "serve")]
    wake: WakeSignal,
    sealed: Sealed,
    /// The tokens of connected accounts, by owner and credential.
    tokens: Mutex<HashMap<(String, String), Arc<Tokens>>>,
    /// The code of the plugins that are loaded: it goes with the last plugin that is made of it.
    components: Mutex<HashMap<Digest, Weak<Code>>>,
    /// Whoever holds this compiles.
    compiler: Arc<tokio::sync::Mutex<()>>,
}

impl Host {
    /// Settings, then [`HostBuilder::build`].
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Connects the component in `bytes` as `name`.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when it is no plugin;
    /// [`Kind::PolicyDenied`](crate::Kind::PolicyDenied) when it needs what the connection does not grant, with the line
    /// that would allow it; [`Kind::Configuration`](crate::Kind::Configuration) when the connection makes no sense.
    pub async fn connect(
        &self,
        name: &str,
        bytes: &[u8],
        connection: &Connection,
        account: Option<&Account>,
    ) -> Result<Plugin> {
        let holder = Holder { connection: name, account_name: None, account };
        let plugin = self.connect_as(bytes, Digest::of(bytes), connection, holder).await?;
        plugin.take_up();
        Ok(plugin)
    }

    /// Opens a connection of a `wharfage.toml`: reads its component, checks the pinned digest, and connects.
    ///
    /// ```no_run
    /// # async fn example() -> wharfage::Result<()> {
    /// use wharfage::{Config, Host};
    ///
    /// let text = r#"
    ///     [plugins.orders]
    ///     component = "orders.wasm" # beside this file
    ///
    ///     [connections.acme]
    ///     plugin = "orders"
    ///     imports = ["http"]
    ///     origins = ["https://api.example.com"]
    ///     secrets = ["api_key"]
    /// "#;
    /// let config = Config::parse(text, "/etc/acme/wharfage.toml".as_ref())?;
    /// let host = Host::builder().state_dir("/var/lib/acme").build()?;
    /// let plugin = host.open(&config, "acme").await?;
    /// println!("{} operations", plugin.needs().operations.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Host::connect`], and when the file is missing or not the pinned one.
    pub async fn open(&self, config: &Config, name: &str) -> Result<Plugin> {
        let plugin = self.open_beside(config, name).await?;
        plugin.take_up();
        Ok(plugin)
    }

    /// The same beside what runs: what it says of budgets holds when it is taken up.
    pub(crate) async fn open_beside(&self, config: &Config, name: &str) -> Result<Plugin> {
        let stated = Stated::read_apart(config, name).await?;
        self.connect_as(&stated.bytes, stated.digest, stated.connection, stated.holder)
            .await
            .map_err(|error| error.context(format!("open connection `{name}`")))
    }

    async fn connect_as(
        &self,
        bytes: &[u8],
        digest: Digest,
        connection: &Connection,
        holder: Holder<'_>,
    ) -> Result<Plugin> {
        let inner = &self.0;
        let needs = Needs::read(bytes)?;
        let grant = Grant::new(&needs, holder.connection, connection, holder.account)?;
        grant.check(&needs)?;
        let component = self.component(&needs.manifest.plugin.name, digest, bytes).await?;
        let outbound = self.outbound(&needs, digest, &grant, holder)?;
        Plugin::load(Parts {
            engine: inner.engine.clone(),
            linker: inner.linker.clone(),
            component,
            needs: Arc::new(needs),
            digest,
            grant,
            outbound,
            store: inner.store.clone(),
            seal: inner.seal.clone(),
            clock: inner.clock.clone(),
            observer: inner.observer.clone(),
        })
        .await
    }

    /// The secrets of a connection of a `wharfage.toml`, without loading its plugin: to keep one, and to see how old they
    /// are.
    ///
    /// # Errors
    /// As for [`Host::open`].
    pub fn secrets(&self, config: &Config, name: &str) -> Result<Secrets> {
        let stated = Stated::read(config, name)?;
        let needs = Needs::read(&stated.bytes)?;
        let grant = Grant::new(&needs, name, stated.connection, stated.holder.account)?;
        Ok(self.secrets_of(&needs, grant.secrets, stated.holder))
    }

    /// Seals everything in the sealed store with a new key and forgets the old one. Cut short, nothing is lost, and run
    /// again it goes on.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where the key stands in the environment, with what to set;
    /// [`Kind::Conflict`](crate::Kind::Conflict) while another process is at it.
    pub async fn change_sealing_key(&self) -> Result<KeyChange> {
        self.0.sealed.change_key().await
    }

    /// Writes manifest and operations into a compiler's output: what `wharfage build` does. The component's `describe`
    /// runs with every import a trap and limits of its own.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when it is no plugin or does not describe itself;
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the manifest is wrong.
    pub async fn build(&self, component: &[u8], manifest: &str) -> Result<Vec<u8>> {
        crate::component::Outline::read(component)?.check_contract()?;
        written_into(component, &self.describe(component).await?, manifest)
    }

    /// The same for a component that was compiled twice: `described` answers with its schemas, `component` leaves them to
    /// what it carries and is smaller for it. Built is `component`, with what the other one said.
    ///
    /// # Errors
    /// As [`Host::build`], and [`Kind::Component`](crate::Kind::Component) where the two are not the same plugin.
    pub async fn build_as_described(&self, component: &[u8], described: &[u8], manifest: &str) -> Result<Vec<u8>> {
        crate::component::Outline::read(component)?.check_contract()?;
        let operations = self.describe(described).await?;
        if !plugin::says_the_same(&self.describe(component).await?, &operations) {
            return Err(Error::component("the component has other operations than the one that describes it")
                .with_details("Build both from the same source: wharfage build"));
        }
        written_into(component, &operations, manifest)
    }

    /// Asks a component what it can do, without granting it anything.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when it does not answer.
    pub async fn describe(&self, component: &[u8]) -> Result<Vec<Operation>> {
        crate::component::Outline::read(component)?;
        let (engine, bytes) = (self.0.engine.clone(), component.to_vec());
        let turn = self.0.compiler.clone().lock_owned().await;
        let compiled = apart(move || {
            let _turn = turn;
            artifact::compile(&engine, &bytes)
        })
        .await??;
        plugin::describe(&self.0.engine, self.0.linker.clone(), &compiled, &self.0.clock, None).await
    }

    /// The audit trail: who used which secret, for what, and what came of it. Several hosts over one state folder write
    /// one trail.
    ///
    /// ```no_run
    /// # async fn example(host: &wharfage::Host) -> wharfage::Result<()> {
    /// let audit = host.audit();
    /// let found = audit.check().await?;
    /// if let Some((row, meaning)) = &found.broken {
    ///     eprintln!("the trail breaks at row {row}: {meaning}");
    /// }
    /// let mut after = found.aged_out;
    /// loop {
    ///     let page = audit.page(after, 1_000).await?;
    ///     let Some(last) = page.last() else { break };
    ///     after = last.number;
    ///     for row in page.iter().filter_map(|row| row.entry.as_ref()) {
    ///         println!("{} {} {}", row.at, row.connection, row.action.name());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// What was counted and timed since the host was started, of every connection that was opened. What `wharfage serve`
    /// runs beside them is in `Serving::metrics`.
    ///
    /// ```
    /// # let host = wharfage::Host::builder().build()?;
    /// let metrics = host.metrics();
    /// for connection in &metrics.connections {
    ///     for operation in &connection.operations {
    ///         println!("{} {}: {} calls", connection.connection, operation.operation, operation.calls());
    ///     }
    /// }
    /// let text = metrics.prometheus();
    /// assert!(text.contains("# TYPE wharfage_calls_total counter"));
    /// # Ok::<_, wharfage::Error>(())
    /// ```
    pub fn metrics(&self) -> Metrics {
        self.0.meters.read(self.0.clock.now())
    }

    /// What was refused lately, the latest first, each with the line that would allow it: the last
    /// [`REFUSALS_PER_CONNECTION`](crate::observe::REFUSALS_PER_CONNECTION) of each connection that was opened.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.0.refusals.read()
    }

    /// The refusals of one connection.
    #[cfg(all(test, feature = "serve"))]
    pub(crate) fn refusals_of(&self, connection: &str) -> Arc<crate::observe::refusals::Ring> {
        self.0.refusals.of(connection)
    }

    /// The private listener's token, and the file that it is kept in; one that nobody keeps, without a state folder.
    #[cfg(feature = "serve")]
    pub(crate) fn console_token(&self) -> Result<(String, Option<PathBuf>)> {
        match &self.0.state_dir {
            Some(path) => Ok((artifact::read_or_make_token(path)?, Some(path.join(artifact::TOKEN_FILE)))),
            None => Ok((crate::hex::hex(&crate::random::bytes::<32>()?), None)),
        }
    }

    /// What arrived and what left: to see it, and to have it done once more.
    #[cfg(feature = "serve")]
    pub fn event_log(&self) -> EventLog {
        EventLog::new(self.0.store.clone(), self.0.clock.clone(), self.0.audit.clone())
    }

    /// What plugins emit, one event after the other: at least once, in the order in which it was committed, from where the
    /// reader of this name has acknowledged. One name is for one reader at a time.
    ///
    /// ```no_run
    /// # async fn example(host: &wharfage::Host) -> wharfage::Result<()> {
    /// let mut events = host.emitted("billing").await?.types(["order.*"])?;
    /// loop {
    ///     let delivery = events.next().await?;
    ///     println!("{}", delivery.event.to_cloud_event()?);
    ///     // Until here it may come again; its id is the same then.
    ///     delivery.acknowledge().await?;
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store cannot be read.
    #[cfg(feature = "serve")]
    pub async fn emitted(&self, reader: &str) -> Result<Events> {
        Events::open(reader, self.sink_context()).await
    }

    /// The sinks of a `wharfage.toml`, of which none has begun: each can do what it is told to, as far as that can be known.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where two would write one file or a secret is none;
    /// [`Kind::CredentialUnavailable`](crate::Kind::CredentialUnavailable) where there is no secret.
    #[cfg(feature = "serve")]
    pub(crate) async fn sinks(&self, config: &Config) -> Result<Vec<SinkWorker>> {
        let inner = &self.0;
        let mut workers = Vec::new();
        crate::policy::sink::check_together(&config.sinks, config.serve.limits.emitted_kept_ms)?;
        for (name, policy) in &config.sinks {
            let limits = &policy.limits;
            let target: Box<dyn SinkTarget> = match &policy.place {
                SinkPlace::Stdout => Box::new(LineTarget::stdout()),
                SinkPlace::File { path, fsync } => {
                    Box::new(LineTarget::file(RotatingFile::new(path, *fsync, limits.rotate_bytes, limits.files)))
                }
                SinkPlace::Http { .. } => {
                    let owner = format!("sink {name}");
                    let audit_context = AuditContext::new(inner.audit.clone(), "", &owner, None);
                    let limits = sink::http::path_limits(limits);
                    let own_path = self.own_path(&limits, &owner, Some(inner.sealed.clone()), audit_context)?;
                    let http = HttpTarget::new(name, policy, &own_path)?;
                    http.check().await.map_err(|error| error.context(format!("sink `{name}`")))?;
                    Box::new(http)
                }
            };
            workers.push(SinkWorker::new(name, policy.clone(), target, self.sink_context())?);
        }
        Ok(workers)
    }

    /// What all plugins share.
    #[cfg(feature = "serve")]
    pub(crate) fn engine_limits(&self) -> &crate::engine::EngineLimits {
        self.0.engine.limits()
    }

    /// Where everything is kept.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// What time it is.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Where answers to a credential of a connection are kept.
    pub(crate) fn lineage(&self, connection: &str, credential: &str) -> String {
        crate::outbound::cache::lineage(&self.0.path_key, connection, Some(credential))
    }

    /// The digest of a connection's component as it lies there now.
    #[cfg(feature = "serve")]
    pub(crate) fn digest(&self, config: &Config, name: &str) -> Result<Digest> {
        Ok(Stated::read(config, name)?.digest)
    }

    /// The wake-up signal of the sinks: whoever commits what a plugin emitted rings it.
    #[cfg(feature = "serve")]
    pub(crate) fn wake(&self) -> &WakeSignal {
        &self.0.wake
    }

    /// What a path of the host's own goes by, and where it finds the secrets of this owner.
    #[cfg(any(feature = "serve", feature = "trace"))]
    pub(crate) fn own_path(
        &self,
        limits: &Limits,
        owner: &str,
        sealed: Option<Sealed>,
        audit_context: AuditContext,
    ) -> Result<OwnPath> {
        let inner = &self.0;
        let transport = match &inner.transport {
            Some(transport) => transport.clone(),
            None => Arc::new(Http::new(limits)?),
        };
        let (owner, clock, run_programs) = (owner.to_owned(), inner.clock.clone(), inner.run_programs);
        let secrets = SecretsContext { sealed, owner, clock, run_programs, audit_context };
        Ok(OwnPath { transport, resolver: inner.resolver.clone(), secrets })
    }

    #[cfg(feature = "serve")]
    fn sink_context(&self) -> SinkContext {
        SinkContext { store: self.0.store.clone(), clock: self.0.clock.clone(), wake: self.0.wake.clone() }
    }

    /// Whether instances come from a pool; false where the address space is short.
    pub fn is_pooled(&self) -> bool {
        self.0.engine.is_pooled()
    }
}

/// A connection as a `wharfage.toml` states it, with its component.
pub(crate) struct Stated<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) holder: Holder<'a>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

impl<'a> Stated<'a> {
    /// Reads the component and compares it with its pin.
    pub(crate) fn read(config: &'a Config, name: &'a str) -> Result<Self> {
        let (connection, source) = named(config, name)?;
        Ok(Self::of(config, name, connection, pinned(&connection.plugin, source)?))
    }

    /// The same on a thread that nobody else waits for, because a component may be large.
    pub(crate) async fn read_apart(config: &'a Config, name: &'a str) -> Result<Self> {
        let (connection, source) = named(config, name)?;
        let (plugin, source) = (connection.plugin.clone(), source.clone());
        let read = apart(move || pinned(&plugin, &source)).await??;
        Ok(Self::of(config, name, connection, read))
    }

    fn of(config: &'a Config, name: &'a str, connection: &'a Connection, (bytes, digest): (Vec<u8>, Digest)) -> Self {
        let account_name = connection.account.as_deref();
        let account = account_name.and_then(|name| config.accounts.get(name));
        Self { connection, holder: Holder { connection: name, account_name, account }, bytes, digest }
    }
}

/// A connection, and where its plugin is.
fn named<'a>(config: &'a Config, name: &str) -> Result<(&'a Connection, &'a PluginSource)> {
    let connection = config.connection(name)?;
    let source = config.plugins.get(&connection.plugin);
    let missing = || Error::configuration(format!("there is no plugin `{}`", connection.plugin));
    Ok((connection, source.ok_or_else(missing)?))
}

/// The bytes of a plugin's component with their digest, which is the pinned one where one is pinned.
fn pinned(plugin: &str, source: &PluginSource) -> Result<(Vec<u8>, Digest)> {
    let bytes = read_component(&source.component)?;
    let digest = Digest::of(&bytes);
    check_digest(plugin, source.digest.as_deref(), digest)?;
    Ok((bytes, digest))
}

/// Reads a component's file, bounded.
///
/// # Errors
/// [`Kind::Component`](crate::Kind::Component) when it is missing or too large.
pub fn read_component(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let wrong = |error: std::io::Error| Error::component(format!("{} cannot be read: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| Error::component(format!("{} is no file", path.display())))?;
    let dir = cap_std::fs::Dir::open_ambient_dir(folder, cap_std::ambient_authority()).map_err(wrong)?;
    let mut bytes = Vec::new();
    dir.open(name).map_err(wrong)?.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

/// Where this user's compiled code and state live by default: `$XDG_STATE_HOME/wharfage`, else
/// `~/.local/state/wharfage`.
pub fn default_state_dir() -> Option<PathBuf> {
    let state = crate::vault::variable("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(crate::vault::variable("HOME")?).join(".local/state")))?;
    Some(state.join("wharfage"))
}

/// Compares a component with its pin.
fn check_digest(plugin: &str, pinned: Option<&str>, found: Digest) -> Result<()> {
    match pinned {
        None => Ok(()),
        Some(pinned) if pinned.eq_ignore_ascii_case(&found.to_string()) => Ok(()),
        Some(pinned) => Err(Error::component(format!("the component of plugin `{plugin}` is not the pinned one"))
            .with_details(format!(
                "pinned {pinned}\nfound  {found}\nTo see what changed, put the pinned one back, and then:   \
                 wharfage explain CONNECTION --against NEW.wasm\nTo accept it, set in [plugins.{plugin}]:   \
                 digest = \"{found}\""
            ))),
    }
}

/// A component that carries its manifest and its operations, whose schemas are checked here once.
fn written_into(component: &[u8], operations: &[Operation], manifest: &str) -> Result<Vec<u8>> {
    operations.iter().try_for_each(Operation::check_schemas)?;
    Manifest::parse(manifest)?.check_against(operations)?;
    let described = serde_json::to_vec(operations).map_err(|error| Error::internal(error.to_string()))?;
    let built = embed(component, manifest, &described)?;
    Needs::read(&built)?;
    Ok(built)
}
