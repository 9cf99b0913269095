//! `wharfage call`: one operation, its answer as a table for people or as JSON Lines for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use futures_util::StreamExt as _;
use indicatif::ProgressBar;
use serde_json::Value;
use serde_json::value::RawValue;
use wharfage::tape::{Tape, TapeMode};
use wharfage::{Answer, AnswerSource, Connection, Cursor, Effect, Files, Host, Kind, Needs, Operation, Plugin, rule};

use super::text::{self, DIM, YELLOW};
use super::{Common, INTERRUPTED, Told, programs, read_config, write_one};

#[derive(Args)]
pub(super) struct Call {
    /// A connection of wharfage.toml, or a component's file together with --grant-needs
    target: String,
    /// The operation, as orders.list
    operation: String,
    /// The input as a JSON object; @FILE reads a file, - standard input
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// One field of the input; may stand several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A file that the operation reads, for this field of the input; may stand several times
    #[arg(long = "file", value_name = "KEY=PATH")]
    file: Vec<String>,
    /// A new file that the operation writes, for this field of the input; may stand several times
    #[arg(long = "save", value_name = "KEY=PATH")]
    save: Vec<String>,
    /// At most so many items of a list
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Every page of a list; without it, the first
    #[arg(long)]
    all: bool,
    /// Go on where an earlier call ended
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true)]
    cursor: Option<String>,
    /// JSON, one item a line, also on a terminal
    #[arg(long)]
    json: bool,
    /// The file that names connections; by default the wharfage.toml here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a wharfage.toml: grant the component everything its manifest asks for
    #[arg(long)]
    grant_needs: bool,
    /// Record the call as a fixture, without anything secret
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "record_new", "cursor"])]
    record: Option<PathBuf>,
    /// Answer from a recording: nothing is sent, and no key is needed
    #[arg(long, value_name = "FILE", conflicts_with = "record_new")]
    replay: Option<PathBuf>,
    /// Answer from a recording what is in it; send what is new, and add it
    #[arg(long, value_name = "FILE", conflicts_with = "cursor")]
    record_new: Option<PathBuf>,
    /// With --record: replace a file that is there
    #[arg(long, requires = "record")]
    force: bool,
}

impl Call {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        let tape = self.tape()?;
        // A replay needs no secret, so nobody is asked for leave.
        let host = match self.replay {
            Some(_) => common.host(),
            None => programs::host(common, self.config.as_deref(), &self.target)?,
        };
        let Some(tape) = tape else { return self.call(&host.build()?).await };
        let host = host.tape(tape.clone()).build()?;
        let result = self.call(&host).await;
        self.finish(&tape, result)
    }

    /// The tape that the arguments name.
    fn tape(&self) -> anyhow::Result<Option<Tape>> {
        let (path, mode) = match (&self.record, &self.replay, &self.record_new) {
            (Some(path), ..) => (path, TapeMode::Record),
            (None, Some(path), _) => (path, TapeMode::Replay),
            (None, None, Some(path)) => (path, TapeMode::ReplayOrRecord),
            (None, None, None) => return Ok(None),
        };
        if mode == TapeMode::Record && !self.force && path.symlink_metadata().is_ok() {
            let message = format!("{} is there already, and --record would replace it", path.display());
            return Err(wharfage::Error::new(Kind::InvalidRequest(Vec::new()), message)
                .with_details("To replace it:   --force\nTo add only what is new:   --record-new instead of --record")
                .into());
        }
        Ok(Some(Tape::open(path, mode)?))
    }

    /// Writes what was recorded, also of a call that failed, and tells what a replay left over.
    fn finish(&self, tape: &Tape, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if result.as_ref().is_err_and(anyhow::Error::is::<Told>) {
            // What was asked last may be half there.
            if self.replay.is_none() {
                note!("{DIM}nothing was recorded{DIM:#}");
            }
            return result;
        }
        match (tape.finish(), &result) {
            (Err(error), Ok(())) => {
                let message = format!("the call was made, and nothing was recorded: {}", error.message());
                let told = wharfage::Error::new(error.kind().clone(), message);
                return Err(match error.details() {
                    Some(details) => told.with_details(details).into(),
                    None => told.into(),
                });
            }
            (Err(error), Err(_)) => note!("{DIM}nothing was recorded: {}{DIM:#}", error.message()),
            (Ok(()), _) => {
                if let Some(path) = self.record.as_ref().or(self.record_new.as_ref()) {
                    note!("{DIM}on tape: {}{DIM:#}", path.display());
                }
            }
        }
        let unused = if tape.is_strict() && result.is_ok() { tape.unused() } else { Vec::new() };
        if !unused.is_empty() {
            let count = text::count(unused.len(), "request");
            note!("{DIM}{count} on the tape not asked for, the first: {}{DIM:#}", unused[0]);
        }
        result
    }

    async fn call(&self, host: &Host) -> anyhow::Result<()> {
        let plugin = self.plugin(host).await?;
        let about = plugin.needs().operation(&self.operation)?.clone();
        // One answer is every page, and at most one item; where to go on would be passed over.
        if self.cursor.is_some() && !about.is_list {
            return Err(wrong(format!("{} is no list, and --cursor is for lists", about.name)).into());
        }
        let input = self.input_text(&about)?;
        let cursor = self.cursor.clone().map(Cursor::new);
        let handed = Handed::over(&self.file, &self.save)?;
        let plugin = plugin.with_files(handed.files.clone());
        let calling = async {
            match about.is_list {
                true => self.list(&plugin, &about, input, cursor).await,
                false => self.single(&plugin, &input).await,
            }
        };
        let called = tokio::select! {
            called = calling => called,
            Ok(()) = tokio::signal::ctrl_c() => Err(interrupted(&about).into()),
        };
        let called = handed.end(called);
        tell_drift(&plugin);
        // Whoever asks again does not wait.
        tokio::select! {
            () = plugin.flush() => {}
            Ok(()) = tokio::signal::ctrl_c() => {}
        }
        called
    }

    /// The plugin behind the target.
    async fn plugin(&self, host: &Host) -> anyhow::Result<Plugin> {
        let path = Path::new(&self.target);
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let bytes = wharfage::read_component(path)?;
            let needs = Needs::read(&bytes)?;
            let name = needs.manifest.plugin.name.clone();
            // A replay sends nothing, so there is nothing to grant.
            if !self.grant_needs && self.replay.is_none() {
                return Err(wharfage::Error::new(
                    Kind::PolicyDenied(rule::CONNECTION.to_owned()),
                    format!("{name} is not connected, and what is not stated is not granted."),
                )
                .with_details(format!(
                    "Write down what it may do:   wharfage explain --suggest {} >> wharfage.toml\n\
                     or grant this one call everything it asks for, with one more argument:   --grant-needs",
                    self.target
                ))
                .into());
            }
            return Ok(host.connect(&name, &bytes, &Connection::granting(&needs), None).await?);
        }
        let path = self.config.as_deref().unwrap_or(Path::new(programs::FOUND));
        if self.grant_needs {
            return Err(wrong(format!("--grant-needs is for a component's file, and `{}` is none", self.target))
                .with_details(format!("What a connection may do stands in {}", path.display()))
                .into());
        }
        if !path.exists() {
            let message = format!("there is no {}, which says what plugins may do", path.display());
            return Err(wharfage::Error::new(Kind::Configuration, message).with_details(write_one(path)).into());
        }
        let config = read_config(path)?;
        Ok(host.open(&config, &self.target).await?)
    }

    /// The input from `--input` and `--set`.
    fn input_text(&self, about: &Operation) -> anyhow::Result<String> {
        let text = match self.input.as_deref() {
            None => "{}".to_owned(),
            Some("-") => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| unusable("--input -", &error))?;
                text
            }
            Some(input) => match input.strip_prefix('@') {
                Some(path) => std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?,
                None => input.to_owned(),
            },
        };
        if self.set.is_empty() && self.file.is_empty() && self.save.is_empty() {
            return Ok(text);
        }
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).map_err(|error| {
            wharfage::Error::new(Kind::InvalidRequest(Vec::new()), "the input must be a JSON object")
                .with_details(error.to_string())
        })?;
        for (key, value) in pairs("--set", &self.set)? {
            fields.insert(key.to_owned(), typed(about, key, value)?);
        }
        // A file is called like the field that names it.
        for (key, _) in pairs("--file", &self.file)?.into_iter().chain(pairs("--save", &self.save)?) {
            fields.insert(key.to_owned(), serde_json::value::to_raw_value(key)?);
        }
        Ok(serde_json::to_string(&fields)?)
    }

    async fn single(&self, plugin: &Plugin, input: &str) -> anyhow::Result<()> {
        let answer = plugin.page(&self.operation, input, None).await?;
        tell_source(&answer);
        match text::Fields::of(&answer.output) {
            Some(fields) if self.for_people() => text::print_fields(fields)?,
            _ => writeln!(std::io::stdout().lock(), "{}", answer.output.get())?,
        }
        Ok(())
    }

    async fn list(
        &self,
        plugin: &Plugin,
        about: &Operation,
        input: String,
        cursor: Option<Cursor>,
    ) -> anyhow::Result<()> {
        let columns = plugin.needs().manifest.operations.get(&about.name).map(|facts| facts.columns.clone());
        let mut rows = text::Rows::new(&columns.unwrap_or_default());
        let progress = self.progress();
        let mut pages = Box::pin(plugin.pages(&self.operation, input, cursor));
        let (mut shown, mut read, mut attempts) = (0usize, 0usize, 0u32);
        let most = self.limit.unwrap_or(usize::MAX);
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    progress.finish_and_clear();
                    return Err(error.into());
                }
            };
            read += 1;
            attempts += page.attempts;
            let mut items: Vec<Box<RawValue>> =
                serde_json::from_str(page.output.get()).context("the page is no JSON array")?;
            let on_page = items.len();
            items.truncate(most - shown);
            let cut = on_page - items.len();
            shown += items.len();
            progress.suspend(|| self.print(&mut rows, &items))?;
            progress.set_message(format!("{}, {}", text::count(shown, "item"), text::count(read, "page")));
            tell_source(&page);
            let is_enough = shown >= most || (!self.all && self.limit.is_none());
            if is_enough {
                progress.finish_and_clear();
                self.tell_rest(page.next.as_ref(), cut);
                return Ok(());
            }
        }
        progress.finish_and_clear();
        if self.for_people() {
            let requests = text::count(usize::try_from(attempts).unwrap_or(usize::MAX), "request");
            note!("{DIM}{}, {}, {requests}{DIM:#}", text::count(shown, "item"), text::count(read, "page"));
        }
        Ok(())
    }

    fn print(&self, rows: &mut text::Rows, items: &[Box<RawValue>]) -> std::io::Result<()> {
        if self.for_people() {
            return rows.print(items);
        }
        let mut out = std::io::stdout().lock();
        for item in items {
            writeln!(out, "{}", item.get())?;
        }
        out.flush()
    }

    fn tell_rest(&self, next: Option<&Cursor>, cut: usize) {
        if cut > 0 {
            note!("{DIM}{} more on this page; the cursor goes on after them{DIM:#}", text::count(cut, "item"));
        }
        match next {
            Some(_) if cut == 0 && self.for_people() => note!("{DIM}there are more: --all{DIM:#}"),
            Some(next) => note!("{DIM}to go on after this page: --cursor {}{DIM:#}", next.as_str()),
            None => {}
        }
    }

    fn progress(&self) -> ProgressBar {
        if self.all { text::spinner() } else { ProgressBar::hidden() }
    }

    fn for_people(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }
}

/// The two sides of each `KEY=VALUE`.
fn pairs<'a>(flag: &str, written: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, wharfage::Error> {
    let mut pairs: Vec<(&'a str, &'a str)> = Vec::new();
    for text in written {
        let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| {
            let value = if flag == "--set" { "VALUE" } else { "PATH" };
            wrong(format!("{flag} {text}: write KEY={value}"))
        })?;
        if pairs.iter().any(|(other, _)| *other == key) {
            let twice = wrong(format!("{flag} {key} stands twice"));
            return Err(match flag {
                "--set" => twice.with_details(format!("Several are a list of JSON:   --set '{key}=[\"A\", \"B\"]'")),
                _ => twice,
            });
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// What the caller wrote does not fit.
fn wrong(message: String) -> wharfage::Error {
    wharfage::Error::new(Kind::InvalidRequest(Vec::new()), message)
}

/// Tells what was broken off. What had left may have been done.
fn interrupted(about: &Operation) -> Told {
    let done = match about.effect {
        Effect::Read => "",
        _ => ": what had left may have been done; look before you call again",
    };
    note!("{YELLOW}interrupted{YELLOW:#}{done}");
    Told(INTERRUPTED)
}

/// Most files that lie beside a place and are not whole.
const PARTS_MAX: u32 = 1_000;

/// The files of `--file` and `--save`, with what of them has gone through. What is saved is written beside its place and put
/// there when all of it is there.
struct Handed {
    files: Files,
    bars: Vec<ProgressBar>,
    saved: Saved,
}

/// What is being written, and what it is to be called when it is whole; until then it goes with this.
#[derive(Default)]
struct Saved(Vec<(PathBuf, PathBuf)>);

impl Drop for Saved {
    fn drop(&mut self) {
        self.0.iter().for_each(|(part, _)| drop(std::fs::remove_file(part)));
    }
}

impl Handed {
    fn over(given: &[String], taken: &[String]) -> anyhow::Result<Self> {
        let mut handed = Self { files: Files::default(), bars: Vec::new(), saved: Saved::default() };
        for (key, path) in pairs("--file", given)? {
            let opened = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?, file)));
            let (about, file) = opened.map_err(|error| unusable(path, &error))?;
            let bar = text::bytes(&format!("read {path}"), Some(about.len()));
            handed.files = handed.files.give(key, bar.wrap_read(file)).with_context(|| format!("read {path}"))?;
            handed.bars.push(bar);
        }
        for (key, path) in pairs("--save", taken)? {
            let whole = PathBuf::from(path);
            if whole.symlink_metadata().is_ok() {
                let message = format!("{path} is there already, and --save would replace it");
                return Err(wharfage::Error::new(Kind::InvalidRequest(Vec::new()), message)
                    .with_details("Name another, or take that one away")
                    .into());
            }
            let (part, file) = beside(path)?;
            handed.saved.0.push((part, whole));
            let bar = text::bytes(&format!("write {path}"), None);
            handed.files = handed.files.take(key, bar.wrap_write(file));
            handed.bars.push(bar);
        }
        Ok(handed)
    }

    /// Puts what is whole in its place, and takes away what is not.
    fn end(mut self, called: anyhow::Result<()>) -> anyhow::Result<()> {
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
        // Whoever reads no further of the output has the files all the same.
        if called.as_ref().err().is_none_or(super::is_closed_pipe) {
            while let Some((part, whole)) = self.saved.0.last() {
                std::fs::rename(part, whole).with_context(|| format!("write {}", whole.display()))?;
                self.saved.0.pop();
            }
        }
        called
    }
}

/// Opens a new file beside this path, of this call alone and never in the place of what is there: a call that was
/// killed has left its own.
fn beside(path: &str) -> anyhow::Result<(PathBuf, std::fs::File)> {
    let mut number = 0u32;
    loop {
        let part = PathBuf::from(format!("{path}.{number}.part"));
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => return Ok((part, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < PARTS_MAX => number += 1,
            Err(error) => return Err(unusable(&part.display().to_string(), &error).into()),
        }
    }
}

/// A file that the caller named and that cannot be read or written.
fn unusable(path: &str, error: &std::io::Error) -> wharfage::Error {
    wrong(format!("{path} cannot be used: {error}"))
}

/// Says where an answer came from, if not from the provider now.
fn tell_source<T>(answer: &Answer<T>) {
    if answer.source != AnswerSource::Live {
        let source = format!("{:?}", answer.source).to_lowercase();
        note!("{YELLOW}{source} answer, {} s old{YELLOW:#}", answer.age_ms / 1000);
    }
}

/// Says how answers differed from their schemas, a line for each place and kind.
fn tell_drift(plugin: &Plugin) {
    let drifts = plugin.drift();
    for drift in &drifts.records {
        let path = if drift.path.is_empty() { "(output)" } else { &drift.path };
        let often = if drift.count == 1 { "once".to_owned() } else { format!("{} times", drift.count) };
        let path = text::one_line(path, 200);
        note!("{YELLOW}drift: {} {path} {}, {often}{YELLOW:#}", drift.operation, drift.kind.name());
    }
    if drifts.beyond > 0 {
        note!("{YELLOW}drift: {} more differences than are kept{YELLOW:#}", drifts.beyond);
    }
}

/// A `--set` value as the schema wants it: text where the field takes text, else what it reads as, digit by digit.
fn typed(about: &Operation, key: &str, value: &str) -> serde_json::Result<Box<RawValue>> {
    let field = about.input_schema.pointer(&format!("/properties/{key}"));
    let read = if field.is_some_and(takes_text) { None } else { serde_json::from_str(value).ok() };
    read.map_or_else(|| serde_json::value::to_raw_value(value), Ok)
}

fn takes_text(field: &Value) -> bool {
    let is_text = |kind: &Value| kind == "string";
    match field.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_text),
        Some(kind) => is_text(kind),
        None => ["anyOf", "oneOf"]
            .iter()
            .any(|key| field.get(*key).and_then(Value::as_array).is_some_and(|options| options.iter().any(takes_text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(folder: &Path, names: &[&str]) -> Handed {
        let save = |name: &&str| format!("{name}={}", folder.join(name).display());
        Handed::over(&[], &names.iter().map(save).collect::<Vec<_>>()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A container runs each call under the same number.
    #[test]
    fn what_a_killed_call_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        std::mem::forget(handed(folder.path(), &["a"]));
        handed(folder.path(), &["a"]).end(Ok(())).unwrap();
        assert_eq!(names(folder.path()), ["a", "a.0.part"]);
    }

    #[test]
    fn what_cannot_be_put_in_its_place_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let handed = handed(folder.path(), &["a", "b", "c"]);
        std::fs::create_dir(folder.path().join("b")).unwrap();
        handed.end(Ok(())).unwrap_err();
        assert!(names(folder.path()).iter().all(|name| !name.ends_with(".part")), "{:?}", names(folder.path()));
    }
}
