//! `wharfage demo`: every plugin here, built and called for real, against a stand-in of its provider.
//!
//! Each plugin's `demo.toml` is a short play: acts that name a fixture, with a sentence. The stand-in answers on
//! loopback as the fixture says, the component runs over the whole outbound path, and what the host does on the way is
//! told in plain words. An act that ends otherwise than its fixture says fails the demo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use wharfage::PathEvent;
use wharfage::stand_in::{Manner, StandIn};
use wharfage::tape::Fixture;
use wharfage::{Clock as _, Host, Needs, Plugin, SystemClock};

use super::text::{self, BOLD, DIM, GREEN, RED, YELLOW, count};
use super::{Common, build, read_text};

/// Rows of a result that are shown.
const ROWS_MAX: usize = 4;

#[derive(Args)]
pub(super) struct Demo {
    /// The folder of plugins; by default `plugins` here or above
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// Only the plugin of this name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Every plugin, also those that are not shown unless asked for
    #[arg(long, conflicts_with = "only")]
    all: bool,
}

/// A `demo.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    /// Whether it is played without being asked for: two or three show what there is, a dozen take minutes to build.
    #[serde(default)]
    by_default: bool,
    acts: Vec<Act>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    /// What is about to happen, in a sentence.
    say: String,
    /// The fixture's file.
    fixture: String,
    /// How many calls side by side.
    #[serde(default = "one")]
    times: usize,
    /// Milliseconds before the answer with this number.
    #[serde(default)]
    delays_ms: BTreeMap<String, u64>,
}

fn one() -> usize {
    1
}

/// What the acts came to.
#[derive(Default)]
struct Tally {
    calls: usize,
    requests: usize,
    paced: usize,
    repeated: usize,
    refused: usize,
}

/// One plugin on the stage.
struct Cast<'a> {
    host: &'a Host,
    steps: &'a Mutex<Vec<PathEvent>>,
    clock: &'a SystemClock,
    component: Vec<u8>,
    needs: Needs,
}

impl Demo {
    pub(super) async fn run(self, _: &Common) -> anyhow::Result<()> {
        let plays = self.plays()?;
        let steps: Arc<Mutex<Vec<PathEvent>>> = Arc::default();
        let heard = steps.clone();
        let host = Host::builder()
            .observer(move |step| heard.lock().unwrap_or_else(PoisonError::into_inner).push(step.clone()))
            .build()?;
        let mut tally = Tally::default();
        let clock = SystemClock::new();
        let began = clock.now();
        for (folder, play) in &plays {
            note!("{DIM}building {} as a component …{DIM:#}", folder.file_name().unwrap_or_default().display());
            let compiled = build::compile(folder, &build::target_folder(folder)?)?;
            let manifest = read_text(&folder.join("plugin.toml"))?;
            let component = compiled.build(&host, &manifest).await?;
            let needs = Needs::read(&component)?;
            let plugin = &needs.manifest.plugin;
            anstream::println!(
                "\n{BOLD}{} {}{BOLD:#}, a {} kB component for {}; its provider is a stand-in on loopback",
                plugin.name,
                plugin.version,
                component.len() / 1000,
                plugin.provider
            );
            let cast = Cast { host: &host, steps: &steps, clock: &clock, component, needs };
            for (number, act) in play.acts.iter().enumerate() {
                cast.perform(folder, number, act, &mut tally)
                    .await
                    .with_context(|| format!("act {} of {}: {}", number + 1, folder.display(), act.fixture))?;
            }
        }
        anstream::println!(
            "\n{GREEN}{BOLD}done{BOLD:#}{GREEN:#} in {:.1} s: {} by {} plugins cost {}; {} paced, {} repeated, {} refused. Nothing left this machine.",
            seconds(clock.now().since(began)),
            count(tally.calls, "call"),
            plays.len(),
            count(tally.requests, "request"),
            tally.paced,
            tally.repeated,
            tally.refused
        );
        anstream::println!("{DIM}Next: README.md, “A first call in five minutes”.{DIM:#}");
        Ok(())
    }

    /// The plugins' plays that are asked for, each with its folder.
    fn plays(&self) -> anyhow::Result<Vec<(PathBuf, Play)>> {
        let root = match &self.plugins {
            Some(root) => root.clone(),
            None => {
                let here = std::env::current_dir().context("find the current folder")?;
                let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
                let above = here.ancestors().map(|folder| folder.join("plugins"));
                above.chain([built_from]).find(|folder| folder.is_dir()).with_context(|| {
                    "the demo builds the plugins of wharfage's own repository: run it there, or name a folder with --plugins"
                })?
            }
        };
        let entries = std::fs::read_dir(&root).with_context(|| format!("list {}", root.display()))?;
        let mut folders: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|folder| folder.join("demo.toml").is_file())
            .filter(|folder| self.only.as_ref().is_none_or(|only| folder.ends_with(only)))
            .collect();
        folders.sort();
        let mut plays = Vec::new();
        for folder in folders {
            let path = folder.join("demo.toml");
            let play: Play = toml::from_str(&read_text(&path)?).with_context(|| format!("read {}", path.display()))?;
            if play.by_default || self.all || self.only.is_some() {
                plays.push((folder, play));
            }
        }
        if let (Some(name), true) = (&self.only, plays.is_empty()) {
            bail!("no plugin below {} is called {name} and has a demo.toml", root.display());
        }
        if plays.is_empty() {
            bail!(
                "no plugin below {} has a demo.toml with by_default = true; to play all of them:   wharfage demo --all",
                root.display()
            );
        }
        Ok(plays)
    }
}

impl Cast<'_> {
    async fn perform(&self, folder: &Path, number: usize, act: &Act, tally: &mut Tally) -> anyhow::Result<()> {
        let fixture = Fixture::parse(&read_text(&folder.join("fixtures").join(&act.fixture))?)?;
        let secret = secret();
        let mut manner = Manner::default().repeating().filled_for(&self.needs);
        if self.is_signed() {
            manner = manner.signed_with(&secret);
        }
        for (answer, ms) in &act.delays_ms {
            manner = manner.delayed(answer.parse().context("delays_ms counts answers from 1")?, *ms);
        }
        let stand_in = StandIn::start(fixture.exchanges.clone(), manner).await?;
        let plugin = self.connect(number, &stand_in, &secret).await?;
        anstream::println!("\n{BOLD}{}{BOLD:#}", act.say);
        let input: serde_json::Value = serde_json::from_str(fixture.input.get())?;
        let times = if act.times == 1 { String::new() } else { format!("   ({} times at once)", act.times) };
        anstream::println!(
            "{DIM}  $ wharfage call {} {} --input '{input}'{times}{DIM:#}",
            plugin.needs().manifest.plugin.name,
            fixture.operation
        );
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let began = self.clock.now();
        let input = fixture.input.to_string();
        let calls = (0..act.times).map(|_| whole(&plugin, &fixture.operation, &input));
        let results = futures_util::future::join_all(calls).await;
        let took = seconds(self.clock.now().since(began));
        let seen = stand_in.seen();
        tally.calls += act.times;
        tally.requests += seen.len();
        self.tell(tally);
        anstream::println!("{DIM}  {} in {took:.1} s{DIM:#}", count(seen.len(), "request"));
        let is_list = self.needs.operation(&fixture.operation)?.is_list;
        for result in &results {
            agrees(&fixture, is_list, result)?;
        }
        if let Some(result) = results.into_iter().next() {
            self.show(&fixture, result)?;
        }
        Ok(())
    }

    /// A connection to the stand-in: its addresses instead of the provider's, a secret that only it knows.
    async fn connect(&self, number: usize, stand_in: &StandIn, secret: &str) -> anyhow::Result<Plugin> {
        let connection = stand_in.connection(&self.needs);
        let account = StandIn::account(&self.needs, secret);
        let name = format!("demo-{}-{number}", self.needs.manifest.plugin.name);
        Ok(self.host.connect(&name, &self.component, &connection, Some(&account)).await?)
    }

    fn is_signed(&self) -> bool {
        let manifest = &self.needs.manifest;
        let mut asked = manifest.origins.iter().filter(|(_, facts)| !facts.host_only);
        asked.all(|(origin, _)| manifest.declared_credential(origin).is_some())
    }

    /// What the host did, in words.
    fn tell(&self, tally: &mut Tally) {
        let steps = std::mem::take(&mut *self.steps.lock().unwrap_or_else(PoisonError::into_inner));
        let mut waits: Vec<u64> = Vec::new();
        let mut told_signature = false;
        for step in steps {
            match step {
                PathEvent::Paced { waited_ms } => {
                    tally.paced += 1;
                    waits.push(waited_ms);
                }
                PathEvent::Signed { place, .. } if !told_signature => {
                    told_signature = true;
                    anstream::println!(
                        "  {GREEN}signed{GREEN:#}   the host put the key into the {place}; the plugin never saw it"
                    );
                }
                PathEvent::Retrying { kind, wait_ms, .. } => {
                    tally.repeated += 1;
                    anstream::println!(
                        "  {YELLOW}waited{YELLOW:#}   {kind}: asked again after {:.1} s",
                        seconds(wait_ms)
                    );
                }
                PathEvent::Redirected { to } => {
                    anstream::println!(
                        "  {YELLOW}followed{YELLOW:#} a redirect to {}, judged like any request",
                        text::one_line(&to, 100)
                    );
                }
                PathEvent::Leaked { path } => {
                    anstream::println!(
                        "  {RED}leaked{RED:#}   the provider sent a secret back from {}; the plugin got it masked",
                        text::one_line(&path, 100)
                    );
                }
                PathEvent::Refused { message } => {
                    tally.refused += 1;
                    anstream::println!("  {RED}refused{RED:#}  {}", text::one_line(&message, 300));
                }
                _ => {}
            }
        }
        if let Some(longest) = waits.iter().max() {
            anstream::println!(
                "  {YELLOW}paced{YELLOW:#}    {} waited for a permit, up to {:.1} s, so that the provider's limit held",
                count(waits.len(), "request"),
                seconds(*longest)
            );
        }
    }

    fn show(&self, fixture: &Fixture, result: Result<Whole, wharfage::Error>) -> anyhow::Result<()> {
        match result {
            Ok(whole) => {
                let operations = &self.needs.manifest.operations;
                let columns = operations.get(&fixture.operation).map(|facts| facts.columns.clone()).unwrap_or_default();
                let total = whole.items.len();
                let shown: Vec<Box<RawValue>> = whole.items.into_iter().take(ROWS_MAX).collect();
                text::Rows::new(&columns).print(&shown)?;
                if total > shown.len() {
                    anstream::println!(
                        "{DIM}  … {} in all, from {}{DIM:#}",
                        count(total, "item"),
                        count(whole.pages, "page")
                    );
                } else if total == 0 {
                    anstream::println!("{DIM}  an empty list, and no error{DIM:#}");
                }
            }
            Err(error) => {
                anstream::println!("  {RED}{}{RED:#} {}", error.kind().name(), text::one_line(error.message(), 300));
            }
        }
        Ok(())
    }
}

/// All of an answer.
struct Whole {
    items: Vec<Box<RawValue>>,
    pages: usize,
}

/// Calls an operation and reads all its pages.
async fn whole(plugin: &Plugin, operation: &str, input: &str) -> Result<Whole, wharfage::Error> {
    let is_list = plugin.needs().operation(operation)?.is_list;
    let mut pages = Box::pin(plugin.pages(operation, input.to_owned(), None));
    let mut whole = Whole { items: Vec::new(), pages: 0 };
    while let Some(page) = pages.next().await {
        let output = page?.output;
        whole.pages += 1;
        match serde_json::from_str::<Vec<Box<RawValue>>>(output.get()) {
            Ok(items) if is_list => whole.items.extend(items),
            _ => whole.items.push(output),
        }
    }
    Ok(whole)
}

/// Whether a call ended as its fixture says.
fn agrees(fixture: &Fixture, is_list: bool, result: &Result<Whole, wharfage::Error>) -> anyhow::Result<()> {
    let result = match result {
        Ok(whole) => {
            let items =
                whole.items.iter().map(|item| serde_json::from_str(item.get())).collect::<Result<Vec<_>, _>>()?;
            let output = if is_list { items.into() } else { items.into_iter().next().unwrap_or_default() };
            Ok((output, whole.pages))
        }
        Err(error) => Err(error.clone()),
    };
    fixture.expect.compare(&result).map_err(anyhow::Error::msg)
}

/// A key that only this run knows.
fn secret() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    let draw = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("demo-{:016x}{:016x}", draw(), draw())
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
