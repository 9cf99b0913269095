//! The chain: which sources of a secret are asked in turn, and how a source and what would help are told in words.

use std::path::{Path, PathBuf};

use super::env;
use super::secrets::{Granted, Secrets};
use crate::account::SecretSource;

impl Secrets {
    /// The sources that are asked in turn. Where none is stated: `{SERVICE}_{SECRET}` in the environment, then
    /// `~/.config/<service>/<secret>`, then the sealed store.
    pub(super) fn sources_of(&self, name: &str, granted: &Granted) -> Vec<SecretSource> {
        match &granted.source {
            Some(source) => source.each().into_iter().cloned().collect(),
            None => {
                let variable = SecretSource::Env(self.chain_variable(name));
                let file = self.chain_file(name).map(SecretSource::File);
                [Some(variable), file, Some(SecretSource::Sealed)].into_iter().flatten().collect()
            }
        }
    }

    /// How a secret that is nowhere comes to be somewhere.
    pub(super) fn advice(&self, name: &str, granted: &Granted) -> String {
        let ways: Vec<String> = self
            .sources_of(name, granted)
            .iter()
            .filter_map(|source| {
                Some(match source {
                    SecretSource::Env(variable) => format!("set the environment variable {variable}"),
                    SecretSource::EnvFile { path, name } => {
                        format!("write the line {name}=… into {} (chmod 600)", shown_home(path))
                    }
                    SecretSource::File(path) => format!("write it into {} (chmod 600)", shown_home(path)),
                    SecretSource::Sealed => format!("wharfage secret set {} {name}", self.connection),
                    SecretSource::Ask(_) => "put it into the embedding program's own store".to_owned(),
                    _ => return None,
                })
            })
            .collect();
        format!("To have it: {}", ways.join(", or "))
    }

    fn chain_variable(&self, name: &str) -> String {
        format!("{}_{}", shell_name(&self.service), shell_name(name))
    }

    /// The file of a secret in the service's folder; none for a name that would lead out of it, and none where nobody has
    /// said where the user's own files are.
    fn chain_file(&self, name: &str) -> Option<PathBuf> {
        if name.contains(['/', '\\', ':', '\0']) || matches!(name, "" | "." | "..") {
            return None;
        }
        let home = PathBuf::from(env::variable("HOME")?);
        Some(home.join(".config").join(&self.service).join(name))
    }
}

/// A source, in words.
pub(super) fn words(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(variable) => format!("environment variable {variable}"),
        SecretSource::EnvFile { path, name } => format!("{name} in {}", shown_home(path)),
        SecretSource::File(path) => format!("file {}", shown_home(path)),
        SecretSource::Sealed => "the sealed store".to_owned(),
        SecretSource::Program(program) => format!("what `{}` prints", program.shown()),
        SecretSource::Value(_) => "the embedding program".to_owned(),
        SecretSource::Ask(_) => "the embedding program's own store".to_owned(),
        SecretSource::Chain(sources) => sources.iter().map(words).collect::<Vec<_>>().join(", then "),
    }
}

/// A name as a shell can set it: `acme-orders` becomes `ACME_ORDERS`.
fn shell_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn shown_home(path: &Path) -> String {
    let home = env::read("HOME").map(|home| PathBuf::from(home.as_str()));
    match home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::Purpose;

    fn secrets() -> Secrets {
        let granted = Granted { purpose: Purpose::Credential, source: None, max_age_days: None };
        Secrets::new("no-such-service", "acme", BTreeMap::from([("api_key".to_owned(), granted)]))
    }

    #[test]
    fn guide_s35_the_variable_can_be_set_in_a_shell() {
        assert_eq!(shell_name("acme-orders"), "ACME_ORDERS");
    }

    #[tokio::test]
    async fn the_chain_names_both_places_when_it_finds_nothing() {
        let error = secrets().value("api_key", Purpose::Credential).await.unwrap_err();
        let details = error.details().unwrap();
        assert!(
            details.contains("NO_SUCH_SERVICE_API_KEY")
                && details.contains(".config/no-such-service/api_key")
                && details.contains("wharfage secret set acme api_key"),
            "{details}"
        );
    }

    #[test]
    fn no_name_leads_out_of_the_folder_of_the_service() {
        let secrets = secrets();
        assert!(secrets.chain_file("api_key").unwrap().ends_with(".config/no-such-service/api_key"));
        for name in ["/home/alice/.ssh/id_ed25519", "../other/api_key", "..", ".", "", "a\\b", "C:key"] {
            assert_eq!(secrets.chain_file(name), None, "{name}");
        }
    }
}
