//! Leave for the programs that a `wharfage.toml` names as sources of secrets (R16).
//!
//! A file that somebody named with `--config` was chosen; its programs run. One that was found by looking around was not:
//! a person is asked once for each program, and the yes is remembered for exactly this file, program and environment.
//! Without a terminal nobody can be asked, and the host refuses with the line that allows it. Nor is anybody asked while
//! `wharfage serve` runs: a change that brings a program without a yes is not taken up.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wharfage::serving::SinkPlace;
use wharfage::{Config, Digest, HostBuilder, Kind, SecretProgram, SecretSource, rule};

use super::text::{BOLD, one_line};
use super::{Common, read_config};

/// Where a yes is remembered, in the state folder: a line each.
const REMEMBERED: &str = "programs.allowed";

/// Where `wharfage.toml` lies when nobody says.
pub(super) const FOUND: &str = "wharfage.toml";

/// A host for a connection of the file that was stated, or else of the one that lies here, if one does.
pub(super) fn host(common: &Common, stated: Option<&Path>, connection: &str) -> anyhow::Result<HostBuilder> {
    match stated {
        Some(path) if path.exists() => Ok(common.host().engine(read_config(path)?.engine).run_programs(true)),
        Some(_) => Ok(common.host().run_programs(true)),
        None if !Path::new(FOUND).exists() => Ok(common.host()),
        None => {
            let config = read_config(Path::new(FOUND))?;
            Ok(host_of_found(common, &config, connection)?.engine(config.engine))
        }
    }
}

/// The file that was stated, or else the one that lies here, with a host for one of its connections.
pub(super) fn open(common: &Common, stated: Option<&Path>, connection: &str) -> anyhow::Result<(Config, HostBuilder)> {
    let config = read_config(stated.unwrap_or(Path::new(FOUND)))?;
    let host = match stated {
        Some(_) => common.host().run_programs(true),
        None => host_of_found(common, &config, connection)?,
    };
    let host = host.engine(config.engine);
    Ok((config, host))
}

/// The same with a host for everything that the file holds.
pub(super) fn open_all(common: &Common, stated: Option<&Path>) -> anyhow::Result<(Config, HostBuilder)> {
    let config = read_config(stated.unwrap_or(Path::new(FOUND)))?;
    let host = match stated {
        Some(_) => common.host().run_programs(true),
        None => {
            let programs: Vec<&SecretProgram> = programs_of(sources(&config)).collect();
            // Where there are none, a change may bring one that was allowed before; `check_change` judges it.
            common.host().run_programs(programs.is_empty() || allowed(common, &programs)?)
        }
    };
    let host = host.engine(config.engine);
    Ok((config, host))
}

/// Refuses a change of the file that lies here where it brings a program that nobody said yes to.
pub(super) fn check_change(common: &Common, before: &Config, after: &Config) -> anyhow::Result<()> {
    let path = found()?;
    let mut known: BTreeSet<String> = programs_of(sources(before)).map(|program| mark(&path, program)).collect();
    if let Some(folder) = common.state_folder() {
        known.append(&mut remembered(&folder)?);
    }
    match programs_of(sources(after)).find(|program| !known.contains(&mark(&path, program))) {
        None => Ok(()),
        Some(program) => Err(wharfage::Error::new(
            Kind::PolicyDenied(rule::PROGRAM.to_owned()),
            format!("{FOUND} names the program `{}`, which nobody has allowed", one_line(&program.shown(), 500)),
        )
        .with_details(format!(
            "The file was found by looking around, and nobody is asked while this runs.\n\
             To allow it, start again on a terminal and say yes, or name the file:   --config {FOUND}"
        ))
        .into()),
    }
}

/// Every source of a secret that the file holds.
fn sources(config: &Config) -> impl Iterator<Item = &SecretSource> {
    let sinks = config.sinks.values().filter_map(|sink| match &sink.place {
        SinkPlace::Http { secret, .. } => Some(secret),
        _ => None,
    });
    let receiver = config.observe.otlp_secret.iter();
    let accounts = config.accounts.values().flat_map(|account| account.secrets.values());
    accounts.chain(sinks).chain(receiver)
}

fn programs_of<'a>(sources: impl Iterator<Item = &'a SecretSource>) -> impl Iterator<Item = &'a SecretProgram> {
    sources.flat_map(SecretSource::programs)
}

/// A host for a connection of the file that lies here.
fn host_of_found(common: &Common, config: &Config, connection: &str) -> anyhow::Result<HostBuilder> {
    let account = config.connections.get(connection).and_then(|connection| connection.account.as_ref());
    let account = account.and_then(|name| config.accounts.get(name));
    host_running(common, account.iter().flat_map(|account| account.secrets.values()))
}

/// A host that runs the programs of these sources, if it may.
fn host_running<'a>(common: &Common, sources: impl Iterator<Item = &'a SecretSource>) -> anyhow::Result<HostBuilder> {
    let programs: Vec<&SecretProgram> = programs_of(sources).collect();
    let may_run = !programs.is_empty() && allowed(common, &programs)?;
    Ok(common.host().run_programs(may_run))
}

/// The file that lies here, as marks name it.
fn found() -> anyhow::Result<PathBuf> {
    Path::new(FOUND).canonicalize().with_context(|| format!("find {FOUND}"))
}

/// Whether each of the programs was allowed, before or now.
fn allowed(common: &Common, programs: &[&SecretProgram]) -> anyhow::Result<bool> {
    let path = found()?;
    let Some(folder) = common.state_folder() else { return Ok(false) };
    let remembered = remembered(&folder)?;
    for program in programs {
        let mark = mark(&path, program);
        if remembered.contains(&mark) {
            continue;
        }
        if !asked(&path, program)? {
            return Ok(false);
        }
        remember(&folder, &mark).context("remember the answer")?;
    }
    Ok(true)
}

fn asked(path: &Path, program: &SecretProgram) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let shown = one_line(&program.shown(), 500);
    note!("{} would run a program to get a secret:\n  {BOLD}{shown}{BOLD:#}", path.display());
    if !program.env.is_empty() {
        note!("  with {}", one_line(&program.env.join(", "), 500));
    }
    let mut err = anstream::stderr();
    write!(err, "Run it, now and from now on? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// What a yes is for: this file, this program, this environment.
fn mark(path: &Path, program: &SecretProgram) -> String {
    let mut all = Vec::new();
    let lists = [&[path.display().to_string()][..], &program.argv, &program.env];
    for list in lists {
        all.extend_from_slice(&(list.len() as u64).to_be_bytes());
        for text in list {
            all.extend_from_slice(&(text.len() as u64).to_be_bytes());
            all.extend_from_slice(text.as_bytes());
        }
    }
    Digest::of(&all).to_string()
}

fn remembered(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    match std::fs::read_to_string(folder.join(REMEMBERED)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", folder.join(REMEMBERED).display())),
    }
}

fn remember(folder: &PathBuf, mark: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        options.mode(0o600);
        builder.mode(0o700);
    }
    builder.create(folder)?;
    writeln!(options.open(folder.join(REMEMBERED))?, "{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_is_for_one_file_one_program_and_one_environment() {
        let program = |argv: &[&str], env: &[&str]| {
            let mut program = SecretProgram::new(argv.iter().copied());
            program.env = env.iter().map(|name| (*name).to_owned()).collect();
            program
        };
        let marks = [
            mark(Path::new("/a"), &program(&["op", "read"], &[])),
            mark(Path::new("/b"), &program(&["op", "read"], &[])),
            mark(Path::new("/a"), &program(&["op read"], &[])),
            mark(Path::new("/a"), &program(&["op"], &["read"])),
            mark(Path::new("/a"), &program(&["op", "read"], &["HOME"])),
        ];
        assert_eq!(marks.iter().collect::<BTreeSet<_>>().len(), marks.len());
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert!(remembered(&state).unwrap().is_empty());
        remember(&state, &marks[0]).unwrap();
        remember(&state, &marks[1]).unwrap();
        assert_eq!(remembered(&state).unwrap(), marks[..2].iter().cloned().collect());
    }
}
