//! Contenders side by side in one run, and what each costs.
//!
//! A machine is shared and its mood changes, so a single number says little and a ratio of two numbers that were taken
//! minutes apart says less. Here contenders take turns in short rounds, forwards and then backwards; a ratio is taken
//! within a round, and what is told is the median of the rounds with the quartiles around it.
//!
//! CPU is what all threads of a process had, as the kernel counts it: this one, or the one that a contender names. Where
//! the kernel does not say, there is none.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::DirEntry;
use std::future::Future;
use std::time::{Duration, Instant};

use wharfage::BoxFuture;

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds in which every contender has its turn.
    pub(crate) rounds: usize,
    /// Milliseconds of one turn; nothing is measured and everything runs once when it is 0.
    pub(crate) turn_ms: u64,
}

/// Something that can be called over and over, by so many at once.
pub(crate) struct Contender {
    name: &'static str,
    turn: Turn,
    /// The process that does the work, if not this one.
    process: Option<u32>,
}

/// So many callers side by side, each of which calls so many times.
type Turn = Box<dyn Fn(usize, usize) -> BoxFuture<'static, ()>>;

impl Contender {
    /// A contender that does this.
    pub(crate) fn new<F, R>(name: &'static str, call: F) -> Self
    where
        F: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let turn = move |width, calls| -> BoxFuture<'static, ()> {
            let call = call.clone();
            Box::pin(async move {
                let callers: Vec<_> = (0..width)
                    .map(|_| {
                        let call = call.clone();
                        tokio::spawn(async move {
                            for _ in 0..calls {
                                call().await;
                            }
                        })
                    })
                    .collect();
                for caller in callers {
                    caller.await.expect("a contender does not give up");
                }
            })
        };
        Self { name, turn: Box::new(turn), process: None }
    }

    /// A contender whose work another process does.
    pub(crate) fn elsewhere(
        name: &'static str,
        process: u32,
        turn: impl Fn(usize, usize) -> BoxFuture<'static, ()> + 'static,
    ) -> Self {
        Self { name, turn: Box::new(turn), process: Some(process) }
    }

    async fn cost(&self, width: usize, calls: usize) -> Cost {
        rest().await;
        let (cpu, began) = (Cpu::read(self.process), Instant::now());
        (self.turn)(width, calls).await;
        let wall = began.elapsed();
        rest().await;
        let each = (width * calls) as f64;
        let cpu_ns = cpu.zip(Cpu::read(self.process)).map(|(before, after)| after.since_ns(&before) / each);
        Cost { cpu_ns, wall_ns: wall.as_nanos() as f64 / each }
    }

    /// How many calls of one caller fill a turn. It warms up on the way.
    async fn calls(&self, width: usize, turn_ms: u64) -> usize {
        let turn_ns = turn_ms as f64 * 1e6;
        let mut calls = 1;
        for _ in 0..30 {
            let taken_ns = self.cost(width, calls).await.wall_ns * (width * calls) as f64;
            if taken_ns > turn_ns / 4.0 {
                return (calls as f64 * turn_ns / taken_ns).ceil() as usize;
            }
            calls *= 2;
        }
        calls
    }
}

/// What one call cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Nanoseconds of CPU.
    pub(crate) cpu_ns: Option<f64>,
    /// Nanoseconds until the next one was done, however many were at it.
    pub(crate) wall_ns: f64,
}

/// What a call of one contender cost, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Costs {
    /// The contender's name.
    pub(crate) name: &'static str,
    rounds: Vec<Cost>,
}

/// Lets contenders take turns, each with so many callers side by side.
pub(crate) async fn measure<const N: usize>(effort: Effort, width: usize, contenders: [Contender; N]) -> [Costs; N] {
    let costs = measure_all(effort, width, contenders.into()).await;
    costs.try_into().unwrap_or_else(|_| unreachable!("each has its costs"))
}

/// The same for however many there are.
pub(crate) async fn measure_all(effort: Effort, width: usize, contenders: Vec<Contender>) -> Vec<Costs> {
    let mut calls = vec![1; contenders.len()];
    if effort.turn_ms > 0 {
        for (calls, contender) in calls.iter_mut().zip(&contenders) {
            *calls = contender.calls(width, effort.turn_ms).await;
        }
    }
    let mut costs: Vec<Costs> =
        contenders.iter().map(|contender| Costs { name: contender.name, rounds: Vec::new() }).collect();
    for round in 0..effort.rounds {
        for turn in 0..contenders.len() {
            let at = if round % 2 == 0 { turn } else { contenders.len() - 1 - turn };
            let cost = contenders[at].cost(width, calls[at]).await;
            costs[at].rounds.push(cost);
        }
    }
    costs
}

impl Costs {
    /// These.
    pub(crate) fn of(name: &'static str, rounds: Vec<Cost>) -> Self {
        Self { name, rounds }
    }

    /// The same under another name.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Round by round.
    pub(crate) fn rounds(&self) -> &[Cost] {
        &self.rounds
    }

    /// What one of `times` things costs of which a call of this does so many, and a call of `without` none.
    pub(crate) fn each(&self, times: usize, without: &Self) -> Self {
        let each = |with: f64, without: f64| (with - without).max(0.0) / times as f64;
        let rounds = self.rounds.iter().zip(&without.rounds).map(|(with, without)| Cost {
            cpu_ns: with.cpu_ns.zip(without.cpu_ns).map(|(with, without)| each(with, without)),
            wall_ns: each(with.wall_ns, without.wall_ns),
        });
        Self { name: self.name, rounds: rounds.collect() }
    }

    /// Microseconds of CPU of a call.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let cpu_us: Option<Vec<f64>> = self.rounds.iter().map(|cost| Some(cost.cpu_ns? / 1e3)).collect();
        cpu_us.map(|cpu_us| Spread::of(cpu_us).median)
    }

    /// Calls per second.
    pub(crate) fn calls_per_s(&self) -> f64 {
        1e9 / Spread::of(self.rounds.iter().map(|cost| cost.wall_ns).collect()).median
    }

    /// How many times the CPU of `other` a call takes.
    pub(crate) fn cpu_against(&self, other: &Self) -> Option<Spread> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        rounds.map(|(own, other)| Some(own.cpu_ns? / other.cpu_ns?)).collect::<Option<_>>().map(Spread::of)
    }

    /// How many times as many calls as `other` a second of CPU is enough for.
    pub(crate) fn per_cpu_against(&self, other: &Self) -> Option<Spread> {
        other.cpu_against(self)
    }

    /// How many times as many calls per second as `other` there are.
    pub(crate) fn rate_against(&self, other: &Self) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(own, other)| other.wall_ns / own.wall_ns).collect())
    }
}

/// A median with the quartiles around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    low: f64,
    /// The median.
    pub(crate) median: f64,
    high: f64,
}

impl Spread {
    /// Of these values, of which there is one at least.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (values.len() - 1) as f64;
            (values[place.floor() as usize] + values[place.ceil() as usize]) / 2.0
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    /// Whether there is something that it is a ratio of.
    pub(crate) fn is_finite(&self) -> bool {
        [self.low, self.median, self.high].iter().all(|value| value.is_finite())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median {
            ..0.1 => 4,
            ..100.0 => 2,
            _ => 0,
        };
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.low, self.high)
    }
}

/// Long enough for every thread to stop: the kernel books a thread's time when it stops running.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}

/// Nanoseconds of CPU that each thread of a process has had so far.
pub(crate) struct Cpu(HashMap<OsString, f64>);

impl Cpu {
    /// Of this process, where none is named. Nothing, where the kernel does not say.
    pub(crate) fn read(process: Option<u32>) -> Option<Self> {
        let process = process.map_or("self".to_owned(), |process| process.to_string());
        let read = |task: DirEntry| {
            let said = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name(), said.split(' ').next()?.parse::<f64>().ok()?))
        };
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
        let threads: HashMap<OsString, f64> = tasks.filter_map(|task| read(task.ok()?)).collect();
        (threads.values().sum::<f64>() > 0.0).then_some(Self(threads))
    }

    /// How much more that is than before. What a thread had that has ended since is in neither, and takes nothing away.
    pub(crate) fn since_ns(&self, before: &Self) -> f64 {
        let had = |thread: &OsString| before.0.get(thread).copied().unwrap_or_default();
        self.0.iter().map(|(thread, ns)| (ns - had(thread)).max(0.0)).sum()
    }
}
