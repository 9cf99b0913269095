//! The secrets of one connection: read where they are granted from, renewed when one is refused, and kept in the sealed
//! store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::chain::words;
use super::known::Known;
use super::source::{self, Answer, Trouble};
use super::versions::{Version, Versions};
use super::{SECRET_BYTES_MAX, Sealed};
use crate::account::{SecretSource, SecretValue};
use crate::error::{Error, Kind, Result, rule};
use crate::manifest::Purpose;
use crate::mask::{Mask, SEARCHED_BYTES_MIN};
use crate::observe::audit::{AuditAction, AuditContext, AuditEntry};
use crate::observe::trace::carry;
use crate::text::{list_line, shown, suggestion, toml_key};
use crate::time::{Clock, SystemClock, Timestamp};

/// How long the versions of a secret for checking are known before they are looked for again, in milliseconds.
const VERSIONS_MS: u64 = 60_000;

/// How long nobody looks for another value again after none helped, nor runs a program or asks an own store again after it
/// gave nothing, in milliseconds.
const QUIET_MS: u64 = 30_000;

/// How often a record is written anew when somebody else was faster.
const WRITES_MAX: usize = 5;

/// The secrets that one connection may have used for it.
pub struct Secrets {
    pub(super) service: String,
    pub(super) connection: String,
    /// Who uses them, in words: the connection, a sink, a receiver.
    user: String,
    granted: BTreeMap<String, Granted>,
    context: SecretsContext,
    known: Mutex<Known>,
    /// One for each secret that a program or an own store gives.
    turns: BTreeMap<String, tokio::sync::Mutex<BTreeMap<usize, Seldom>>>,
    /// How often another value took a secret's place.
    changes: AtomicU64,
    is_all_known: tokio::sync::OnceCell<()>,
}

debug_shows!(Secrets, |this| connection = this.connection);

/// What secrets are read with.
#[derive(Clone)]
pub(crate) struct SecretsContext {
    /// The sealed store.
    pub(crate) sealed: Option<Sealed>,
    /// Whose records are read there: `account NAME`, or `connection NAME` where there is no account.
    pub(crate) owner: String,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether programs that a file names may run.
    pub(crate) run_programs: bool,
    /// Where it is told that a secret was changed.
    pub(crate) audit_context: AuditContext,
}

/// Which of its versions a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretSlot {
    /// It is used from now on; the one before becomes the previous one.
    Current,
    /// It is used when the current one is refused, and becomes the current one when it has worked.
    Next,
}

/// What is known about a secret; never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretState {
    /// Its name.
    pub name: String,
    /// Where it comes from, in words.
    pub source: String,
    /// Since when its current value is there, where that is known.
    pub since: Option<Timestamp>,
    /// Of a sealed one, the version of its record.
    pub version: Option<u64>,
    /// Whether a next one is there.
    pub has_next: bool,
    /// Whether a previous one is there.
    pub has_previous: bool,
    /// Days after which the provider wants it replaced.
    pub max_age_days: Option<u32>,
    /// Why it cannot be had, with what would help.
    pub trouble: Option<String>,
    /// Whether it is nowhere, and `wharfage secret set` gives it.
    pub can_be_set: bool,
}

#[cfg(test)]
impl SecretState {
    /// One from a file that was given then.
    pub(crate) fn of_test(name: &str, since: Option<Timestamp>) -> Self {
        Self {
            name: name.to_owned(),
            source: "a file".to_owned(),
            since,
            version: None,
            has_next: false,
            has_previous: false,
            max_age_days: None,
            trouble: None,
            can_be_set: false,
        }
    }
}

/// A secret that is granted: what for, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// Its one purpose.
    pub(crate) purpose: Purpose,
    /// Where it comes from; the chain when absent.
    pub(crate) source: Option<SecretSource>,
    /// Days after which the provider wants it replaced.
    pub(crate) max_age_days: Option<u32>,
}

impl Granted {
    /// Whether a program is among its sources.
    fn has_program(&self) -> bool {
        self.source.as_ref().is_some_and(|source| !source.programs().is_empty())
    }

    /// Whether a program or an own store is.
    fn is_asked_seldom(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.each().into_iter().any(SecretSource::is_asked_seldom))
    }
}

/// What came of asking a source that is asked seldom, last.
#[derive(Default)]
struct Seldom {
    /// How asking failed, or nothing where the secret was not there; and until when that holds instead of asking again.
    failed: Option<(Timestamp, Option<Error>)>,
    /// The question that whoever asked it went away from.
    asking: Option<JoinHandle<Answered>>,
}

/// What a source answered, and when.
type Answered = (Timestamp, Result<Option<Answer>, Trouble>);

/// Whoever has it may run the programs, or ask the own stores, that give a secret; the others wait, and find what came of
/// it, by the source's place among all.
type Turn<'a> = tokio::sync::MutexGuard<'a, BTreeMap<usize, Seldom>>;

impl Secrets {
    /// The secrets of a connection to `service`.
    pub(crate) fn new(service: &str, connection: &str, granted: BTreeMap<String, Granted>) -> Self {
        let context = SecretsContext {
            sealed: None,
            owner: format!("connection {connection}"),
            clock: Arc::new(SystemClock::new()),
            run_programs: false,
            audit_context: AuditContext::closed(),
        };
        let seldom = granted.iter().filter(|(_, granted)| granted.is_asked_seldom());
        let turns = seldom.map(|(name, _)| (name.clone(), tokio::sync::Mutex::default())).collect();
        Self {
            service: service.to_owned(),
            connection: connection.to_owned(),
            user: format!("connection `{connection}`"),
            granted,
            context,
            known: Mutex::new(Known::new()),
            turns,
            changes: AtomicU64::new(0),
            is_all_known: tokio::sync::OnceCell::new(),
        }
    }

    /// Reads with this.
    pub(crate) fn with(self, context: SecretsContext) -> Self {
        Self { context, ..self }
    }

    /// Says who uses them, where that is no connection.
    #[cfg(any(feature = "serve", feature = "trace"))]
    pub(crate) fn used_by(self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self }
    }

    /// The value of a granted secret.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`], worded alike whether the secret is not granted or does not exist; the details
    /// for the operator say which, and where it was looked for.
    pub(crate) async fn value(&self, name: &str, purpose: Purpose) -> Result<Zeroizing<String>> {
        if purpose == Purpose::Verify {
            // What is checked with it follows its source, as it does where all versions are asked for.
            let all = Box::pin(self.versions(name, purpose)).await?;
            let first = all.into_iter().next().ok_or_else(|| self.unavailable(name))?;
            self.known().values.insert(name.to_owned(), first.clone());
            return Ok(first);
        }
        let granted = self.granted_for(name, purpose)?;
        if let Some(value) = self.known().values.get(name) {
            return Ok(value.clone());
        }
        // Apart, for it is seldom and large.
        Box::pin(self.first_value(name, granted)).await
    }

    async fn first_value(&self, name: &str, granted: &Granted) -> Result<Zeroizing<String>> {
        let mut turn = self.turn(name).await;
        if let Some(value) = self.known().values.get(name) {
            return Ok(value.clone());
        }
        let versions = self.read(name, granted, &mut turn).await?;
        let current = versions.current.as_ref().ok_or_else(|| self.unavailable(name))?;
        self.known().adopt(name, current.value.clone(), &versions);
        Ok(current.value.clone())
    }

    /// All values of a secret that are accepted when something is checked with it: the current one, the next and the
    /// previous, so that neither side of a change is refused. Looked for again after a minute, except where a program
    /// gives it.
    ///
    /// # Errors
    /// As for [`Secrets::value`].
    pub(crate) async fn versions(&self, name: &str, purpose: Purpose) -> Result<Vec<Zeroizing<String>>> {
        let granted = self.granted_for(name, purpose)?;
        let known = || self.known().accepted.get(name).cloned();
        // While somebody asks again, what is known serves: a store that hangs holds nobody else up.
        if let (Some(turn), Some((_, values))) = (self.turns.get(name), known())
            && turn.try_lock().is_err()
        {
            return Ok(values);
        }
        let mut turn = self.turn(name).await;
        let (now, known) = (self.context.clock.now(), known());
        // A program is not asked again and again, and has only one version to tell.
        let is_settled = granted.has_program();
        if let Some((_, values)) = known.as_ref().filter(|(at, _)| is_settled || now.since(*at) < VERSIONS_MS) {
            return Ok(values.clone());
        }
        if let Some((_, values)) = &known {
            // Whoever asks may go away before there is an answer; the next one does not wait for it again.
            self.known().accepted.insert(name.to_owned(), (now, values.clone()));
        }
        let values: Vec<_> = match (self.find(name, granted, &mut turn).await, known) {
            (Ok(Some(versions)), _) => versions.values().cloned().collect(),
            // What was taken away everywhere is accepted no more.
            (Ok(None), _) => {
                self.known().accepted.remove(name);
                return Err(self.nowhere(name, granted));
            }
            // What was right a minute ago stays so while its source has trouble.
            (Err(_), Some((_, values))) => values,
            (Err(error), None) => return Err(error),
        };
        let mut known = self.known();
        known.learn(&source::record_name(name), &values);
        known.accepted.insert(name.to_owned(), (now, values.clone()));
        Ok(values)
    }

    /// Whether there is another value to try after the provider refused `failed`: its source is read again, and what it
    /// holds is taken in the order current, next, previous. False where nothing is left; then the current one is used
    /// again, and for half a minute nobody looks.
    pub(crate) async fn try_next(&self, name: &str, failed: &str) -> bool {
        let Some(granted) = self.granted.get(name) else { return false };
        let mut turn = self.turn(name).await;
        let now = self.context.clock.now();
        {
            let known = self.known();
            if known.values.get(name).is_some_and(|value| value.as_str() != failed) {
                return true;
            }
            if known.quiet_until.get(name).is_some_and(|until| *until > now) {
                return false;
            }
        }
        let Ok(versions) = self.read(name, granted, &mut turn).await else { return false };
        let mut known = self.known();
        if known.values.get(name).is_some_and(|value| value.as_str() != failed) {
            return true;
        }
        let refused = known.refused.entry(name.to_owned()).or_default();
        refused.push(Zeroizing::new(failed.to_owned()));
        let untried = versions.in_order().find(|version| !refused.contains(&version.value));
        let (chosen, is_other) = match (untried, &versions.current) {
            (Some(version), _) => (version.value.clone(), true),
            (None, Some(current)) => (current.value.clone(), false),
            (None, None) => return false,
        };
        if !is_other {
            known.refused.remove(name);
            known.quiet_until.insert(name.to_owned(), now.plus(QUIET_MS));
        }
        if chosen.as_str() != failed {
            self.changes.fetch_add(1, Ordering::Release);
        }
        known.adopt(name, chosen, &versions);
        is_other
    }

    /// The provider took this value. Where it was a sealed secret's next one, it becomes the current one. Costs nothing
    /// unless another was refused before.
    pub(crate) async fn worked(&self, name: &str, value: &str) {
        if self.known().refused.remove(name).is_none() {
            return;
        }
        // Where it cannot be written down, it is tried again after the next start: nothing is lost by that.
        // Apart, for it is seldom and large.
        let _ = Box::pin(self.change(name, |versions| versions.promote(value))).await;
    }

    /// Values that were made or obtained for the connection, as an access token: they must not come back either. Of one
    /// label the last [`LEARNED_MAX`](super::known::LEARNED_MAX) are remembered.
    pub(crate) fn learn<'a>(&self, label: &str, values: impl IntoIterator<Item = &'a Zeroizing<String>>) {
        self.known().learn(label, values);
    }

    /// Tells the mask every granted value that can be had and was not asked for yet, once: a provider may know also those,
    /// as the key of its webhooks, and send them back.
    pub(crate) async fn know_all(&self) {
        let learn = async || {
            for (name, granted) in &self.granted {
                // A program or an own store is asked when its secret is needed, not before.
                if granted.is_asked_seldom() || self.known().values.contains_key(name) {
                    continue;
                }
                if let Ok(versions) = self.read(name, granted, &mut None).await {
                    self.learn(&source::record_name(name), versions.values());
                }
            }
        };
        self.is_all_known.get_or_init(learn).await;
    }

    /// Whether a secret of this name is granted, for whatever purpose.
    pub(crate) fn is_granted(&self, name: &str) -> bool {
        self.granted.contains_key(name)
    }

    /// Why a secret is not there, with what would help; nothing where somebody has given it. Given is also what is said to
    /// be in one place and is not there, and what is there and cannot be used: that is a mistake, and no wish to do without.
    pub(crate) async fn not_given(&self, name: &str) -> Option<String> {
        let Some(granted) = self.granted.get(name) else {
            let granted = self.granted_for(name, Purpose::Credential).err();
            return granted.and_then(|error| error.details().map(str::to_owned));
        };
        if granted.source.is_some() || self.known().values.contains_key(name) {
            return None;
        }
        for source in self.sources_of(name, granted) {
            if !matches!(source::ask(&source, name, &self.context).await, Ok(None)) {
                return None;
            }
        }
        Some(self.advice(name, granted))
    }

    /// How often another value took a secret's place, as far as this process has seen it.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What tells the versions of a secret apart that was asked for before, made of its value once for each version.
    pub(crate) fn known_version(&self, name: &str, of: impl FnOnce(&str) -> String) -> Option<Arc<str>> {
        let mut known = self.known();
        if let Some(version) = known.versions.get(name) {
            return Some(version.clone());
        }
        let version: Arc<str> = of(known.values.get(name)?).into();
        known.versions.insert(name.to_owned(), version.clone());
        Some(version)
    }

    /// Whether a secret of this name and purpose can be had.
    pub(crate) async fn is_available(&self, name: &str, purpose: Purpose) -> bool {
        self.value(name, purpose).await.is_ok()
    }

    /// What must not come back, as far as values are known.
    pub(crate) fn mask(&self) -> Arc<Mask> {
        self.known().mask.mask()
    }

    /// The names of the secrets whose values were asked for and found.
    pub(crate) fn known_names(&self) -> Vec<String> {
        self.known().values.keys().cloned().collect()
    }

    /// A known secret that is too short to be searched by the mask and stands in this text as a word of its own.
    pub(crate) fn short_one_in(&self, text: &str) -> Option<String> {
        let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let stands = |value: &str| {
            text.match_indices(value).any(|(at, _)| {
                !is_part(text[..at].chars().next_back()) && !is_part(text[at + value.len()..].chars().next())
            })
        };
        let known = self.known();
        let mut short = known.values.iter().filter(|(_, value)| value.len() < SEARCHED_BYTES_MIN);
        short.find(|(_, value)| stands(value)).map(|(name, _)| name.clone())
    }

    /// The names granted, with where each comes from, in words.
    pub fn sources(&self) -> Vec<(String, String)> {
        let line = |(name, granted): (&String, &Granted)| {
            let sources = self.sources_of(name, granted);
            (name.clone(), sources.iter().map(words).collect::<Vec<_>>().join(", then "))
        };
        self.granted.iter().map(line).collect()
    }

    /// What is known about each granted secret. No program is run for it, and no own store is asked.
    pub async fn states(&self) -> Vec<SecretState> {
        let mut states = Vec::with_capacity(self.granted.len());
        for (name, granted) in &self.granted {
            states.push(self.state(name, granted).await);
        }
        states
    }

    async fn state(&self, name: &str, granted: &Granted) -> SecretState {
        let mut state = SecretState {
            name: name.to_owned(),
            source: String::new(),
            since: None,
            version: None,
            has_next: false,
            has_previous: false,
            max_age_days: granted.max_age_days,
            trouble: None,
            can_be_set: false,
        };
        let sources = self.sources_of(name, granted);
        for source in &sources {
            state.source = words(source);
            if source.is_asked_seldom() {
                return state;
            }
            match source::ask(source, name, &self.context).await {
                Ok(None) => {}
                Ok(Some(Answer { versions, record })) => {
                    state.since = versions.current.and_then(|current| current.since);
                    (state.has_next, state.has_previous) = (versions.next.is_some(), versions.previous.is_some());
                    state.version = record;
                    return state;
                }
                Err(trouble) => {
                    state.trouble = Some(match trouble {
                        Trouble::Words(words) => words,
                        Trouble::Known(error) => error.to_string(),
                    });
                    return state;
                }
            }
        }
        state.source = sources.iter().map(words).collect::<Vec<_>>().join(", then ");
        state.trouble = Some(format!("it is nowhere. {}", self.advice(name, granted)));
        state.can_be_set = self.context.sealed.is_some() && sources.contains(&SecretSource::Sealed);
        state
    }

    /// Whether a value of this secret may be kept in the sealed store, before anybody is asked for one.
    ///
    /// # Errors
    /// As for [`Secrets::keep`].
    pub fn may_keep(&self, name: &str) -> Result<()> {
        self.kept_here(name).map(drop)
    }

    /// Keeps a value in the sealed store, as the current one or the next. Answers the record's version.
    ///
    /// # Errors
    /// [`Kind::PolicyDenied`] where the connection does not grant the secret; [`Kind::Configuration`] where it does not
    /// come from the sealed store.
    pub async fn keep(&self, name: &str, value: &SecretValue, slot: SecretSlot) -> Result<u64> {
        let kept = self.put(name, value, slot).await;
        let action = if slot == SecretSlot::Next { AuditAction::Rotate } else { AuditAction::Set };
        self.tell(action, name, kept.as_ref().map(drop));
        kept
    }

    async fn put(&self, name: &str, value: &SecretValue, slot: SecretSlot) -> Result<u64> {
        self.sized(name, value.0.len())?;
        let since = Some(self.context.clock.now());
        self.known().learn(&source::record_name(name), [&value.0]);
        self.kept_here(name)?;
        let written = self
            .change(name, |versions| {
                let new = Version { value: value.0.clone(), since };
                match slot {
                    SecretSlot::Current => versions.set(new),
                    SecretSlot::Next => versions.rotate(new),
                }
                true
            })
            .await?;
        self.forget(name);
        written.ok_or_else(|| Error::internal("the record was not written"))
    }

    /// Takes a secret away from the sealed store. False where it was not there.
    ///
    /// # Errors
    /// As for [`Secrets::keep`].
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let sealed = self.kept_here(name)?;
        self.forget(name);
        let removed = sealed.remove(&self.context.owner, &source::record_name(name)).await;
        self.tell_removed(name, &removed);
        removed
    }

    /// Takes a secret's previous value away from the sealed store. False where there was none.
    ///
    /// # Errors
    /// As for [`Secrets::keep`].
    pub async fn remove_previous(&self, name: &str) -> Result<bool> {
        self.kept_here(name)?;
        self.forget(name);
        let removed =
            self.change(name, |versions| versions.previous.take().is_some()).await.map(|there| there.is_some());
        self.tell_removed(name, &removed);
        removed
    }

    fn tell_removed(&self, name: &str, removed: &Result<bool>) {
        // Where nothing was there, nothing was done.
        if !matches!(removed, Ok(false)) {
            self.tell(AuditAction::Remove, name, removed.as_ref().map(drop));
        }
    }

    /// Tells the audit trail that a secret was changed. A name that is not granted is whatever was typed, and is not kept.
    fn tell(&self, action: AuditAction, name: &str, outcome: std::result::Result<(), &Error>) {
        let name = if self.is_granted(name) { name } else { "(not granted)" };
        let entry = self.context.audit_context.entry(action, None);
        self.context.audit_context.tell(AuditEntry { secrets: vec![name.to_owned()], ..entry }.came_to(outcome));
    }

    /// The sealed store, if the secret is granted and comes from there.
    fn kept_here(&self, name: &str) -> Result<&Sealed> {
        let Some(granted) = self.granted.get(name) else {
            let names: Vec<&str> = self.granted.keys().map(String::as_str).collect();
            return Err(Error::denied(
                rule::SECRET,
                format!("connection `{}` grants no secret `{}`", self.connection, shown(name)),
                format!("{}\nIf the plugin names it, {}", suggestion(name, &names), self.line_for(name)),
            ));
        };
        let sources = self.sources_of(name, granted);
        if !sources.contains(&SecretSource::Sealed) {
            let shown: Vec<String> = sources.iter().map(words).collect();
            return Err(Error::configuration(format!(
                "the secret `{name}` of connection `{}` does not come from the sealed store but from {}",
                self.connection,
                shown.join(", then ")
            ))
            .with_details(format!("To keep it there, set in its account's secrets:   {name} = {{ sealed = true }}")));
        }
        self.context.sealed.as_ref().ok_or_else(|| Error::configuration("there is no sealed store here"))
    }

    /// Changes a secret's sealed record; nothing is written where `work` says so or, for a change, where there is none.
    async fn change(&self, name: &str, work: impl Fn(&mut Versions) -> bool) -> Result<Option<u64>> {
        let Some(sealed) = &self.context.sealed else { return Ok(None) };
        let owner = &self.context.owner;
        for _ in 0..WRITES_MAX {
            let (mut versions, last) = match source::kept(sealed, owner, name).await? {
                Some(answer) => (answer.versions, answer.record.unwrap_or_default()),
                None => (Versions::default(), 0),
            };
            if !work(&mut versions) {
                return Ok(None);
            }
            let record = source::record_name(name);
            if let Some(version) = sealed.write(owner, &record, last, &versions.to_bytes()).await? {
                return Ok(Some(version));
            }
        }
        Err(Error::new(Kind::Conflict, format!("somebody else keeps changing the secret `{name}`")))
    }

    /// What was read before is read again.
    fn forget(&self, name: &str) {
        let mut known = self.known();
        self.changes.fetch_add(1, Ordering::Release);
        known.values.remove(name);
        known.versions.remove(name);
        known.accepted.remove(name);
        known.refused.remove(name);
    }

    fn granted_for(&self, name: &str, purpose: Purpose) -> Result<&Granted> {
        let help = match self.granted.get(name) {
            Some(granted) if granted.purpose == purpose => return Ok(granted),
            Some(granted) => {
                let purpose = format!("{:?}", granted.purpose).to_lowercase();
                format!("It is granted for one other purpose: [secrets.{name}] says purpose = \"{purpose}\"")
            }
            None => format!("It is not granted. To allow it, {}", self.line_for(name)),
        };
        Err(self.unavailable(name).with_details(help))
    }

    /// The line that grants a secret, where it goes: the whole list, for a key stands once.
    fn line_for(&self, name: &str) -> String {
        let line = list_line("secrets", self.granted.keys(), &shown(name));
        format!("set in [connections.{}] of wharfage.toml:   {line}", toml_key(&self.connection))
    }

    /// Waits until nobody else runs the program, or asks the own store, that gives a secret; there is nothing to wait for
    /// where none does.
    async fn turn(&self, name: &str) -> Option<Turn<'_>> {
        // Apart, for it is seldom and large.
        Some(Box::pin(self.turns.get(name)?.lock()).await)
    }

    /// The first source's versions that has the secret.
    async fn read(&self, name: &str, granted: &Granted, turn: &mut Option<Turn<'_>>) -> Result<Versions> {
        self.find(name, granted, turn).await?.ok_or_else(|| self.nowhere(name, granted))
    }

    /// The same; nothing where no source has it, which is no trouble. A program that failed just now is not run again, nor is
    /// an own store asked again that gave nothing.
    async fn find(&self, name: &str, granted: &Granted, turn: &mut Option<Turn<'_>>) -> Result<Option<Versions>> {
        let now = self.context.clock.now();
        for (at, source) in self.sources_of(name, granted).iter().enumerate() {
            let seldom = turn.as_deref_mut().filter(|_| source.is_asked_seldom());
            let mut seldom = seldom.map(|all| all.entry(at).or_default());
            match seldom.as_ref().and_then(|seldom| seldom.failed.as_ref()) {
                Some((until, Some(error))) if *until > now => return Err(error.clone()),
                Some((until, None)) if *until > now => continue,
                _ => {}
            }
            let (answered_at, answer) = match seldom.as_deref_mut() {
                // Apart, for it is seldom and large.
                Some(seldom) => Box::pin(self.ask_apart(seldom, source, name)).await,
                None => (now, source::ask(source, name, &self.context).await),
            };
            let error = match answer {
                Ok(None) => None,
                Ok(Some(Answer { versions, .. })) => {
                    for version in versions.in_order() {
                        self.sized(name, version.value.len())?;
                    }
                    if let Some(seldom) = seldom {
                        seldom.failed = None;
                    }
                    return Ok(Some(versions));
                }
                Err(Trouble::Words(details)) => Some(self.unavailable(name).with_details(details)),
                Err(Trouble::Known(error)) => {
                    let details = format!("{}\n{}", error.message(), error.details().unwrap_or_default());
                    Some(self.unavailable(name).with_details(details.trim_end()))
                }
            };
            if let Some(seldom) = seldom {
                seldom.failed = Some((answered_at.plus(QUIET_MS), error.clone()));
            }
            if let Some(error) = error {
                return Err(error);
            }
        }
        Ok(None)
    }

    /// Asks in a task of its own. Where whoever asks goes away, the question goes on, and the next one has its answer, as far
    /// as that is not an old one by then.
    async fn ask_apart(&self, seldom: &mut Seldom, source: &SecretSource, name: &str) -> Answered {
        let clock = &self.context.clock;
        if let Some(asking) = &mut seldom.asking {
            let left = asking.await;
            seldom.asking = None;
            if let Ok((at, answer)) = left
                && clock.now().since(at) < QUIET_MS
            {
                return (at, answer);
            }
        }
        let (source, name, context) = (source.clone(), name.to_owned(), self.context.clone());
        let asking = async move {
            let answer = source::ask(&source, &name, &context).await;
            (context.clock.now(), answer)
        };
        let asking = seldom.asking.insert(tokio::spawn(carry(asking)));
        let answered = asking.await;
        seldom.asking = None;
        answered.unwrap_or_else(|_| (clock.now(), Err(Trouble::Words("the task that asked it failed".to_owned()))))
    }

    fn nowhere(&self, name: &str, granted: &Granted) -> Error {
        self.unavailable(name).with_details(self.advice(name, granted))
    }

    fn sized(&self, name: &str, length: usize) -> Result<()> {
        if (1..=SECRET_BYTES_MAX).contains(&length) {
            return Ok(());
        }
        Err(self
            .unavailable(name)
            .with_details(format!("Its value is {length} bytes long; it must have 1 to {SECRET_BYTES_MAX}")))
    }

    fn unavailable(&self, name: &str) -> Error {
        Error::new(Kind::CredentialUnavailable, format!("the secret `{name}` of {} cannot be had", self.user))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::account::SecretAsk;

    fn secrets(granted: Option<SecretSource>) -> Secrets {
        let granted = Granted { purpose: Purpose::Credential, source: granted, max_age_days: None };
        Secrets::new("no-such-service", "acme", BTreeMap::from([("api_key".to_owned(), granted)]))
    }

    #[tokio::test]
    async fn not_granted_and_not_there_sound_alike() {
        let secrets = secrets(None);
        let absent = secrets.value("api_key", Purpose::Credential).await.unwrap_err();
        let denied = secrets.value("api_key", Purpose::Sign).await.unwrap_err();
        assert_eq!(absent.message(), denied.message());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "s3cret-value\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error =
            secrets(Some(SecretSource::File(path.clone()))).value("api_key", Purpose::Credential).await.unwrap_err();
        assert!(error.details().unwrap().contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let value = secrets(Some(SecretSource::File(path))).value("api_key", Purpose::Credential).await.unwrap();
        assert_eq!(value.as_str(), "s3cret-value");
    }

    /// A connection's secrets over a sealed store that ends with the test, and the clock to turn.
    struct Setup {
        sealed: Sealed,
        clock: crate::time::ManualClock,
        folder: tempfile::TempDir,
    }

    impl Setup {
        fn new() -> Self {
            let clock = crate::time::ManualClock::new(Timestamp::from_millis(1_000), 1);
            let store = Arc::new(crate::store::MemoryStore::default());
            let sealed = Sealed::new(store, None, Arc::new(clock.clone()));
            Self { sealed, clock, folder: tempfile::tempdir().unwrap() }
        }

        /// As a new process sees them.
        fn secrets(&self, source: Option<SecretSource>, purpose: Purpose, run_programs: bool) -> Secrets {
            let granted = Granted { purpose, source, max_age_days: None };
            let granted = BTreeMap::from([("api_key".to_owned(), granted)]);
            Secrets::new("no-such-service", "acme", granted).with(SecretsContext {
                sealed: Some(self.sealed.clone()),
                owner: "account acme".to_owned(),
                clock: Arc::new(self.clock.clone()),
                run_programs,
                audit_context: AuditContext::closed(),
            })
        }

        fn sealed(&self) -> Secrets {
            self.secrets(Some(SecretSource::Sealed), Purpose::Credential, false)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            path
        }
    }

    async fn value(secrets: &Secrets) -> String {
        secrets.value("api_key", Purpose::Credential).await.unwrap().as_str().to_owned()
    }

    async fn accepted(secrets: &Secrets) -> Vec<String> {
        let values = secrets.versions("api_key", Purpose::Verify).await.unwrap();
        values.iter().map(|value| value.as_str().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_chain_takes_the_first_that_has_it_and_stops_at_one_that_cannot_be_used() {
        let setup = Setup::new();
        let (file, none) = (setup.file("key", "from-file"), setup.folder.path().join("none"));
        let env_file =
            SecretSource::EnvFile { path: setup.file("secrets.env", "A_KEY=from-env-file\n"), name: "A_KEY".into() };
        let absent = || {
            vec![SecretSource::Env("NO_SUCH_VARIABLE".into()), SecretSource::File(none.clone()), SecretSource::Sealed]
        };
        let with = |more: &[SecretSource]| Some(SecretSource::Chain([absent().as_slice(), more].concat()));
        let secrets = |source| setup.secrets(source, Purpose::Credential, false);
        assert_eq!(value(&secrets(with(&[SecretSource::File(file.clone()), env_file.clone()]))).await, "from-file");
        assert_eq!(value(&secrets(with(&[env_file, SecretSource::File(file.clone())]))).await, "from-env-file");
        let error = secrets(with(&[])).value("api_key", Purpose::Credential).await.unwrap_err();
        let details = error.details().unwrap();
        assert!(
            details.contains("NO_SUCH_VARIABLE") && details.contains("wharfage secret set acme api_key"),
            "{details}"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
            let source = with(&[SecretSource::File(file), SecretSource::Value(SecretValue::new("another"))]);
            let error = secrets(source).value("api_key", Purpose::Credential).await.unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "it went on past a file that others can read: {error}");
        }
    }

    #[tokio::test]
    async fn without_a_word_the_sealed_store_is_the_last_of_the_chain() {
        let setup = Setup::new();
        let secrets = setup.secrets(None, Purpose::Credential, false);
        secrets.keep("api_key", &SecretValue::new("kept"), SecretSlot::Current).await.unwrap();
        assert_eq!(value(&secrets).await, "kept");
        assert!(secrets.remove("api_key").await.unwrap());
        assert!(!secrets.remove("api_key").await.unwrap());
        assert!(secrets.value("api_key", Purpose::Credential).await.is_err());
    }

    /// Whoever is told to set it must neither be refused nor find that something else comes before it.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_secret_can_be_set_where_the_sealed_store_is_asked_and_nothing_ends_the_search_before() {
        use std::os::unix::fs::PermissionsExt;
        let setup = Setup::new();
        let file = setup.folder.path().join("key");
        let chain = || Some(SecretSource::Chain(vec![SecretSource::File(file.clone()), SecretSource::Sealed]));
        let state = async |source| setup.secrets(source, Purpose::Credential, false).states().await.remove(0);
        assert!(state(None).await.can_be_set && state(chain()).await.can_be_set);
        let elsewhere = state(Some(SecretSource::File(file.clone()))).await;
        assert!(elsewhere.trouble.is_some() && !elsewhere.can_be_set);
        std::fs::write(&file, "from-file").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let before = state(chain()).await;
        assert!(before.trouble.unwrap().contains("chmod 600") && !before.can_be_set);
    }

    #[tokio::test]
    async fn what_is_not_granted_or_comes_from_elsewhere_is_not_kept() {
        let setup = Setup::new();
        let kept = SecretValue::new("kept");
        let error = setup.sealed().keep("api_kex", &kept, SecretSlot::Current).await.unwrap_err();
        let line = "set in [connections.acme] of wharfage.toml:   secrets = [\"api_key\", \"api_kex\"]";
        assert!(error.to_string().contains("Did you mean api_key?") && error.to_string().contains(line), "{error}");
        let from_env = setup.secrets(Some(SecretSource::Env("X".into())), Purpose::Credential, false);
        let error = from_env.keep("api_key", &kept, SecretSlot::Current).await.unwrap_err();
        assert!(error.to_string().contains("api_key = { sealed = true }"), "{error}");
        let empty = setup.sealed().keep("api_key", &SecretValue::new(""), SecretSlot::Current).await.unwrap_err();
        assert!(empty.to_string().contains("1 to"), "{empty}");
    }

    /// A line that is pasted must work: what is granted stays so, a name is a key of TOML, and none helps where the purpose
    /// is another.
    #[tokio::test]
    async fn a_line_that_grants_a_secret_keeps_the_others_and_is_told_only_where_it_helps() {
        let granted = |name: &str, purpose| (name.to_owned(), Granted { purpose, source: None, max_age_days: None });
        let granted = BTreeMap::from([granted("client_id", Purpose::Credential), granted("hook", Purpose::Verify)]);
        let secrets = Secrets::new("no-such-service", "acme.eu", granted);
        let said = async |name: &str| {
            let error = secrets.value(name, Purpose::Sign).await.unwrap_err();
            error.details().unwrap().to_owned()
        };
        let told = said("client_secret").await;
        let list = "secrets = [\"client_id\", \"hook\", \"client_secret\"]";
        let line = format!("set in [connections.\"acme.eu\"] of wharfage.toml:   {list}");
        assert!(told.ends_with(&line), "{told}");
        let told = said("hook").await;
        assert!(told.contains("[secrets.hook] says purpose = \"verify\"") && !told.contains("secrets = ["), "{told}");
    }

    #[cfg(unix)]
    fn program(script: &str) -> SecretSource {
        let mut source = SecretSource::Program(crate::account::SecretProgram::new(["/bin/sh", "-c", script]));
        source.found_in(std::path::Path::new("wharfage.toml"));
        source
    }

    /// R16: no `wharfage.toml` found by looking around may run a program as a secret source without being asked first.
    #[cfg(unix)]
    #[tokio::test]
    async fn r16_a_program_that_a_file_names_does_not_run_without_leave() {
        let setup = Setup::new();
        let ran = setup.folder.path().join("ran");
        let script = format!(": > {}; echo printed", ran.display());
        let ask = async |source, leave| {
            setup.secrets(Some(source), Purpose::Credential, leave).value("api_key", Purpose::Credential).await
        };
        for source in [program(&script), SecretSource::Chain(vec![program(&script)])] {
            let error = ask(source, false).await.unwrap_err();
            assert!(!ran.exists(), "it ran");
            let details = error.details().unwrap();
            assert!(details.contains("--config wharfage.toml") && details.contains("/bin/sh"), "{details}");
        }
        let read: crate::Account = toml::from_str("[secrets]\napi_key = { program = ['/bin/true'] }").unwrap();
        assert!(
            ask(read.secrets["api_key"].clone(), false).await.is_err(),
            "a text without a file is not trusted either"
        );
        // Nor does looking at what there is run one.
        assert!(setup.secrets(Some(program(&script)), Purpose::Credential, true).states().await[0].trouble.is_none());
        assert!(!ran.exists(), "it ran to be listed");
        assert_eq!(ask(program(&script), true).await.unwrap().as_str(), "printed");
        assert!(ran.exists());
        let chosen = crate::account::SecretProgram::new(["echo", "by the embedder"]);
        assert_eq!(ask(SecretSource::Program(chosen), false).await.unwrap().as_str(), "by the embedder");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_runs_once_for_all_who_ask_and_again_a_while_after_it_failed() {
        let setup = Setup::new();
        let ran = setup.folder.path().join("ran");
        let runs = || std::fs::read_to_string(&ran).unwrap().lines().count();
        let secrets = |then: &str| {
            let script = format!("echo x >> {}; {then}", ran.display());
            setup.secrets(Some(program(&script)), Purpose::Credential, true)
        };
        let working = secrets("echo printed");
        let (one, other) = tokio::join!(value(&working), value(&working));
        assert_eq!((one.as_str(), other.as_str(), runs()), ("printed", "printed", 1));
        let failing = secrets("exit 3");
        for (advance_ms, expected) in [(0, 2), (QUIET_MS - 1, 2), (1, 3), (0, 3)] {
            setup.clock.advance(advance_ms);
            let error = failing.value("api_key", Purpose::Credential).await.unwrap_err();
            assert!(error.details().unwrap().contains("exit status: 3"), "{error}");
            assert_eq!(runs(), expected, "after {advance_ms} ms");
        }
    }

    /// A store of an embedder's own that gives this, by how often it was asked before; and how often it was asked.
    fn store<A>(answer: impl Fn(u64) -> A + Send + Sync + 'static) -> (SecretSource, Arc<AtomicU64>)
    where
        A: Future<Output = Result<Option<SecretValue>>> + Send + 'static,
    {
        let asked = Arc::new(AtomicU64::new(0));
        let count = asked.clone();
        let ask = SecretAsk::new(move || answer(count.fetch_add(1, Ordering::SeqCst)));
        (SecretSource::Ask(ask), asked)
    }

    #[tokio::test]
    async fn an_own_store_is_asked_once_for_all_who_ask_and_again_when_its_key_is_refused() {
        let setup = Setup::new();
        let (source, asked) = store(|before| async move {
            tokio::task::yield_now().await;
            Ok(Some(SecretValue::new(if before < 2 { "old" } else { "new" })))
        });
        let asked = || asked.load(Ordering::SeqCst);
        let secrets = setup.secrets(Some(source), Purpose::Credential, false);
        assert!(secrets.states().await[0].trouble.is_none());
        secrets.know_all().await;
        assert_eq!(asked(), 0, "it was asked before the secret was needed");
        let values = futures_util::future::join_all((0..50).map(|_| value(&secrets))).await;
        assert!(values.iter().all(|value| value == "old"));
        assert_eq!(asked(), 1);
        // It was not changed there yet, and nobody asks for a while.
        for _ in 0..2 {
            assert!(!secrets.try_next("api_key", "old").await);
            assert_eq!((value(&secrets).await.as_str(), asked()), ("old", 2));
        }
        setup.clock.advance(QUIET_MS);
        let (one, other) = tokio::join!(secrets.try_next("api_key", "old"), secrets.try_next("api_key", "old"));
        assert_eq!((one, other, value(&secrets).await.as_str(), asked()), (true, true, "new", 3));
    }

    #[tokio::test]
    async fn an_own_store_that_fails_panics_or_has_nothing_is_told_and_left_alone_for_a_while() {
        let setup = Setup::new();
        let (source, asked) = store(|before| async move {
            match before {
                0 => Err(Error::new(Kind::Transient, "the store is down").with_details("HTTP 503")),
                1 => panic!("s3cret-value"),
                2 => Ok(None),
                3 => Ok(Some(SecretValue::new(""))),
                _ => Ok(Some(SecretValue::new("the-key"))),
            }
        });
        let secrets = setup.secrets(Some(source), Purpose::Credential, false);
        let told = ["the store is down\nHTTP 503", "own store panicked", "put it into the embedding", "gave 0 bytes"];
        for (told, expected) in told.into_iter().zip(1..) {
            for advance_ms in [0, QUIET_MS - 1] {
                setup.clock.advance(advance_ms);
                let error = secrets.value("api_key", Purpose::Credential).await.unwrap_err();
                let details = error.details().unwrap();
                assert!(details.contains(told) && !details.contains("s3cret"), "{details}");
                assert_eq!((error.kind(), asked.load(Ordering::SeqCst)), (&Kind::CredentialUnavailable, expected));
            }
            setup.clock.advance(1);
        }
        assert_eq!(value(&secrets).await, "the-key");

        let at_once = SecretAsk::new(|| -> std::future::Ready<Result<Option<SecretValue>>> { panic!("at once") });
        let secrets = setup.secrets(Some(SecretSource::Ask(at_once)), Purpose::Credential, false);
        let error = secrets.value("api_key", Purpose::Credential).await.unwrap_err();
        assert!(error.details().unwrap().contains("own store panicked"), "{error}");

        let (none, _) = store(|_| async { Ok(None) });
        let chain = SecretSource::Chain(vec![none, SecretSource::Value(SecretValue::new("after-it"))]);
        assert_eq!(value(&setup.secrets(Some(chain), Purpose::Credential, false)).await, "after-it");
    }

    #[tokio::test]
    async fn an_own_store_that_never_answers_is_given_up_and_what_is_known_serves_meanwhile() {
        let setup = Setup::new();
        let (source, asked) = store(|before| async move {
            match before {
                0 => Ok(Some(SecretValue::new("one"))),
                1 => Ok(Some(SecretValue::new("two"))),
                _ => std::future::pending().await,
            }
        });
        let secrets = Arc::new(setup.secrets(Some(source), Purpose::Verify, false));
        for expected in ["one", "two"] {
            assert_eq!(accepted(&secrets).await, [expected]);
            setup.clock.advance(VERSIONS_MS - 1);
            assert_eq!(accepted(&secrets).await, [expected], "it is asked once a minute");
            setup.clock.advance(1);
        }
        let waiting = secrets.clone();
        let asking = tokio::spawn(async move { accepted(&waiting).await });
        while asked.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(accepted(&secrets).await, ["two"], "it waits for another who asks");
        setup.clock.advance(30_000);
        assert_eq!(asking.await.unwrap(), ["two"]);

        let (source, asked) = store(|_| std::future::pending());
        let secrets = setup.secrets(Some(source), Purpose::Credential, false);
        let asking = tokio::spawn(async move { secrets.value("api_key", Purpose::Credential).await });
        while asked.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        setup.clock.advance(29_999);
        tokio::task::yield_now().await;
        assert!(!asking.is_finished());
        setup.clock.advance(1);
        let error = asking.await.unwrap().unwrap_err();
        assert!(error.details().unwrap().contains("did not answer within timeout_ms = 30000"), "{error}");
    }

    /// Polls it once and drops it, as who hangs up does.
    async fn hung_up<T>(asking: impl Future<Output = T>) {
        assert!(asking.now_or_never().is_none(), "it did not wait");
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn whoever_asks_a_hanging_store_and_goes_away_leaves_what_is_known_to_the_next_one() {
        let setup = Setup::new();
        let (source, asked) = store(|before| async move {
            match before {
                0 => Ok(Some(SecretValue::new("one"))),
                _ => std::future::pending().await,
            }
        });
        let secrets = setup.secrets(Some(source), Purpose::Verify, false);
        assert_eq!(accepted(&secrets).await, ["one"]);
        setup.clock.advance(VERSIONS_MS);
        hung_up(accepted(&secrets)).await;
        assert_eq!(accepted(&secrets).now_or_never(), Some(vec!["one".to_owned()]));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_any_more_is_not_asked_again() {
        let setup = Setup::new();
        let (source, asked) = store(|_| std::future::pending());
        let asked = || asked.load(Ordering::SeqCst);
        let secrets = setup.secrets(Some(source), Purpose::Credential, false);
        for _ in 0..2 {
            hung_up(value(&secrets)).await;
            setup.clock.advance(15_000);
            assert_eq!(asked(), 1);
        }
        for advance_ms in [0, QUIET_MS - 1] {
            setup.clock.advance(advance_ms);
            let error = secrets.value("api_key", Purpose::Credential).await.unwrap_err();
            assert!(error.details().unwrap().contains("timeout_ms = 30000"), "{error}");
            assert_eq!(asked(), 1);
        }
        setup.clock.advance(1);
        hung_up(value(&secrets)).await;
        assert_eq!(asked(), 2, "it is left alone for ever");
    }

    #[tokio::test]
    async fn a_chain_goes_on_with_the_store_that_it_was_broken_off_at() {
        let setup = Setup::new();
        let (first, asked) = store(|_| async { Ok(None) });
        let gate = Arc::new(tokio::sync::Notify::new());
        let opened = gate.clone();
        let (second, _) = store(move |_| {
            let gate = opened.clone();
            async move {
                gate.notified().await;
                Ok(Some(SecretValue::new("the-key")))
            }
        });
        let chain = SecretSource::Chain(vec![first, second]);
        let secrets = setup.secrets(Some(chain), Purpose::Credential, false);
        // Once away from the first, once from the second.
        hung_up(value(&secrets)).await;
        hung_up(value(&secrets)).await;
        gate.notify_one();
        assert_eq!(value(&secrets).await, "the-key");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_refused_key_gives_way_to_the_next_one_which_is_current_when_it_worked() {
        let setup = Setup::new();
        let running = setup.sealed();
        running.keep("api_key", &SecretValue::new("old"), SecretSlot::Current).await.unwrap();
        assert_eq!(value(&running).await, "old");
        // Another process stores the next one.
        setup.sealed().keep("api_key", &SecretValue::new("new"), SecretSlot::Next).await.unwrap();
        assert_eq!(value(&running).await, "old", "it is not used before it must be");
        running.worked("api_key", "old").await;
        assert!(running.try_next("api_key", "old").await);
        assert_eq!(value(&running).await, "new");
        assert!(running.try_next("api_key", "old").await, "a call that still had the old one goes on with the new one");
        assert_eq!(value(&setup.sealed()).await, "old", "it has not worked yet");
        running.worked("api_key", "new").await;
        let state = setup.sealed().states().await.remove(0);
        assert_eq!((value(&setup.sealed()).await.as_str(), state.has_next, state.has_previous), ("new", false, true));
        assert!(setup.sealed().remove_previous("api_key").await.unwrap());
        assert!(!setup.sealed().states().await[0].has_previous);
    }

    #[tokio::test]
    async fn when_no_version_helps_the_current_one_stays_and_nobody_looks_for_a_while() {
        let setup = Setup::new();
        let running = setup.sealed();
        running.keep("api_key", &SecretValue::new("old"), SecretSlot::Current).await.unwrap();
        running.keep("api_key", &SecretValue::new("new"), SecretSlot::Next).await.unwrap();
        assert_eq!(value(&running).await, "old");
        assert!(running.try_next("api_key", "old").await);
        assert!(!running.try_next("api_key", "new").await);
        assert_eq!(value(&running).await, "old");
        // What is set meanwhile is seen when the while is over.
        setup.sealed().keep("api_key", &SecretValue::new("newest"), SecretSlot::Current).await.unwrap();
        assert!(!running.try_next("api_key", "old").await);
        setup.clock.advance(QUIET_MS);
        assert!(running.try_next("api_key", "old").await);
        assert_eq!(value(&running).await, "newest");
        assert!(!running.try_next("no_such", "x").await);
    }

    #[tokio::test]
    async fn all_versions_are_accepted_and_a_change_is_seen_within_a_minute() {
        let setup = Setup::new();
        let secrets = setup.secrets(Some(SecretSource::Sealed), Purpose::Verify, false);
        secrets.keep("api_key", &SecretValue::new("one"), SecretSlot::Current).await.unwrap();
        assert_eq!(accepted(&secrets).await, ["one"]);
        let other = setup.secrets(Some(SecretSource::Sealed), Purpose::Verify, false);
        other.keep("api_key", &SecretValue::new("two"), SecretSlot::Current).await.unwrap();
        other.keep("api_key", &SecretValue::new("three"), SecretSlot::Next).await.unwrap();
        setup.clock.advance(VERSIONS_MS - 1);
        assert_eq!(accepted(&secrets).await, ["one"]);
        setup.clock.advance(1);
        assert_eq!(accepted(&secrets).await, ["two", "three", "one"]);
        assert!(secrets.versions("api_key", Purpose::Sign).await.is_err(), "one purpose a secret");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_taken_away_is_accepted_for_a_minute_and_what_cannot_be_read_stays_accepted() {
        use std::os::unix::fs::PermissionsExt;
        let setup = Setup::new();
        let file = setup.file("key", "one");
        let secrets = setup.secrets(Some(SecretSource::File(file.clone())), Purpose::Verify, false);
        assert_eq!(accepted(&secrets).await, ["one"]);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        setup.clock.advance(VERSIONS_MS);
        assert_eq!(accepted(&secrets).await, ["one"], "its source has trouble");
        std::fs::remove_file(&file).unwrap();
        setup.clock.advance(VERSIONS_MS);
        for _ in 0..2 {
            let error = secrets.versions("api_key", Purpose::Verify).await.unwrap_err();
            assert!(error.details().unwrap().contains("write it into"), "{error}");
        }
        let one = async || secrets.value("api_key", Purpose::Verify).await.unwrap().as_str().to_owned();
        for text in ["two", "three"] {
            setup.file("key", text);
            setup.clock.advance(VERSIONS_MS);
            assert_eq!((one().await, accepted(&secrets).await), (text.to_owned(), vec![text.to_owned()]));
        }
    }

    #[tokio::test]
    async fn files_and_lines_have_versions_beside_them() {
        let setup = Setup::new();
        let file = setup.file("key", "current");
        setup.file("key.next", "next");
        setup.file("key.previous", "previous");
        let lines = setup.file("secrets.env", "K=current\nK_NEXT=next\nK_PREVIOUS=previous\n");
        for source in [SecretSource::File(file), SecretSource::EnvFile { path: lines, name: "K".into() }] {
            let secrets = setup.secrets(Some(source.clone()), Purpose::Verify, false);
            assert_eq!(accepted(&secrets).await, ["current", "next", "previous"]);
            let secrets = setup.secrets(Some(source), Purpose::Credential, false);
            assert_eq!(value(&secrets).await, "current");
            assert!(secrets.try_next("api_key", "current").await);
            assert_eq!(value(&secrets).await, "next");
        }
    }

    /// Whatever was read or kept must not come back from a provider, the versions not in use included.
    #[tokio::test]
    async fn every_version_is_masked() {
        let setup = Setup::new();
        let secrets = setup.sealed();
        secrets.keep("api_key", &SecretValue::new("first-secret-value"), SecretSlot::Current).await.unwrap();
        secrets.keep("api_key", &SecretValue::new("second-secret-value"), SecretSlot::Next).await.unwrap();
        let fresh = setup.sealed();
        value(&fresh).await;
        for value in ["first-secret-value", "second-secret-value"] {
            assert!(!fresh.mask().text(value).contains("secret-value"), "{value}");
        }
    }
}
