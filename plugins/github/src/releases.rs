//! Releases: the latest, one by its tag, and all of them.

use schemars::JsonSchema;
use serde::Deserialize;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Picked, record};
use crate::{InRepository, LIMIT_MAX, limit, listed, of, path, read};

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

record! {
    /// A release.
    Release {
        /// GitHub's id of it.
        id: u64 = "id",
        /// The tag it stands at.
        tag: String = "tag_name",
        /// Its name.
        name: Option<String> = "name",
        /// What is told of it, in Markdown.
        body: Option<String> = "body",
        /// Whether it is not published yet; only who may write sees those.
        draft: bool = "draft",
        /// Whether it is said to be no full release.
        prerelease: bool = "prerelease",
        /// Who made it.
        author: Option<String> = "author/login",
        /// When the commit was made that it stands at; lists are sorted by this.
        created_at: Option<Timestamp> = "created_at",
        /// When it was published.
        published_at: Option<Timestamp> = "published_at",
        /// Where a person sees it.
        url: String = "html_url",
        /// The files that come with it.
        assets: Vec<Asset> = "assets",
    }
}

record! {
    /// A file that comes with a release.
    Asset {
        /// Its name.
        name: String = "name",
        /// How large it is.
        size_bytes: u64 = "size",
        /// What it is, as its uploader says.
        content_type: Option<String> = "content_type",
        /// How often it was downloaded.
        downloads: u64 = "download_count",
        /// Its hash, as `sha256:…`, where GitHub has made one.
        digest: Option<String> = "digest",
        /// Where it is.
        url: String = "browser_download_url",
    }
}

pub(crate) fn latest(input: InRepository) -> Result<Picked<Release>, Error> {
    read(of("{api}", &input.repository, "/releases/latest")?)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Release>, Error> {
    let tag = path("/tag", &input.tag)?;
    read(of("{api}", &input.repository, &["/releases/tags", &tag].concat())?)
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Release>>, Error> {
    let url = of("{api}", &input.repository, "/releases")?;
    listed(cursor, Request::get(url).query("per_page", input.limit.clamp(1, LIMIT_MAX)))
}
