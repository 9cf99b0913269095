//! Releases: the latest, one by its tag, and all of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::{LIMIT_MAX, limit, listed, of, parts, path, read};

/// Of which repository.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatestInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
}

/// Which release.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// The tag, as `v1.2.3`.
    tag: String,
}

/// Which releases.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

/// A release.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Release {
    /// GitHub's id of it.
    pub(crate) id: u64,
    /// The tag it stands at.
    #[serde(rename(deserialize = "tag_name"))]
    pub(crate) tag: String,
    /// Its name.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// What is told of it, in Markdown.
    #[serde(default)]
    body: Option<String>,
    /// Whether it is not published yet; only who may write sees those.
    #[serde(default)]
    pub(crate) draft: bool,
    /// Whether it is said to be no full release.
    #[serde(default)]
    pub(crate) prerelease: bool,
    /// Who made it.
    #[serde(default, deserialize_with = "parts::login")]
    author: Option<String>,
    /// When the commit was made that it stands at; lists are sorted by this.
    #[serde(default)]
    created_at: Option<Timestamp>,
    /// When it was published.
    #[serde(default)]
    pub(crate) published_at: Option<Timestamp>,
    /// Where a person sees it.
    #[serde(rename(deserialize = "html_url"))]
    pub(crate) url: String,
    /// The files that come with it.
    #[serde(default)]
    assets: Vec<Asset>,
}

/// A file that comes with a release.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Asset {
    /// Its name.
    name: String,
    /// How large it is.
    #[serde(default, rename(deserialize = "size"))]
    size_bytes: u64,
    /// What it is, as its uploader says.
    #[serde(default)]
    content_type: Option<String>,
    /// How often it was downloaded.
    #[serde(default, rename(deserialize = "download_count"))]
    downloads: u64,
    /// Its hash, as `sha256:…`, where GitHub has made one.
    #[serde(default)]
    digest: Option<String>,
    /// Where it is.
    #[serde(rename(deserialize = "browser_download_url"))]
    url: String,
}

pub(crate) fn latest(input: LatestInput) -> Result<Release, Error> {
    read(of("{api}", &input.repository, "/releases/latest")?)?.json()
}

pub(crate) fn find(input: FindInput) -> Result<Release, Error> {
    let tag = path("/tag", &input.tag)?;
    read(of("{api}", &input.repository, &["/releases/tags", &tag].concat())?)?.json()
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Release>, Error> {
    let url = of("{api}", &input.repository, "/releases")?;
    listed(cursor, || Request::get(url).query("per_page", input.limit.clamp(1, LIMIT_MAX)))
}
