//! What an embedder holds: a host that loads plugins and connects them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::account::{Account, SecretSource, SecretValue};
use crate::artifact::{self, Artifacts, Code, Compiling, CompilingListener, Digest};
use crate::auth::Credential;
use crate::connect::Authorization;
use crate::connection::Limits;
use crate::connection::{Config, Connection};
use crate::engine::{Engine, EnginePolicy};
use crate::error::{Error, Result};
use crate::grant::Grant;
#[cfg(feature = "serve")]
use crate::inbound::log::EventLog;
#[cfg(feature = "serve")]
use crate::inbound::sink::channel::Events;
#[cfg(feature = "serve")]
use crate::inbound::sink::http::Posts;
#[cfg(feature = "serve")]
use crate::inbound::sink::line::{Bell, Line, Means as SinkMeans, Outlet};
#[cfg(feature = "serve")]
use crate::inbound::sink::lines::{Journal, Lines};
#[cfg(feature = "serve")]
use crate::inbound::sink::{self, SinkPlace};
use crate::manifest::{BudgetScope, COMPONENT_BYTES_MAX, CredentialFacts, Needs, Operation, SecretFacts, embed};
#[cfg(feature = "serve")]
use crate::observe::alerts::Alert;
#[cfg(feature = "serve")]
use crate::observe::alerts::tell::Teller;
use crate::observe::audit::{AUDIT_ROWS, AUDIT_ROWS_IN_MEMORY, Audit, Book};
use crate::observe::metrics::{Meters, Metrics};
#[cfg(feature = "trace")]
use crate::observe::otlp::{self, Exporting, Spans};
#[cfg(feature = "trace")]
use crate::observe::policy::ObservePolicy;
use crate::observe::refusals::{Refusal, Refusals};
use crate::outbound::address::Resolver;
use crate::outbound::admit::{Lane, Lanes};
use crate::outbound::buckets::Shape;
use crate::outbound::cache::{Cache, KeptAnswers, lineage};
use crate::outbound::circuit::Circuits;
use crate::outbound::classify::Answers;
use crate::outbound::client::Http;
use crate::outbound::key_sets::KeySets;
#[cfg(any(feature = "serve", feature = "trace"))]
use crate::outbound::own::Way;
use crate::outbound::retry::RetryBudget;
use crate::outbound::scope::Asked;
use crate::outbound::session::{CLIENT, Session, Tokens};
use crate::outbound::tape::{NO_SECRET, Tape};
use crate::outbound::transport::{Nowhere, Transport};
use crate::outbound::{KeyPlace, Observer, Outbound};
use crate::plugin::{self, Linked, Parts, Plugin};
use crate::store::{Ledger, MemoryStore, Seal, Store, WRITTEN_DOWN_MS};
use crate::time::{Clock, SystemClock};
use crate::vault::{Granted, KeyChange, Means, Sealed, Secrets};

/// Loads plugins and keeps what they share: the engine, compiled code, state, and the budgets of accounts.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

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
    lanes: Mutex<HashMap<(String, String), Arc<Lane>>>,
    /// Rung when something was emitted.
    #[cfg(feature = "serve")]
    bell: Bell,
    sealed: Sealed,
    /// The tokens of connected accounts, by owner and credential.
    tokens: Mutex<HashMap<(String, String), Arc<Tokens>>>,
    /// The code of the plugins that are loaded: it goes with the last plugin that is made of it.
    components: Mutex<HashMap<Digest, Weak<Code>>>,
    /// Whoever holds this compiles.
    compiler: Arc<tokio::sync::Mutex<()>>,
}

/// Settings of a [`Host`]; every one has a default.
#[derive(Default)]
pub struct HostBuilder {
    state_dir: Option<PathBuf>,
    code_dir: Option<PathBuf>,
    clock: Option<Arc<dyn Clock>>,
    transport: Option<Arc<dyn Transport>>,
    observer: Option<Observer>,
    compiling: Option<CompilingListener>,
    tape: Option<Tape>,
    audit_rows: Option<u64>,
    run_programs: bool,
    engine: EnginePolicy,
}

/// Most bytes of a token endpoint's answer.
const TOKEN_ANSWER_BYTES_MAX: u64 = 256 << 10;

impl HostBuilder {
    /// Keeps compiled code and plugins' state in this folder, made if it is not there. Without one, a component is
    /// compiled whenever it is loaded and no loaded plugin is made of it, and state ends with the host.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// Keeps compiled code in this folder instead of the state's, or without any state at all: several hosts with states of
    /// their own may share it. At most 4 GiB are kept; what was compiled first goes first.
    pub fn code_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.code_dir = Some(path.into());
        self
    }

    /// Takes the time from here; tests turn it by hand.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sends requests through here instead of over the network; for tests.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Tells every step on the outbound path: pacing, signing, retries, refusals.
    pub fn observer(mut self, observer: impl Fn(&crate::outbound::Step) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Tells when a component is compiled, which happens once where compiled code is kept: before it and after it.
    pub fn compiling(mut self, listener: impl Fn(Compiling<'_>) + Send + Sync + 'static) -> Self {
        self.compiling = Some(Arc::new(listener));
        self
    }

    /// Records a call on this tape, or replays one from it. Where the tape is strict, the host has the tape's time, every
    /// wait is over at once, and nothing is sent. Plugins' state begins empty and ends with the host; compiled code is
    /// kept as ever.
    pub fn tape(mut self, tape: Tape) -> Self {
        self.tape = Some(tape);
        self
    }

    /// Keeps so many rows of the audit trail, the newest; 1,000,000 of some hundred bytes each where nothing is said, and
    /// 10,000 without a state folder.
    pub fn audit_rows(mut self, rows: u64) -> Self {
        self.audit_rows = Some(rows);
        self
    }

    /// Runs programs that a `wharfage.toml` names as the source of a secret. Without this they are refused, because a file
    /// that was found by looking around could name any; give it for a file that somebody chose. A program that is
    /// written in code ([`SecretProgram::new`](crate::SecretProgram::new)) needs no leave.
    pub fn run_programs(mut self, may_run: bool) -> Self {
        self.run_programs = may_run;
        self
    }

    /// With these limits of what all plugins share.
    pub fn engine(mut self, policy: EnginePolicy) -> Self {
        self.engine = policy;
        self
    }

    /// Starts the host.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the state folder cannot be used, or a limit makes no sense.
    pub fn build(self) -> Result<Host> {
        let (mut clock, mut transport) = (self.clock, self.transport);
        if let Some(tape_clock) = self.tape.as_ref().and_then(Tape::host_clock) {
            clock = Some(Arc::new(tape_clock));
            transport = transport.or_else(|| Some(Arc::new(Nowhere)));
        }
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        // With a tape, state begins empty and ends with the host, so that a replay meets what the recording met.
        let is_durable = self.state_dir.is_some() && self.tape.is_none();
        let artifacts = self.code_dir.as_ref().or(self.state_dir.as_ref());
        let artifacts = artifacts.map(|path| Artifacts::open(path)).transpose()?;
        let (store, key): (Arc<dyn Store>, _) = match &self.state_dir {
            // A key that nobody keeps.
            None => (Arc::new(MemoryStore::default()), crate::random::bytes()?),
            Some(path) => {
                let dir = artifact::private_dir(path)?;
                let key = artifact::read_or_make_key(&dir, path)?;
                let store: Arc<dyn Store> = match is_durable {
                    false => Arc::new(MemoryStore::default()),
                    true => durable(path, &key)?,
                };
                (store, key)
            }
        };
        // Whoever records uses secrets and tokens that are there, and what uses them is told durably; a replay uses none.
        let is_replay = self.tape.as_ref().is_some_and(Tape::is_strict);
        let (kept, folder, rows) = match &self.state_dir {
            Some(path) if is_durable => (store.clone(), Some(path), AUDIT_ROWS),
            Some(path) if !is_replay => (durable(path, &key)?, Some(path), AUDIT_ROWS),
            _ => (store.clone(), None, AUDIT_ROWS_IN_MEMORY),
        };
        let sealed = Sealed::new(kept.clone(), folder.map(PathBuf::as_path), clock.clone());
        let audit =
            Audit::new(kept, &artifact::derived(&key, b"audit"), self.audit_rows.unwrap_or(rows), clock.clone());
        let engine = Engine::new(self.engine.limits)?;
        Ok(Host(Arc::new(Inner {
            audit,
            meters: Meters::new(&*clock),
            refusals: Refusals::default(),
            linker: plugin::linker(&engine)?,
            engine,
            artifacts,
            #[cfg(feature = "serve")]
            state_dir: self.state_dir,
            sealed,
            tokens: Mutex::default(),
            store,
            is_durable,
            seal: Arc::new(Seal::new(&artifact::derived(&key, b"cursors"))),
            path_key: artifact::derived(&key, b"outbound"),
            resolver: Arc::new(Resolver::new(clock.clone())),
            clock,
            transport,
            observer: self.observer,
            compiling: self.compiling,
            tape: self.tape,
            run_programs: self.run_programs,
            lanes: Mutex::default(),
            #[cfg(feature = "serve")]
            bell: Bell::new(),
            components: Mutex::default(),
            compiler: Arc::default(),
        })))
    }
}

#[cfg(feature = "store-sqlite")]
fn durable(path: &Path, key: &[u8; 32]) -> Result<Arc<dyn Store>> {
    let seal = Seal::new(&artifact::derived(key, b"state"));
    Ok(Arc::new(crate::store::SqliteStore::open(&path.join("state.sqlite"), seal)?))
}

#[cfg(not(feature = "store-sqlite"))]
fn durable(_: &Path, _: &[u8; 32]) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(MemoryStore::default()))
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
        let plugin = self.connect_as(name, bytes, connection, None, account).await?;
        plugin.take_up();
        Ok(plugin)
    }

    /// Opens a connection of a `wharfage.toml`: reads its component, checks the pinned digest, and connects.
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
        let stated = Stated::read(config, name)?;
        self.connect_as(name, &stated.bytes, stated.connection, stated.account_name, stated.account)
            .await
            .map_err(|error| error.context(format!("open connection `{name}`")))
    }

    /// What connects the account of a connection, or disconnects it: its OAuth 2.0 credential's sign-in. `credential`
    /// chooses one where a plugin has several.
    ///
    /// # Errors
    /// As for [`Host::open`], and [`Kind::Configuration`](crate::Kind::Configuration) when the plugin has no such
    /// credential, or several and none is chosen.
    pub async fn authorize(&self, config: &Config, name: &str, credential: Option<&str>) -> Result<Authorization> {
        let stated = Stated::read(config, name)?;
        let needs = Needs::read(&stated.bytes)?;
        let grant = Grant::new(&needs, name, stated.connection, stated.account)?;
        let digest = Digest::of(&stated.bytes);
        let outbound = self.outbound(&needs, digest, &grant, name, stated.account_name, stated.account)?;
        let names: Vec<&str> = outbound.sessions.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = match (credential, names.as_slice()) {
            (_, []) => {
                return Err(Error::configuration(format!("connection `{name}` has nothing to sign in for"))
                    .with_details(
                        "Its plugin declares no credential of the scheme oauth2, or its origins are not granted",
                    ));
            }
            (Some(wanted), _) => wanted,
            (None, [only]) => only,
            (None, [first, ..]) => {
                let message =
                    format!("connection `{name}` has several credentials to sign in for: {}", names.join(", "));
                let help = format!("Say which:   wharfage connect {name} --credential {first}");
                return Err(Error::configuration(message).with_details(help));
            }
        };
        let Some((chosen, session)) = outbound.sessions.iter().find(|(name, _)| name == wanted) else {
            let message = format!("connection `{name}` has no credential `{wanted}` to sign in for");
            return Err(Error::configuration(message).with_details(crate::manifest::suggestion(wanted, &names)));
        };
        let scopes = crate::connect::scopes(config, name, &needs, chosen)?;
        // What was answered to its tokens: all connections of the account have them.
        let sharing = config.connections.iter().filter(|(other, connection)| {
            other.as_str() == name
                || (stated.account_name.is_some() && connection.account.as_deref() == stated.account_name)
        });
        let lineages = sharing.map(|(other, _)| lineage(&self.0.path_key, other, Some(chosen))).collect();
        let kept = KeptAnswers { store: self.0.store.clone(), lineages };
        let clock = self.0.clock.clone();
        Authorization::new(session.clone(), outbound.secrets.clone(), clock, name, stated.account, scopes, kept)
    }

    async fn connect_as(
        &self,
        name: &str,
        bytes: &[u8],
        connection: &Connection,
        account_name: Option<&str>,
        account: Option<&Account>,
    ) -> Result<Plugin> {
        let inner = &self.0;
        let needs = Needs::read(bytes)?;
        let digest = Digest::of(bytes);
        let grant = Grant::new(&needs, name, connection, account)?;
        grant.check(&needs)?;
        let component = self.component(&needs.manifest.plugin.name, digest, bytes).await?;
        let outbound = self.outbound(&needs, digest, &grant, name, account_name, account)?;
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

    /// The outbound path of a connection, with the tokens of its credentials.
    fn outbound(
        &self,
        needs: &Needs,
        digest: Digest,
        grant: &Grant,
        name: &str,
        account_name: Option<&str>,
        account: Option<&Account>,
    ) -> Result<Outbound> {
        let inner = &self.0;
        let granted = match &inner.tape {
            Some(tape) => taped(tape, &grant.secrets),
            None => grant.secrets.clone(),
        };
        let secrets = Arc::new(self.secrets_of(needs, name, account_name, granted));
        let transport = match &inner.transport {
            Some(transport) => transport.clone(),
            None => Arc::new(Http::new(&grant.limits)?),
        };
        let lanes = self.lanes(needs, grant, name, account_name, account)?;
        let plugin = &needs.manifest.plugin.name;
        let book = Book::new(inner.audit.clone(), plugin, name, account_name);
        let operations = needs.operations.iter().map(|operation| operation.name.as_str());
        let mut outbound = Outbound {
            scope: grant.scope.clone(),
            private_addresses: grant.private_addresses.clone(),
            credentials: grant.credentials.iter().cloned().map(Arc::new).collect(),
            answers: Answers::new(needs.manifest.answers.clone()),
            rate_headers: needs.manifest.rate_headers.clone(),
            retry_header: needs.manifest.retry.as_ref().map(|retry| retry.header.clone()),
            idempotency: needs.manifest.idempotency.as_ref().and_then(KeyPlace::of),
            request_id_header: needs.manifest.request_id.as_ref().map(|id| id.header.clone()),
            limits: grant.limits,
            trace_context: grant.trace_context,
            lanes,
            cache: (grant.cache.enabled && inner.tape.is_none()).then(|| {
                let account = account_name.unwrap_or_default().to_owned();
                // Everything that the grant holds: whoever gets less starts without what more was answered to.
                let granted = crate::explain::explain(needs, grant);
                let place = vec![account, name.to_owned(), digest.to_string(), granted];
                let disk = inner.is_durable.then(|| inner.store.clone());
                Cache::new(grant.cache, &inner.path_key, &place, &grant.limits, disk)
            }),
            circuits: Circuits::new(name, grant.breaker, &grant.scope.origins, &inner.clock),
            retry_budget: Mutex::new(RetryBudget::new(inner.clock.now())),
            event_streams: Arc::new(Semaphore::new(
                usize::try_from(grant.limits.event_streams).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS),
            )),
            leaks: AtomicU64::new(0),
            key: inner.path_key,
            resolver: inner.resolver.clone(),
            transport,
            secrets,
            book,
            meter: Some(inner.meters.of(name, account_name, plugin, operations)),
            refusals: inner.refusals.of(name),
            clock: inner.clock.clone(),
            tape: inner.tape.clone(),
            sessions: Vec::new(),
            key_sets: None,
            is_authority: false,
        };
        let asked: Vec<Asked> = grant.scope.asked.iter().chain(&grant.authority.asked).cloned().collect();
        if needs.manifest.secrets.values().any(SecretFacts::has_key_set) {
            let authority = self.authority(&outbound, grant, None);
            outbound.key_sets = Some(Arc::new(KeySets::new(authority, &asked)));
        }
        for credential in grant.credentials.iter().filter(|credential| credential.is_oauth2()) {
            let Some(CredentialFacts::Oauth2(facts)) = needs.manifest.credentials.get(&credential.name) else {
                continue;
            };
            let owner = owner(name, account_name);
            let tokens = self.tokens(&owner, &credential.name)?;
            let audience = grant.authority.origins.iter().map(|origin| origin.name.clone()).collect();
            let secret = facts.secret.as_ref();
            let client = secret.map(|secret| Credential::client(CLIENT, audience, &facts.client_id, secret));
            let authority = self.authority(&outbound, grant, client);
            let stated_by = account.filter(|account| !account.scopes.is_empty()).and(account_name);
            let scopes = grant.scopes.get(&credential.name).cloned().unwrap_or_default();
            let given = account.and_then(|account| account.access.get(&credential.name)).cloned();
            let session = Session::new(tokens, facts, name, scopes, authority, &asked)?.with_access(given)?;
            let session = session.stated_by(stated_by.map(str::to_owned));
            outbound.sessions.push((credential.name.clone(), Arc::new(session)));
        }
        Ok(outbound)
    }

    /// The tokens of an owner; the same for all its connections.
    fn tokens(&self, owner: &str, credential: &str) -> Result<Arc<Tokens>> {
        let inner = &self.0;
        let key = (owner.to_owned(), credential.to_owned());
        let mut all = inner.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = all.get(&key) {
            return Ok(tokens.clone());
        }
        // What is written down is read again by whoever comes back.
        if is_crowded(all.len()) {
            all.retain(|_, tokens| Arc::strong_count(tokens) > 1);
        }
        let tokens = Arc::new(Tokens::new(owner, credential, inner.sealed.clone(), inner.clock.clone())?);
        all.insert(key, tokens.clone());
        Ok(tokens)
    }

    /// The host's own path beside a connection's: to the endpoints that only the host asks.
    fn authority(&self, outbound: &Outbound, grant: &Grant, client: Option<Credential>) -> Outbound {
        let name = format!("{} (sign-in)", grant.connection);
        Outbound {
            scope: grant.authority.clone(),
            private_addresses: grant.private_addresses.clone(),
            credentials: client.into_iter().map(Arc::new).collect(),
            limits: Limits {
                response_body_bytes: TOKEN_ANSWER_BYTES_MAX.min(grant.limits.response_body_bytes),
                ..grant.limits
            },
            circuits: Circuits::new(&name, grant.breaker, &grant.authority.origins, &self.0.clock),
            key: outbound.key,
            resolver: outbound.resolver.clone(),
            transport: outbound.transport.clone(),
            book: outbound.book.clone(),
            meter: outbound.meter.clone(),
            is_authority: true,
            ..Outbound::nowhere(outbound.secrets.clone(), outbound.clock.clone())
        }
    }

    /// The secrets of a connection of a `wharfage.toml`, without loading its plugin: to keep one, and to see how old they
    /// are.
    ///
    /// # Errors
    /// As for [`Host::open`].
    pub fn secrets(&self, config: &Config, name: &str) -> Result<Secrets> {
        let stated = Stated::read(config, name)?;
        let needs = Needs::read(&stated.bytes)?;
        let grant = Grant::new(&needs, name, stated.connection, stated.account)?;
        Ok(self.secrets_of(&needs, name, stated.account_name, grant.secrets))
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

    fn secrets_of(
        &self,
        needs: &Needs,
        name: &str,
        account_name: Option<&str>,
        granted: BTreeMap<String, Granted>,
    ) -> Secrets {
        let owner = owner(name, account_name);
        Secrets::new(&needs.manifest.plugin.name, name, granted).with(Means {
            sealed: Some(self.0.sealed.clone()),
            owner,
            clock: self.0.clock.clone(),
            run_programs: self.0.run_programs,
            book: Book::new(self.0.audit.clone(), &needs.manifest.plugin.name, name, account_name),
        })
    }

    /// Writes manifest and operations into a compiler's output: what `wharfage build` does. The component's `describe`
    /// runs with every import a trap and limits of its own.
    ///
    /// # Errors
    /// [`Kind::Component`](crate::Kind::Component) when it is no plugin or does not describe itself;
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the manifest is wrong.
    pub async fn build(&self, component: &[u8], manifest: &str) -> Result<Vec<u8>> {
        crate::manifest::Outline::read(component)?.check_contract()?;
        written_into(component, &self.describe(component).await?, manifest)
    }

    /// The same for a component that was compiled twice: `described` answers with its schemas, `component` leaves them to
    /// what it carries and is smaller for it. Built is `component`, with what the other one said.
    ///
    /// # Errors
    /// As [`Host::build`], and [`Kind::Component`](crate::Kind::Component) where the two are not the same plugin.
    pub async fn build_as_described(&self, component: &[u8], described: &[u8], manifest: &str) -> Result<Vec<u8>> {
        crate::manifest::Outline::read(component)?.check_contract()?;
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
        crate::manifest::Outline::read(component)?;
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
    ///         println!("{} {} {}", row.at, row.connection, row.deed.name());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// What was counted and timed since the host was started, of every connection that was opened. What `wharfage serve`
    /// runs beside them is in [`Serving::metrics`](crate::Serving::metrics).
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
    /// [`REFUSALS_PER_CONNECTION`](crate::REFUSALS_PER_CONNECTION) of each connection that was opened.
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

    /// Sends the spans that are kept there to the receiver that `[observe]` names, and what is counted with them; nothing
    /// where it names none. They are sent until what this answers is ended or goes.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where the receiver cannot be reached as it is written.
    #[cfg(feature = "trace")]
    pub fn export(&self, policy: &ObservePolicy, spans: &Spans) -> Result<Option<Exporting>> {
        // Such a secret is none of a connection's. It is used every few seconds, and would push out of the trail what
        // others did.
        let way = self.own_way(&otlp::path_limits(), "observe", None, Book::closed())?;
        Exporting::begin(policy, spans, &way, self)
    }

    /// What arrived and what left: to see it, and to have it done once more.
    #[cfg(feature = "serve")]
    pub fn event_log(&self) -> EventLog {
        EventLog::new(self.0.store.clone(), self.0.clock.clone(), self.0.audit.clone())
    }

    /// What fires now, as whoever serves over this state folder has told it; see [`AlertPolicy`](crate::AlertPolicy).
    ///
    /// # Errors
    /// When the store cannot be read.
    #[cfg(feature = "serve")]
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        self.teller().firing().await
    }

    /// Tells who is to be told of alerts.
    #[cfg(feature = "serve")]
    pub(crate) fn teller(&self) -> Teller {
        let (bell, holder) = (self.0.bell.clone(), format!("{:016x}", crate::random::unlike()));
        let (store, clock) = (self.0.store.clone(), self.0.clock.clone());
        Teller { holder, store, clock, told: Arc::new(move || bell.ring()) }
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
        Events::open(reader, self.sink_means()).await
    }

    /// The sinks of a `wharfage.toml`, of which none has begun: each can do what it is told to, as far as that can be known.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where two would write one file or a secret is none;
    /// [`Kind::CredentialUnavailable`](crate::Kind::CredentialUnavailable) where there is no secret.
    #[cfg(feature = "serve")]
    pub(crate) async fn sinks(&self, config: &Config) -> Result<Vec<Line>> {
        let inner = &self.0;
        let mut lines = Vec::new();
        sink::check_together(&config.sinks, config.serve.limits.emitted_kept_ms)?;
        for (name, policy) in &config.sinks {
            let limits = &policy.limits;
            let outlet: Box<dyn Outlet> = match &policy.place {
                SinkPlace::Stdout => Box::new(Lines::stdout()),
                SinkPlace::File { path, fsync } => {
                    Box::new(Lines::file(Journal::new(path, *fsync, limits.rotate_bytes, limits.files)))
                }
                SinkPlace::Http { .. } => {
                    let owner = format!("sink {name}");
                    let book = Book::new(inner.audit.clone(), "", &owner, None);
                    let limits = sink::http::path_limits(limits);
                    let way = self.own_way(&limits, &owner, Some(inner.sealed.clone()), book)?;
                    let posts = Posts::new(name, policy, &way)?;
                    posts.check().await.map_err(|error| error.context(format!("sink `{name}`")))?;
                    Box::new(posts)
                }
            };
            lines.push(Line::new(name, policy.clone(), outlet, self.sink_means())?);
        }
        Ok(lines)
    }

    /// What all plugins share.
    #[cfg(feature = "serve")]
    pub(crate) fn engine_limits(&self) -> &crate::engine::EngineLimits {
        self.0.engine.limits()
    }

    /// Where everything is kept.
    #[cfg(feature = "serve")]
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// What time it is.
    #[cfg(feature = "serve")]
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The digest of a connection's component as it lies there now.
    #[cfg(feature = "serve")]
    pub(crate) fn digest(&self, config: &Config, name: &str) -> Result<Digest> {
        Ok(Digest::of(&Stated::read(config, name)?.bytes))
    }

    /// Rung by whoever commits what a plugin emitted.
    #[cfg(feature = "serve")]
    pub(crate) fn bell(&self) -> &Bell {
        &self.0.bell
    }

    /// What a path of the host's own goes by, and where it finds the secrets of this owner.
    #[cfg(any(feature = "serve", feature = "trace"))]
    pub(crate) fn own_way(&self, limits: &Limits, owner: &str, sealed: Option<Sealed>, book: Book) -> Result<Way> {
        let inner = &self.0;
        let transport = match &inner.transport {
            Some(transport) => transport.clone(),
            None => Arc::new(Http::new(limits)?),
        };
        let (owner, clock, run_programs) = (owner.to_owned(), inner.clock.clone(), inner.run_programs);
        let means = Means { sealed, owner, clock, run_programs, book };
        Ok(Way { transport, resolver: inner.resolver.clone(), means })
    }

    #[cfg(feature = "serve")]
    fn sink_means(&self) -> SinkMeans {
        SinkMeans { store: self.0.store.clone(), clock: self.0.clock.clone(), bell: self.0.bell.clone() }
    }

    /// Whether instances come from a pool; false where the address space is short.
    pub fn is_pooled(&self) -> bool {
        self.0.engine.is_pooled()
    }

    /// The component's code: already here, on disk, or compiled now. Reading and compiling happen on threads of their own,
    /// and one component is compiled after the other, which takes all cores by itself.
    async fn component(&self, plugin: &str, digest: Digest, bytes: &[u8]) -> Result<Arc<Code>> {
        if let Some(component) = self.loaded(digest) {
            return Ok(component);
        }
        let host = self.clone();
        if let Some(component) = apart(move || host.kept(digest)).await? {
            return Ok(component);
        }
        let turn = self.0.compiler.clone().lock_owned().await;
        let (host, plugin, bytes) = (self.clone(), plugin.to_owned(), bytes.to_vec());
        // Whoever goes away meanwhile leaves the turn to what is being compiled.
        apart(move || {
            let _turn = turn;
            // Somebody may have wanted the same.
            match host.loaded(digest).or_else(|| host.kept(digest)) {
                Some(component) => Ok(component),
                None => host.compiled(&plugin, digest, &bytes),
            }
        })
        .await?
    }

    /// The code that a plugin here is made of.
    fn loaded(&self, digest: Digest) -> Option<Arc<Code>> {
        self.components().get(&digest).and_then(Weak::upgrade)
    }

    /// The code that is kept on disk.
    fn kept(&self, digest: Digest) -> Option<Arc<Code>> {
        let artifacts = self.0.artifacts.as_ref()?;
        Some(self.remember(digest, artifacts.find(&self.0.engine, digest)?))
    }

    fn compiled(&self, plugin: &str, digest: Digest, bytes: &[u8]) -> Result<Arc<Code>> {
        let inner = &self.0;
        let (component_bytes, began) = (bytes.len(), inner.clock.now());
        self.tell(Compiling::Begun { plugin, component_bytes });
        let compiled = match &inner.artifacts {
            Some(artifacts) => artifacts.make(&inner.engine, digest, bytes),
            None => artifact::compile(&inner.engine, bytes),
        };
        let taken_ms = inner.clock.now().since(began);
        self.tell(Compiling::Ended { taken_ms });
        tracing::info!(target: "wharfage::artifact", plugin, component_bytes, taken_ms, "compiled");
        Ok(self.remember(digest, compiled?))
    }

    fn remember(&self, digest: Digest, code: Code) -> Arc<Code> {
        let code = Arc::new(code);
        let mut components = self.components();
        components.retain(|_, code| code.strong_count() > 0);
        components.insert(digest, Arc::downgrade(&code));
        code
    }

    fn components(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Weak<Code>>> {
        self.0.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, compiling: Compiling<'_>) {
        if let Some(listener) = &self.0.compiling {
            listener(compiling);
        }
    }

    /// The lanes of a connection; those of an account are the same for all its connections.
    fn lanes(
        &self,
        needs: &Needs,
        grant: &Grant,
        name: &str,
        account_name: Option<&str>,
        account: Option<&Account>,
    ) -> Result<Lanes> {
        let inner = &self.0;
        let mut shared = inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lanes = Lanes::of(name);
        if is_crowded(shared.len()) {
            let now = inner.clock.now();
            shared.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_at_rest(now));
        }
        let own = owner(name, account_name);
        let named = |kind: &str, name: Option<&String>| name.map(|name| format!("{kind} {name}"));
        for budget in &grant.budgets {
            let owner = match budget.scope {
                BudgetScope::Account => None,
                BudgetScope::Connection => Some(format!("connection {name}")),
                BudgetScope::User => named("user", account.and_then(|account| account.user.as_ref())),
                BudgetScope::Project => named("project", account.and_then(|account| account.project.as_ref())),
                BudgetScope::Plugin => Some(format!("plugin {}", needs.manifest.plugin.name)),
            };
            let owner = owner.unwrap_or_else(|| own.clone());
            let key = (owner.clone(), budget.spec.name.clone());
            let full_name = format!("{owner}/{}", budget.spec.name);
            let lane = shared
                .entry(key)
                .or_insert_with(|| Arc::new(Lane::new(&full_name, budget.spec.clone(), inner.clock.clone())));
            let ledger = match budget.spec.shape {
                Shape::Window { limit, window_ms } if window_ms >= WRITTEN_DOWN_MS && inner.is_durable => {
                    Some(Ledger::new(inner.store.clone(), &full_name, limit, window_ms))
                }
                _ => None,
            };
            if !lanes.claim(lane.clone(), budget.cover.clone(), &budget.spec, ledger) {
                return Err(Error::configuration(format!(
                    "two plugins declare the budget `{}` of {owner} differently",
                    budget.spec.name
                ))
                .with_details(format!("Say which holds: [accounts.….budgets.{}]", budget.spec.name)));
            }
        }
        Ok(lanes)
    }
}

/// Does what takes a while on a thread that nobody else waits for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("the thread that compiles has failed"))
}

/// Whether it is time to look what of so many nobody uses any more: seldom, so that opening stays cheap however many there
/// are.
fn is_crowded(known: usize) -> bool {
    known >= KNOWN_MIN && known.is_power_of_two()
}

/// So many of a kind are kept without a look.
const KNOWN_MIN: usize = 256;

/// Whose budgets, tokens and records a connection uses: its account's, or its own where it has none.
fn owner(connection: &str, account: Option<&str>) -> String {
    account.map_or_else(|| format!("connection {connection}"), |account| format!("account {account}"))
}

/// A connection as a `wharfage.toml` states it, with its component.
pub(crate) struct Stated<'a> {
    connection: &'a Connection,
    account_name: Option<&'a str>,
    account: Option<&'a Account>,
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Stated<'a> {
    /// Reads the component and compares it with its pin.
    pub(crate) fn read(config: &'a Config, name: &str) -> Result<Self> {
        let connection = config.connection(name)?;
        let source = config
            .plugins
            .get(&connection.plugin)
            .ok_or_else(|| Error::configuration(format!("there is no plugin `{}`", connection.plugin)))?;
        let bytes = read_component(&source.component)?;
        check_digest(&connection.plugin, source.digest.as_deref(), Digest::of(&bytes))?;
        let account_name = connection.account.as_deref();
        let account = account_name.and_then(|name| config.accounts.get(name));
        Ok(Self { connection, account_name, account, bytes })
    }
}

/// The secrets of a replay: those that the tape names are there, and nobody needs their values.
fn taped(tape: &Tape, granted: &BTreeMap<String, Granted>) -> BTreeMap<String, Granted> {
    let Some(fixture) = tape.fixture().filter(|_| tape.is_strict()) else { return granted.clone() };
    let there = fixture.secrets.as_deref().unwrap_or_default();
    let named = granted.iter().filter(|(name, _)| there.contains(name));
    let value = || Some(SecretSource::Value(SecretValue::new(NO_SECRET)));
    named.map(|(name, granted)| (name.clone(), Granted { source: value(), ..granted.clone() })).collect()
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
                "pinned {pinned}\nfound  {found}\nLook at what changed with `wharfage explain`; to accept it, set [plugins.{plugin}] digest = \"{found}\""
            ))),
    }
}
/// A component that carries its manifest and its operations, whose schemas are checked here once.
fn written_into(component: &[u8], operations: &[Operation], manifest: &str) -> Result<Vec<u8>> {
    operations.iter().try_for_each(Operation::check_schemas)?;
    let built = embed(component, manifest, operations)?;
    Needs::read(&built)?;
    Ok(built)
}
