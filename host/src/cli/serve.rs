//! `wharfage serve`: everything that a `wharfage.toml` declares, until it is asked to stop.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use wharfage::serving::Reloaded;
use wharfage::{Clock, Config, Serving, SystemClock};

use super::status::span;
use super::text::{DIM, GREEN, RED};
use super::{Common, programs, read_config};

/// A file is written in several steps; so long nothing more may happen before it is read.
const SETTLED_MS: u64 = 500;

#[derive(Args)]
pub(super) struct Serve {
    /// The file that declares everything; by default the wharfage.toml here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why the program goes on.
enum Asked {
    Stop(&'static str),
    Reload(&'static str),
}

impl Serve {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        // Nothing is acknowledged that would not be kept.
        common.check_state_folder()?;
        let path = self.config.clone().unwrap_or_else(|| PathBuf::from(programs::FOUND));
        let before = content(&path);
        let (mut config, host) = programs::open_all(common, self.config.as_deref())?;
        let host = host.build()?;
        let mut signals = Signals::new()?;
        // Before anything is loaded, so that no change falls between.
        let mut watch = Watch::of(&path, &config, before);
        let mut exporting = host.export(&config.observe, super::spans())?;
        let serving = tokio::select! {
            serving = host.serve(&config) => serving?,
            why = signals.stop() => {
                note!("{DIM}{why}: nothing had begun{DIM:#}");
                return Ok(());
            }
        };
        exporting.iter().for_each(|exporting| exporting.measure(&serving));
        running(&serving).await;
        hint(&config);
        let mut stopping = None;
        loop {
            let asked = match stopping {
                Some(why) => Asked::Stop(why),
                None => tokio::select! {
                    asked = signals.next() => asked,
                    () = watch.changed() => Asked::Reload("a file changed"),
                },
            };
            match asked {
                Asked::Stop(why) => {
                    note!("{DIM}{why}: finishing what is under way{DIM:#}");
                    // Whoever asks again does not wait.
                    let ended = tokio::select! {
                        ended = serving.drain() => Some(ended),
                        _ = signals.stop() => None,
                    };
                    // What is still to be told, of what took too long to end as well, may wait for a receiver that does
                    // not answer.
                    if let Some(exporting) = exporting.filter(|_| ended.is_some()) {
                        tokio::select! {
                            () = exporting.end() => {}
                            _ = signals.stop() => {}
                        }
                    }
                    match ended {
                        Some(true) => note!("{GREEN}stopped{GREEN:#}"),
                        _ => note!(
                            "{GREEN}stopped{GREEN:#} {DIM}with work under way, which begins again with the next start{DIM:#}"
                        ),
                    }
                    return Ok(());
                }
                Asked::Reload(why) => {
                    let before = content(&path);
                    let read = read_config(&path);
                    watch = Watch::of(&path, read.as_ref().unwrap_or(&config), before);
                    // A file that was found may name programs now that nobody has allowed.
                    let read = read.and_then(|changed| match self.config {
                        None => programs::check_change(common, &config, &changed).map(|()| changed),
                        Some(_) => Ok(changed),
                    });
                    let taken = match read {
                        Ok(changed) => {
                            let reloaded = tokio::select! {
                                reloaded = serving.reload(&changed) => reloaded,
                                // It is whole or not at all, also where it is broken off.
                                why = signals.stop() => {
                                    stopping = Some(why);
                                    continue;
                                }
                            };
                            reloaded.map(|reloaded| (changed, reloaded)).map_err(Into::into)
                        }
                        Err(error) => Err(error),
                    };
                    match taken {
                        Ok((changed, reloaded)) => {
                            let mut beside = beside(&config, &changed);
                            if changed.observe != config.observe {
                                // One goes before the other comes: both would take from what is kept.
                                drop(exporting.take());
                                exporting = host.export(&changed.observe, super::spans()).unwrap_or_else(|error| {
                                    note!("{RED}[observe] was not taken up{RED:#}; no spans and metrics are sent");
                                    super::text::failure(&error.into());
                                    beside.retain(|name| name != "[observe]");
                                    None
                                });
                                exporting.iter().for_each(|exporting| exporting.measure(&serving));
                            }
                            let is_shown = changed.serve != config.serve
                                || changed.endpoints != config.endpoints
                                || changed.sinks != config.sinks;
                            config = changed;
                            said(why, &reloaded, &beside);
                            if is_shown {
                                running(&serving).await;
                            }
                        }
                        Err(error) => {
                            note!("{RED}{why}, and was not taken up{RED:#}; everything goes on as before");
                            super::text::failure(&error);
                        }
                    }
                }
            }
        }
    }
}

/// What runs, in a line each.
async fn running(serving: &Serving) {
    for line in serving.declared().await {
        note!("{GREEN}running{GREEN:#} {line}");
    }
    match serving.console().await {
        // The link is for a person's eyes; what is written elsewhere may be a log.
        Some(console) if std::io::stderr().is_terminal() => {
            note!("{GREEN}running{GREEN:#} console {}", console.link());
        }
        Some(console) => {
            let token = console.token_file.as_ref().map(|file| format!(", its token in {}", file.display()));
            note!("{GREEN}running{GREEN:#} console {}{}", console.page(), token.unwrap_or_default());
        }
        None => {}
    }
}

/// What could be declared besides.
fn hint(config: &Config) {
    if config.serve.console.is_none() {
        note!(
            "{DIM}no [serve.console] is declared: with it, a page on this machine shows what happens, beside health and metrics{DIM:#}"
        );
    }
    if config.sinks.is_empty() {
        note!(
            "{DIM}no [sinks] are declared: what plugins emit is kept for {}, and a sink shows it, as [sinks.log] with kind = \"stdout\"{DIM:#}",
            span(config.serve.limits.emitted_kept_ms)
        );
    }
}

/// What was changed beside connections.
fn beside(before: &Config, after: &Config) -> Vec<String> {
    let all = [
        ("[serve]", before.serve != after.serve),
        ("[sinks]", before.sinks != after.sinks),
        ("[alerts]", before.alerts != after.alerts),
        ("[observe]", before.observe != after.observe),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

fn said(why: &str, reloaded: &Reloaded, beside: &[String]) {
    let mut parts = Vec::new();
    for (word, names) in [("started", &reloaded.started), ("changed", &reloaded.changed), ("ended", &reloaded.ended)] {
        if !names.is_empty() {
            parts.push(format!("{word} {}", names.join(", ")));
        }
    }
    if !beside.is_empty() {
        parts.push(beside.join(", "));
    }
    let what = if parts.is_empty() { "no connection changed".to_owned() } else { parts.join("; ") };
    note!("{GREEN}taken up{GREEN:#} {DIM}({why}){DIM:#} {what}");
    if !reloaded.after_restart.is_empty() {
        let settings = reloaded.after_restart.join(", ");
        note!("{RED}not taken up before the next start{RED:#} {settings}");
    }
}

/// What the system asks.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("interrupted"),
            _ = self.hang_up.recv() => Asked::Reload("SIGHUP"),
        }
    }

    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "interrupted",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Asked {
        Asked::Stop(self.stop().await)
    }

    async fn stop(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "interrupted"
    }
}

/// The files that a reload reads. What they hold decides, not how often somebody wrote them.
struct Watch {
    /// Kept for as long as it is to watch.
    _watcher: Option<notify::RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    seen: BTreeMap<PathBuf, Option<wharfage::Digest>>,
}

impl Watch {
    /// Of the file, which held that when it was read, and of its components; of nothing, where the file does not want that.
    fn of(path: &Path, config: &Config, before: Option<wharfage::Digest>) -> Self {
        let (tell, events) = mpsc::channel(1);
        let components = config.plugins.values().map(|plugin| plugin.component.clone());
        let files: Vec<PathBuf> = std::iter::once(path.to_owned()).chain(components).collect();
        let held = |file: &PathBuf| if file == path { before } else { content(file) };
        let seen = files.iter().map(|file| (file.clone(), held(file))).collect();
        let watcher = config.serve.reload.then(|| {
            let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.is_ok_and(|event| is_reading(event.kind)) {
                    return;
                }
                // Full is: it is told already.
                let _ = tell.try_send(());
            })?;
            // The folder: an editor puts another file in the place of this one.
            let folders: std::collections::BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
            for folder in folders {
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
            }
            Ok::<_, notify::Error>(watcher)
        });
        let watcher = watcher.and_then(|watcher| {
            watcher.map_err(|error| tracing::warn!("changes are not noticed ({error}); SIGHUP takes them up")).ok()
        });
        Self { _watcher: watcher, events, seen }
    }

    /// Ends when a file holds something else than before, and has held it for a moment. What else is written beside them
    /// does not matter.
    async fn changed(&mut self) {
        let clock = SystemClock::new();
        // What changed before there was somebody to notice is seen at once.
        let mut held = self.held();
        loop {
            if held == self.seen && self.events.recv().await.is_none() {
                return std::future::pending().await;
            }
            clock.sleep_until(clock.now().plus(SETTLED_MS)).await;
            let before = std::mem::replace(&mut held, self.held());
            if held == before && held != self.seen {
                return;
            }
        }
    }

    /// What they hold now.
    fn held(&self) -> BTreeMap<PathBuf, Option<wharfage::Digest>> {
        self.seen.keys().map(|file| (file.clone(), content(file))).collect()
    }
}

/// Whether somebody only looked at a file, as this does itself.
fn is_reading(kind: EventKind) -> bool {
    kind.is_access() && kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// What a file holds; nothing where it cannot be read.
fn content(file: &Path) -> Option<wharfage::Digest> {
    std::fs::read(file).ok().map(|bytes| wharfage::Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reading is noticed as well, and read again for that it would never end.
    #[test]
    fn what_this_reads_itself_is_no_change() {
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert!(is_reading(open) && is_reading(read));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let changes = [written, EventKind::Any, EventKind::Create(notify::event::CreateKind::File)];
        assert!(!changes.into_iter().any(is_reading));
    }
}
