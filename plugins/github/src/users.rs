//! People and organizations.

use schemars::JsonSchema;
use serde::Deserialize;
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Timestamp};

use crate::read;
use crate::record::{Picked, record};

/// Who.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The name at GitHub, as `torvalds`.
    login: String,
}

record! {
    /// A person or an organization.
    User {
        /// The name at GitHub.
        login: String = "login",
        /// `User`, `Organization` or `Bot`.
        kind: String = "type",
        /// The name as it is shown.
        name: Option<String> = "name",
        /// Where they say they work.
        company: Option<String> = "company",
        /// Where they say they are.
        location: Option<String> = "location",
        /// Their own page.
        blog: Option<String> = "blog",
        /// What they say about themselves.
        bio: Option<String> = "bio",
        /// How many public repositories they own.
        public_repositories: Option<u64> = "public_repos",
        /// How many follow them.
        followers: Option<u64> = "followers",
        /// How many they follow.
        following: Option<u64> = "following",
        /// Since when they are there.
        created_at: Option<Timestamp> = "created_at",
        /// Where a person sees it.
        url: String = "html_url",
    }
}

pub(crate) fn find(input: FindInput) -> Result<Picked<User>, Error> {
    read(["{api}/users/", &segment("/login", &input.login)?].concat())
}
