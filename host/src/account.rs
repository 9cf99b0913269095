//! An account: credentials at a provider and the budgets they draw on.
//!
//! Several plugins may share one (one consent, one set of quotas), and many accounts of one provider stand side by
//! side. It says where each secret comes from; it never holds one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use zeroize::Zeroizing;

/// `[accounts.<name>]` of a `wharfage.toml`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Account {
    /// Where each secret comes from, by the name the manifest gives it. What is not named here comes from the chain:
    /// `{SERVICE}_{SECRET}` in the environment, then `~/.config/<service>/<secret>`.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Budgets that differ from the manifest's, by its names.
    #[serde(default)]
    pub budgets: BTreeMap<String, BudgetOverride>,
    /// The person whose quotas it draws on, where several accounts are the same one's.
    pub user: Option<String>,
    /// The project whose quotas it draws on, where several accounts belong to one.
    pub project: Option<String>,
    /// The address that a sign-in leads back to, as it is registered at the provider: on loopback the host listens there,
    /// and any other is pasted back. Without it, a free port of 127.0.0.1 and the path `/callback`.
    pub redirect: Option<String>,
    /// The scopes that a sign-in asks for, instead of those that the plugins' manifests name.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// This environment variable.
    Env(String),
    /// This file's text, trimmed. It must be its owner's alone (0600).
    File(PathBuf),
    /// A value that the embedding program holds. No file can say this.
    #[serde(skip)]
    Value(SecretValue),
}

/// A secret's value, which shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub(crate) Zeroizing<String>);

impl SecretValue {
    /// Takes the value over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Account {
    /// The account with one more secret.
    pub fn with_secret(mut self, name: &str, source: SecretSource) -> Self {
        self.secrets.insert(name.to_owned(), source);
        self
    }
}

/// What an operator sets of a budget.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct BudgetOverride {
    /// Units per window.
    pub limit: Option<u32>,
    /// The window, in seconds.
    pub window_s: Option<u64>,
    /// Requests at once.
    pub concurrency: Option<u32>,
}
