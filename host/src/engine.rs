//! The one engine: how guest code is compiled, bounded and interrupted.
//!
//! One per [`Host`](crate::Host), for mixing engines has been a source of advisories. Memory is copy-on-write from the
//! component's image and comes from a pool where the address space allows it; where it does not, instances are made on
//! demand, and [`Engine::is_pooled`] says so. A thread turns the epoch every [`TICK_MS`] milliseconds: at each tick a
//! computing guest gives way to its neighbours, and after its allowance it traps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Deserialize;
use wasmtime::{Config, Enabled, PoolingAllocationConfig};

use crate::error::{Error, Result};
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX, limits};
use crate::warm::Room;

/// Milliseconds between two ticks of the epoch.
pub(crate) const TICK_MS: u64 = 10;

/// Bytes of a stack beyond what guest code may use of it: for the host's own functions that a guest calls.
const HOST_STACK_BYTES: usize = 512 << 10;

/// `[engine]` of a `wharfage.toml`: what all plugins share.
///
/// ```toml
/// [engine]
/// limits.instances_alive = 4000
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EnginePolicy {
    /// Limits that differ from the defaults.
    pub limits: EngineLimits,
}

limits! {
    /// Everything that all plugins share, with its limit. Units stand last in the names.
    EngineLimits;

    stack_bytes: 512 << 10 => 16 << 20, "Bytes of an instance's stack, which calls inside a plugin nest on.";
    instances_alive: 1_000 => 100_000, "Instances of all plugins at once; a call that needs one more is refused as busy.";
}

/// Bytes of guest memory that stay mapped in a pool's slot between two instances: as much as parsing 100 KiB of JSON
/// writes to. What is beyond costs the next instance a page fault for each page; what is kept is only zeroed.
const MEMORY_KEPT_BYTES: usize = 1 << 20;

/// The same of each table.
const TABLE_KEPT_BYTES: usize = 256 << 10;

/// A wasmtime engine with its ticker.
#[derive(Clone)]
pub(crate) struct Engine {
    engine: wasmtime::Engine,
    limits: EngineLimits,
    alive: Arc<Places>,
    warm_room: Arc<Room>,
    pooled: bool,
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// An engine with pooled instances if the address space allows, else without.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) for limits that make no sense;
    /// [`Kind::Internal`](crate::Kind::Internal) when the machine can run no guest code at
    /// all.
    pub(crate) fn new(limits: EngineLimits) -> Result<Self> {
        limits.check().map_err(|error| error.context("[engine]"))?;
        let (engine, pooled) = match build(&limits, true) {
            Ok(engine) => (engine, true),
            Err(pooling) => {
                tracing::warn!(
                    target: "wharfage::engine",
                    cause = %pooling,
                    "no pool of instances (address space or mappings are short); each call maps its own memory and is slower"
                );
                (build(&limits, false).map_err(|error| Error::internal(format!("no engine: {error}")))?, false)
            }
        };
        let ticker = Arc::new(Ticker);
        turn_epoch(&engine, Arc::downgrade(&ticker))?;
        let alive = Places::new(limits.instances_alive);
        // Instances that wait for another call leave as many to those that have one.
        let warm_room = Arc::new(Room::new(limits.instances_alive / 2));
        Ok(Self { engine, limits, alive, warm_room, pooled, _ticker: ticker })
    }

    /// What all plugins share.
    pub(crate) fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    /// For instances that wait for another call.
    pub(crate) fn warm_room(&self) -> &Arc<Room> {
        &self.warm_room
    }

    /// A place for one more instance, which holds it for as long as it lives. One that waits for another call gives way.
    ///
    /// # Errors
    /// [`Kind::Busy`](crate::Kind::Busy) where there is none.
    pub(crate) fn admit(&self, name: &str) -> Result<Place> {
        loop {
            match self.alive.take() {
                Some(place) => return Ok(place),
                None if self.warm_room.make_way() => {}
                None => return Err(self.busy(name)),
            }
        }
    }

    /// There is no room for one more instance.
    pub(crate) fn busy(&self, name: &str) -> Error {
        let most = self.limits.instances_alive;
        Error::busy(
            "instances_alive",
            format!("{name} is busy: as many instances live as the limit instances_alive of {most} allows"),
        )
        .with_details(
            "Call again when others have ended. To allow more, set limits.instances_alive in [engine] of wharfage.toml",
        )
    }

    /// Whether instances come from a pool.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) fn raw(&self) -> &wasmtime::Engine {
        &self.engine
    }
}

/// So many of something at once, counted without a lock.
pub(crate) struct Places {
    most: u64,
    taken: AtomicU64,
}

/// One of them, until it is dropped.
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicU64::new(0) })
    }

    /// One more, if there is one.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        // Taken before it is known to be there, and given back by the drop where it was not.
        let place = Place(self.clone());
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the host sets wasmtime where nobody says otherwise, for benches that compare with wasmtime alone.
///
/// # Errors
/// Where a limit is more than this machine can count.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub fn engine_config(pooled: bool) -> wasmtime::Result<Config> {
    config(&EngineLimits::default(), pooled)
}

fn build(limits: &EngineLimits, pooled: bool) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(limits, pooled)?)
}

fn config(limits: &EngineLimits, pooled: bool) -> wasmtime::Result<Config> {
    let stack_bytes = usize::try_from(limits.stack_bytes)?;
    let instances = u32::try_from(limits.instances_alive)?;
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // The plain contract needs no concurrency inside an instance; without it a call costs a third less.
        .concurrency_support(false)
        .wasm_component_model_async(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(stack_bytes)
        .async_stack_size(stack_bytes + HOST_STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        // Nobody asks where in a component an instruction came from, and the table is a tenth of what is kept and mapped.
        .generate_address_map(false)
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
        // Counts of core instances reserve nothing; memories and tables do, so those that have several may find none left.
        // A memory that was used once keeps its mappings, of which the kernel allows so many: there is one for each.
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(u32::try_from(CORE_INSTANCES_MAX)?))
            .total_memories(instances.saturating_mul(2).min(instances.saturating_add(u32::try_from(MEMORIES_MAX)?)))
            .total_tables(instances.saturating_mul(4))
            .total_stacks(instances)
            .max_memory_size(usize::try_from(MEMORY_BYTES_MAX)?)
            .max_core_instances_per_component(u32::try_from(CORE_INSTANCES_MAX)?)
            .max_memories_per_module(u32::try_from(MEMORIES_MAX)?)
            .max_tables_per_module(u32::try_from(TABLES_MAX)?)
            .max_memories_per_component(u32::try_from(MEMORIES_MAX)?)
            .max_tables_per_component(u32::try_from(TABLES_MAX)?)
            .table_elements(usize::try_from(TABLE_ELEMENTS_MAX)?)
            .max_core_instance_size(4 << 20)
            .max_component_instance_size(4 << 20)
            .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
            .table_keep_resident(TABLE_KEPT_BYTES)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(pool);
    }
    Ok(config)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_place_is_given_back_when_it_is_dropped_and_not_before() {
        let places = Places::new(2);
        let (one, _two) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none() && places.take().is_none());
        drop(one);
        let _three = places.take().unwrap();
        assert!(places.take().is_none());
    }

    /// At 0, 1 and far beyond: a message, or an engine.
    #[test]
    fn an_engine_of_strange_limits_is_refused_or_there() {
        for value in [1, 2, 65_536, 16 << 20] {
            Engine::new(EngineLimits { stack_bytes: value, ..EngineLimits::default() }).unwrap();
        }
        for value in [1, 100_000] {
            Engine::new(EngineLimits { instances_alive: value, ..EngineLimits::default() }).unwrap();
        }
        for limits in [
            EngineLimits { stack_bytes: 0, ..EngineLimits::default() },
            EngineLimits { stack_bytes: u64::MAX, ..EngineLimits::default() },
            EngineLimits { instances_alive: 0, ..EngineLimits::default() },
            EngineLimits { instances_alive: u64::MAX, ..EngineLimits::default() },
        ] {
            let error = Engine::new(limits).err().unwrap();
            assert_eq!(*error.kind(), Kind::Configuration, "{error}");
            assert!(error.message().contains("[engine]: limits."), "{error}");
        }
    }
}
