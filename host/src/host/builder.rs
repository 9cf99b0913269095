//! Settings of a host, and the host that is made of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Host, Inner};
use crate::artifact::{self, Artifacts, Compiling, CompilingListener};
use crate::engine::{Engine, EnginePolicy};
use crate::error::Result;
#[cfg(feature = "serve")]
use crate::inbound::sink::worker::WakeSignal;
use crate::observe::audit::{AUDIT_ROWS, AUDIT_ROWS_IN_MEMORY, Audit};
use crate::observe::metrics::Meters;
use crate::observe::refusals::Refusals;
use crate::outbound::Observer;
use crate::outbound::address::Resolver;
use crate::outbound::tape::Tape;
use crate::outbound::transport::{Nowhere, Transport};
use crate::plugin;
use crate::store::{MemoryStore, Seal, Store};
use crate::time::{Clock, SystemClock};
use crate::vault::Sealed;

/// Settings of a [`Host`]; every one has a default.
#[derive(Default)]
#[must_use = "a host is what `build` makes of it"]
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

debug_shows!(HostBuilder, |this| state_dir = this.state_dir, code_dir = this.code_dir);

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

    /// Sends requests through here instead of over the network; for tests. Uploads are refused then.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Tells what happens on the outbound path: pacing, signing, retries, refusals.
    pub fn observer(mut self, observer: impl Fn(&crate::outbound::PathEvent) + Send + Sync + 'static) -> Self {
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
            queues: Mutex::default(),
            #[cfg(feature = "serve")]
            wake: WakeSignal::new(),
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
