//! Where secrets live: one file per vault, asked in the order of a chain.
//!
//! A value leaves this folder only as [`Zeroizing`] text towards `outbound/sign.rs` and the keyed hashes, and every
//! value that leaves is first told to the [`Mask`], which keeps it out of whatever goes back. Nothing here has a
//! `Debug` that shows one.

mod env;
mod file;
mod sealed;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::account::SecretSource;
use crate::error::{Error, Kind, Result};
use crate::manifest::Purpose;
use crate::outbound::mask::{Mask, SEARCHED_BYTES_MIN};

/// Most bytes of a secret.
pub(crate) const SECRET_BYTES_MAX: usize = 64 << 10;

/// How many obtained values of one kind the mask remembers.
const LEARNED_MAX: usize = 8;

pub(crate) use env::variable;
pub(crate) use sealed::Sealed;

/// The secrets that one connection may have used for it.
pub struct Secrets {
    service: String,
    connection: String,
    granted: BTreeMap<String, Granted>,
    known: Mutex<Known>,
    is_all_known: tokio::sync::OnceCell<()>,
}

/// A secret that is granted: what for, and where it comes from.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Its one purpose.
    pub purpose: Purpose,
    /// Where it comes from; the chain when absent.
    pub source: Option<SecretSource>,
}

#[derive(Default)]
struct Known {
    values: BTreeMap<String, Zeroizing<String>>,
    /// What was made or obtained, by label; the newest last.
    learned: BTreeMap<String, VecDeque<Zeroizing<String>>>,
    mask: Arc<Mask>,
}

impl Known {
    fn renew_mask(&mut self) {
        self.mask = Arc::new(Mask::new(self.values.values().chain(self.learned.values().flatten()).cloned().collect()));
    }
}

impl Secrets {
    /// The secrets of a connection to `service`.
    pub fn new(service: &str, connection: &str, granted: BTreeMap<String, Granted>) -> Self {
        Self {
            service: service.to_owned(),
            connection: connection.to_owned(),
            granted,
            known: Mutex::default(),
            is_all_known: tokio::sync::OnceCell::new(),
        }
    }

    /// The value of a granted secret.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`], worded alike whether the secret is not granted or does not exist; the details
    /// for the operator say which, and where it was looked for.
    pub(crate) async fn value(&self, name: &str, purpose: Purpose) -> Result<Zeroizing<String>> {
        let granted = self.granted.get(name).filter(|granted| granted.purpose == purpose);
        let Some(granted) = granted else {
            return Err(self.unavailable(name).with_details(format!(
                "It is not granted for this purpose. To allow it, add to [connections.{}] in wharfage.toml:   secrets = [\"{name}\"]",
                self.connection
            )));
        };
        if let Some(value) = self.known().values.get(name) {
            return Ok(value.clone());
        }
        let value = self.read(name, granted)?;
        if value.is_empty() || value.len() > SECRET_BYTES_MAX {
            return Err(self.unavailable(name).with_details(format!(
                "Its value is {} bytes long; it must have 1 to {SECRET_BYTES_MAX}",
                value.len()
            )));
        }
        let mut known = self.known();
        known.values.insert(name.to_owned(), value.clone());
        known.renew_mask();
        Ok(value)
    }

    /// A value that was made or obtained for the connection, as an access token: it must not come back either. Of one
    /// label the last [`LEARNED_MAX`] are remembered.
    pub(crate) fn learn(&self, label: &str, value: &Zeroizing<String>) {
        let mut known = self.known();
        let learned = known.learned.entry(label.to_owned()).or_default();
        if value.is_empty() || learned.contains(value) {
            return;
        }
        if learned.len() == LEARNED_MAX {
            learned.pop_front();
        }
        learned.push_back(value.clone());
        known.renew_mask();
    }

    /// Tells the mask every granted value that can be had, once: a provider may know also those that nobody here has asked
    /// for yet, as the key of its webhooks, and send them back.
    pub(crate) async fn know_all(&self) {
        let learn = async || {
            for (name, granted) in &self.granted {
                if let Ok(value) = self.read(name, granted) {
                    self.learn(name, &value);
                }
            }
        };
        self.is_all_known.get_or_init(learn).await;
    }

    /// Whether a secret of this name is granted, for whatever purpose.
    pub(crate) fn is_granted(&self, name: &str) -> bool {
        self.granted.contains_key(name)
    }

    /// The value of a secret that was asked for before.
    pub(crate) fn known_value(&self, name: &str) -> Option<Zeroizing<String>> {
        self.known().values.get(name).cloned()
    }

    /// Whether a secret of this name and purpose can be had.
    pub(crate) async fn is_available(&self, name: &str, purpose: Purpose) -> bool {
        self.value(name, purpose).await.is_ok()
    }

    /// What must not come back, as far as values are known.
    pub(crate) fn mask(&self) -> Arc<Mask> {
        self.known().mask.clone()
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
        self.granted
            .iter()
            .map(|(name, granted)| {
                let source = match &granted.source {
                    Some(SecretSource::Env(variable)) => format!("environment variable {variable}"),
                    Some(SecretSource::File(path)) => format!("file {}", path.display()),
                    Some(SecretSource::Value(_)) => "the embedding program".to_owned(),
                    None => format!("{}, then {}", self.chain_variable(name), shown_home(&self.chain_file(name))),
                };
                (name.clone(), source)
            })
            .collect()
    }

    fn read(&self, name: &str, granted: &Granted) -> Result<Zeroizing<String>> {
        match &granted.source {
            Some(SecretSource::Env(variable)) => env::read(variable).ok_or_else(|| {
                self.unavailable(name).with_details(format!("The environment variable {variable} is not set"))
            }),
            Some(SecretSource::File(path)) => file::read(path)
                .and_then(|found| found.ok_or_else(|| format!("There is no file {}", path.display())))
                .map_err(|details| self.unavailable(name).with_details(details)),
            Some(SecretSource::Value(value)) => Ok(value.0.clone()),
            None => self.read_chain(name),
        }
    }

    /// The guide's chain: `{SERVICE}_{SECRET}` in the environment, then `~/.config/<service>/<secret>`.
    fn read_chain(&self, name: &str) -> Result<Zeroizing<String>> {
        let variable = self.chain_variable(name);
        if let Some(value) = env::read(&variable) {
            return Ok(value);
        }
        let path = self.chain_file(name);
        match file::read(&path) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.unavailable(name).with_details(format!(
                "Set the environment variable {variable}, or write it into {} (chmod 600)",
                shown_home(&path)
            ))),
            Err(details) => Err(self.unavailable(name).with_details(details)),
        }
    }

    fn chain_variable(&self, name: &str) -> String {
        format!("{}_{}", shell_name(&self.service), shell_name(name))
    }

    fn chain_file(&self, name: &str) -> PathBuf {
        let home = env::read("HOME").map_or_else(PathBuf::new, |home| PathBuf::from(home.as_str()));
        home.join(".config").join(&self.service).join(name)
    }

    fn unavailable(&self, name: &str) -> Error {
        Error::new(
            Kind::CredentialUnavailable,
            format!("the secret `{name}` of connection `{}` cannot be had", self.connection),
        )
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name as a shell can set it: `google-calendar` becomes `GOOGLE_CALENDAR`.
fn shell_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn shown_home(path: &std::path::Path) -> String {
    let home = env::read("HOME").map(|home| PathBuf::from(home.as_str()));
    match home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(granted: Option<SecretSource>) -> Secrets {
        let granted = Granted { purpose: Purpose::Credential, source: granted };
        Secrets::new("no-such-service", "acme", BTreeMap::from([("api_key".to_owned(), granted)]))
    }

    #[test]
    fn guide_s35_the_variable_can_be_set_in_a_shell() {
        assert_eq!(shell_name("google-calendar"), "GOOGLE_CALENDAR");
    }

    #[tokio::test]
    async fn the_chain_names_both_places_when_it_finds_nothing() {
        let error = secrets(None).value("api_key", Purpose::Credential).await.unwrap_err();
        let details = error.details().unwrap();
        assert!(
            details.contains("NO_SUCH_SERVICE_API_KEY") && details.contains(".config/no-such-service/api_key"),
            "{details}"
        );
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
}
