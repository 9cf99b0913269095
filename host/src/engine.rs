//! The one engine: how guest code is compiled, bounded and interrupted.
//!
//! One per [`Host`](crate::Host), for mixing engines has been a source of advisories. Memory is copy-on-write from the
//! component's image and comes from a pool where the address space allows it; where it does not, instances are made on
//! demand, and [`Engine::is_pooled`] says so. A thread turns the epoch every [`TICK_MS`] milliseconds: at each tick a
//! computing guest gives way to its neighbours, and after its allowance it traps.

use std::sync::{Arc, Weak};
use std::time::Duration;

use wasmtime::{Config, Enabled, PoolingAllocationConfig};

use crate::error::{Error, Result};

/// Milliseconds between two ticks of the epoch.
pub(crate) const TICK_MS: u64 = 10;

/// Most bytes of linear memory that any connection may set; a pool's slots are this large.
pub(crate) const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Instances that live at once, over all plugins.
pub(crate) const INSTANCES_MAX: u32 = 1_000;

/// Of these, how many may wait for another call: the others are for calls.
pub(crate) const WARM_MAX: u64 = INSTANCES_MAX as u64 / 2;

/// Bytes of guest memory, tables and stacks that stay mapped in a pool's slot between two instances.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// A wasmtime engine with its ticker.
#[derive(Clone)]
pub(crate) struct Engine {
    engine: wasmtime::Engine,
    pooled: bool,
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// An engine with pooled instances if the address space allows, else without.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) when the machine can run no guest code at all.
    pub(crate) fn new() -> Result<Self> {
        let (engine, pooled) = match build(true) {
            Ok(engine) => (engine, true),
            Err(pooling) => {
                tracing::warn!(
                    target: "wharfage::engine",
                    cause = %pooling,
                    "no pool of instances (the address space is short); each call maps its own memory and is slower"
                );
                (build(false).map_err(|error| Error::internal(format!("no engine: {error}")))?, false)
            }
        };
        let ticker = Arc::new(Ticker);
        turn_epoch(&engine, Arc::downgrade(&ticker))?;
        Ok(Self { engine, pooled, _ticker: ticker })
    }

    /// Whether instances come from a pool.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) fn raw(&self) -> &wasmtime::Engine {
        &self.engine
    }
}

fn build(pooled: bool) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // The plain contract needs no concurrency inside an instance; without it a call costs a third less.
        .concurrency_support(false)
        .wasm_component_model_async(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(cfg!(windows))
        .cranelift_opt_level(wasmtime::OptLevel::Speed)
        // Proposals that no plugin needs stay off, compiled in or not.
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .wasm_memory64(false)
        // wasmtime joins nested components by adapters with two memories, and panics on them without this.
        .wasm_multi_memory(true)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_relaxed_simd(false);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(INSTANCES_MAX)
            .total_core_instances(INSTANCES_MAX * 4)
            .total_memories(INSTANCES_MAX * 2)
            .total_tables(INSTANCES_MAX * 4)
            .total_stacks(INSTANCES_MAX)
            .max_memory_size(usize::try_from(MEMORY_BYTES_MAX)?)
            .max_core_instances_per_component(100)
            .max_memories_per_component(4)
            .max_tables_per_component(40)
            .table_elements(100_000)
            .max_core_instance_size(4 << 20)
            .max_component_instance_size(4 << 20)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(KEEP_RESIDENT_BYTES)
            .async_stack_keep_resident(KEEP_RESIDENT_BYTES)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(pool);
    }
    wasmtime::Engine::new(&config)
}

/// Lives as long as an engine is used; the thread ends after it.
struct Ticker;

fn turn_epoch(engine: &wasmtime::Engine, alive: Weak<Ticker>) -> Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("wharfage-epoch".into())
        .spawn(move || {
            while alive.strong_count() > 0 {
                #[expect(clippy::disallowed_methods, reason = "the epoch is real time; the clock of calls is another")]
                std::thread::sleep(Duration::from_millis(TICK_MS));
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map_err(|error| Error::internal(format!("the epoch's thread cannot start: {error}")))?;
    Ok(())
}
