//! WASI, as much of it as the standard libraries of guests need, and nothing that reaches out.
//!
//! The environment and the arguments are empty, nothing is preopened, there are no sockets and no HTTP. What a guest
//! prints lands in a bounded buffer, from where it goes, masked, into the log and into the report of a panic. Other
//! languages' runtimes import more (files, sockets) without using it: those interfaces are linked as traps, so a
//! component starts and still has nothing.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, ResourceTable, ResourceType};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock, WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, StreamError, StreamResult, bindings,
};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{Deterministic, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::Call;
use crate::limits::Limits;
use crate::time::Clock;

/// Bytes of a guest's output that it may write at once.
const PRINTED_AT_ONCE_BYTES: usize = 8 << 10;

impl WasiView for Call {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links one interface.
type Link = fn(&mut Linker<Call>) -> wasmtime::Result<()>;

/// What a standard library needs, by interface.
#[rustfmt::skip]
const LINKED: &[(&str, Link)] = &[
    ("wasi:io/error", |linker| io::error::add_to_linker::<Call, HasTable>(linker, |call| &mut call.table)),
    ("wasi:io/poll", |linker| io::poll::add_to_linker::<Call, HasTable>(linker, |call| &mut call.table)),
    ("wasi:io/streams", |linker| io::streams::add_to_linker::<Call, HasTable>(linker, |call| &mut call.table)),
    ("wasi:clocks/wall-clock", |linker| bindings::clocks::wall_clock::add_to_linker::<Call, WasiClocks>(linker, Call::clocks)),
    ("wasi:clocks/monotonic-clock", |linker| bindings::clocks::monotonic_clock::add_to_linker::<Call, WasiClocks>(linker, Call::clocks)),
    ("wasi:random/random", |linker| bindings::random::random::add_to_linker::<Call, WasiRandom>(linker, |call| call.wasi.random())),
    ("wasi:random/insecure", |linker| bindings::random::insecure::add_to_linker::<Call, WasiRandom>(linker, |call| call.wasi.random())),
    ("wasi:random/insecure-seed", |linker| bindings::random::insecure_seed::add_to_linker::<Call, WasiRandom>(linker, |call| call.wasi.random())),
    ("wasi:cli/exit", |linker| bindings::cli::exit::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/environment", |linker| bindings::cli::environment::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/stdin", |linker| bindings::cli::stdin::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/stdout", |linker| bindings::cli::stdout::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/stderr", |linker| bindings::cli::stderr::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/terminal-input", |linker| bindings::cli::terminal_input::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/terminal-output", |linker| bindings::cli::terminal_output::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/terminal-stdin", |linker| bindings::cli::terminal_stdin::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/terminal-stdout", |linker| bindings::cli::terminal_stdout::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
    ("wasi:cli/terminal-stderr", |linker| bindings::cli::terminal_stderr::add_to_linker::<Call, WasiCli>(linker, Call::cli)),
];

/// Links what a standard library needs.
pub(crate) fn link(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    LINKED.iter().try_for_each(|(_, link)| link(linker))
}

/// Whether an import is one of those, in whatever 0.2 the component was made for: the linker bridges versions that are
/// compatible, as long as nothing stands under the exact name.
pub(crate) fn is_linked(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    version.starts_with("0.2.") && LINKED.iter().any(|(linked, _)| *linked == interface)
}

/// The type of a resource of an interface that is a trap. Those of `wasi:io` are the linked ones under another name.
pub(crate) fn resource(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<DynInputStream>(),
        "output-stream" => ResourceType::host::<DynOutputStream>(),
        "pollable" => ResourceType::host::<DynPollable>(),
        "error" => ResourceType::host::<wasmtime::Error>(),
        _ => ResourceType::host::<Absent>(),
    }
}

/// Whether an entry of the table is one of those that libraries keep to print with. Nothing of a call is in them.
pub(crate) fn is_for_printing(entry: &(dyn Any + Send)) -> bool {
    entry.is::<DynOutputStream>() || entry.is::<DynInputStream>() || entry.is::<DynPollable>()
}

/// A resource that nobody can have.
struct Absent;

use bindings::io;

/// The context of one call: nothing in it, output into `output`, time from `clock`. With a seed, what is random is the
/// same each time.
pub(crate) fn context(output: &Output, clock: &Arc<dyn Clock>, seed: Option<u64>, limits: &Limits) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    if let Some(seed) = seed {
        builder
            .secure_random(Deterministic::new(seeded(seed)))
            .insecure_random(Deterministic::new(seeded(!seed)))
            .insecure_random_seed(seed.into());
    }
    builder
        .stdout(output.clone())
        .stderr(output.clone())
        .max_random_size(limits.random_bytes)
        .wall_clock(Time(clock.clone()))
        .monotonic_clock(Time(clock.clone()))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Bytes that look random and follow from the seed.
fn seeded(seed: u64) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, digest};
    let block = |number: u64| digest(&SHA256, &[seed.to_le_bytes(), number.to_le_bytes()].concat());
    (0..64).flat_map(|number| block(number).as_ref().to_vec()).collect()
}

/// The host's clock, to the millisecond.
struct Time(Arc<dyn Clock>);

impl HostWallClock for Time {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now().as_millis())
    }
}

impl HostMonotonicClock for Time {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.now().as_millis().saturating_mul(1_000_000)
    }
}

/// What a guest printed, as much of it as is kept.
#[derive(Clone)]
pub(crate) struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    bytes_max: usize,
}

impl Output {
    /// Nothing yet, and no more than these limits let be kept.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { kept: Arc::default(), bytes_max: usize::try_from(limits.printed_bytes).unwrap_or(usize::MAX) }
    }

    /// The text so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Forgets it.
    pub(crate) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.bytes_max.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok::<_, StreamError>(PRINTED_AT_ONCE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
