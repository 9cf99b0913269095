//! One source of a secret, asked: which versions of it there are.
//!
//! A source that has the secret and cannot be used is an error and not an absence, so that no chain goes on past a file
//! that others can read to a value that nobody meant.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file::Found;
use super::sealed::Sealed;
use super::versions::{Version, Versions};
use super::{SecretsContext, env, env_file, exec, file, own};
use crate::account::{SecretProgram, SecretSource};
use crate::error::{Error, Result};
use crate::time::BoxFuture;

/// What a source has.
pub(super) struct Answer {
    pub(super) versions: Versions,
    /// Of a sealed record, its version.
    pub(super) record: Option<u64>,
}

/// Why a source cannot be used.
pub(super) enum Trouble {
    /// A sentence for the operator.
    Words(String),
    /// An error that knows more itself.
    Known(Error),
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

/// The name of a secret's record.
pub(super) fn record_name(secret: &str) -> String {
    format!("secret {secret}")
}

/// Asks a source for a secret; nothing where it does not have it. It is asked seldom, and whoever asks would be large by it.
pub(super) fn ask<'a>(
    source: &'a SecretSource,
    name: &'a str,
    context: &'a SecretsContext,
) -> BoxFuture<'a, Result<Option<Answer>, Trouble>> {
    Box::pin(asked(source, name, context))
}

async fn asked(source: &SecretSource, name: &str, context: &SecretsContext) -> Result<Option<Answer>, Trouble> {
    match source {
        SecretSource::Env(variable) => {
            let found =
                |suffix: &str| Ok(env::read(&format!("{variable}{suffix}")).map(|text| Found { text, at: None }));
            together(found, ["", "_NEXT", "_PREVIOUS"])
        }
        SecretSource::EnvFile { path, name } => {
            let (path, name) = (path.clone(), name.clone());
            let found = move |suffix: &str| env_file::read(&path, &format!("{name}{suffix}"));
            apart(move || together(found, ["", "_NEXT", "_PREVIOUS"])).await
        }
        SecretSource::File(path) => {
            let path = path.clone();
            let found = move |suffix: &str| file::read(&beside(&path, suffix));
            apart(move || together(found, ["", ".next", ".previous"])).await
        }
        SecretSource::Sealed => match &context.sealed {
            Some(sealed) => Ok(kept(sealed, &context.owner, name).await.map_err(Trouble::Known)?),
            None => Ok(None),
        },
        SecretSource::Program(program) => {
            leave(program, context.run_programs)?;
            Ok(Some(alone(exec::read(program, &context.clock).await?)))
        }
        SecretSource::Ask(ask) => Ok(own::read(ask, &context.clock).await?.map(alone)),
        SecretSource::Value(value) => Ok(Some(alone(value.0.clone()))),
        // A chain is asked source by source, by whoever holds it.
        SecretSource::Chain(_) => Ok(None),
    }
}

/// One version, of which nobody says since when it is there.
fn alone(value: Zeroizing<String>) -> Answer {
    let current = Some(Version { value, since: None });
    Answer { versions: Versions { current, ..Versions::default() }, record: None }
}

/// The versions that a sealed record holds.
pub(super) async fn kept(sealed: &Sealed, owner: &str, name: &str) -> Result<Option<Answer>> {
    let record_name = record_name(name);
    let Some(record) = sealed.read(owner, &record_name).await? else { return Ok(None) };
    let versions = Versions::from_bytes(&record.value).ok_or_else(|| {
        Error::internal(format!(
            "the sealed record `{record_name}` of {owner} is of a form that this version does not know"
        ))
    })?;
    let record = Some(record.version);
    Ok(Some(Answer { versions, record }))
}

/// The current one with the two beside it. Without a current one there is none.
fn together(
    found: impl Fn(&str) -> Result<Option<Found>, String>,
    [current, next, previous]: [&str; 3],
) -> Result<Option<Answer>, Trouble> {
    let version = |suffix: &str| -> Result<Option<Version>, String> {
        Ok(found(suffix)?.map(|found| Version { value: found.text, since: found.at }))
    };
    let Some(current) = version(current)? else { return Ok(None) };
    let versions = Versions { current: Some(current), next: version(next)?, previous: version(previous)? };
    Ok(Some(Answer { versions, record: None }))
}

/// Runs what waits for a disk where it may.
async fn apart(
    work: impl FnOnce() -> Result<Option<Answer>, Trouble> + Send + 'static,
) -> Result<Option<Answer>, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Trouble::Words("the thread that read it failed".to_owned())))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Whether a program may run: one that the embedding program chose may, one that a file names needs leave (R16).
fn leave(program: &SecretProgram, is_given: bool) -> Result<(), String> {
    let Some(file) = program.found_in.as_ref().filter(|_| !is_given) else { return Ok(()) };
    let file = if file.as_os_str().is_empty() { "wharfage.toml".to_owned() } else { file.display().to_string() };
    Err(format!(
        "The program `{}` is named by {file}, which was found by looking around, and is not run without being asked.\n\
         To allow it, name the file:   --config {file}\nor, in an embedding program:   HostBuilder::run_programs(true)",
        program.shown()
    ))
}
