//! People and organizations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Timestamp};

use crate::read;

/// Who.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The name at GitHub, as `torvalds`.
    login: String,
}

/// A person or an organization.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct User {
    /// The name at GitHub.
    login: String,
    /// `User`, `Organization` or `Bot`.
    #[serde(rename(deserialize = "type"))]
    kind: String,
    /// The name as it is shown.
    #[serde(default)]
    name: Option<String>,
    /// Where they say they work.
    #[serde(default)]
    company: Option<String>,
    /// Where they say they are.
    #[serde(default)]
    location: Option<String>,
    /// Their own page.
    #[serde(default)]
    blog: Option<String>,
    /// What they say about themselves.
    #[serde(default)]
    bio: Option<String>,
    /// How many public repositories they own.
    #[serde(default, rename(deserialize = "public_repos"))]
    public_repositories: u64,
    /// How many follow them.
    #[serde(default)]
    followers: u64,
    /// How many they follow.
    #[serde(default)]
    following: u64,
    /// Since when they are there.
    #[serde(default)]
    created_at: Option<Timestamp>,
    /// Where a person sees it.
    #[serde(rename(deserialize = "html_url"))]
    url: String,
}

pub(crate) fn find(input: FindInput) -> Result<User, Error> {
    read(["{api}/users/", &segment("/login", &input.login)?].concat())?.json()
}
