//! Commits of a branch, of a path or of an author. A repository without any answers 409; here that is an empty list.

use schemars::JsonSchema;
use serde::Deserialize;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Timestamp};

use crate::record::{Picked, record};
use crate::{LIMIT_MAX, limit, listed, of};

/// Which commits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// The branch, tag or commit to begin at; the default branch where it is left out.
    #[serde(default)]
    from: Option<String>,
    /// Only those that changed this file or folder.
    #[serde(default)]
    path: Option<String>,
    /// Only those of this person: a GitHub name or an e-mail address.
    #[serde(default)]
    author: Option<String>,
    /// Only those made at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only those made at or before this time.
    #[serde(default)]
    until: Option<Timestamp>,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

record! {
    /// A commit.
    Commit {
        /// Its hash.
        sha: String = "sha",
        /// The first line of its message.
        title: String = "commit/message#",
        /// The whole message.
        message: String = "commit/message",
        /// Who wrote it: the GitHub name where GitHub knows it, else the name in the commit.
        author: Option<String> = "author/login|commit/author/name",
        /// When it was committed, by the clock of whoever did.
        date: Option<Timestamp> = "commit/committer/date",
        /// Whether its signature is good; none where GitHub does not say.
        is_verified: Option<bool> = "commit/verification/verified",
        /// The hashes it stands on; two for a merge.
        parents: Vec<String> = "parents/*/sha",
        /// Where a person sees it.
        url: String = "html_url",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Commit>>, Error> {
    let first = Request::get(of("{api}", &input.repository, "/commits")?)
        .query_some("sha", input.from.as_deref())
        .query_some("path", input.path.as_deref())
        .query_some("author", input.author.as_deref())
        .query_some("since", input.since)
        .query_some("until", input.until)
        .query("per_page", input.limit.clamp(1, LIMIT_MAX));
    match listed(cursor, first) {
        // "Git Repository is empty."
        Err(error) if error.kind == ErrorKind::Conflict && error.status == Some(409) => Ok(Page::whole(Vec::new())),
        answered => answered,
    }
}
