//! Commits of a branch, of a path or of an author. A repository without any answers 409; here that is an empty list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Timestamp};

use crate::{LIMIT_MAX, limit, of, page, parts};

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

/// A commit.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Commit {
    /// Its hash.
    sha: String,
    /// The first line of its message.
    title: String,
    /// The whole message.
    message: String,
    /// Who wrote it: the GitHub name where GitHub knows it, else the name in the commit.
    author: Option<String>,
    /// When it was committed, by the clock of whoever did.
    date: Option<Timestamp>,
    /// Whether its signature is good; none where GitHub does not say.
    is_verified: Option<bool>,
    /// The hashes it stands on; two for a merge.
    parents: Vec<String>,
    /// Where a person sees it.
    url: String,
}

#[derive(Deserialize)]
struct Record {
    sha: String,
    commit: Said,
    #[serde(default, deserialize_with = "parts::login")]
    author: Option<String>,
    #[serde(default)]
    parents: Vec<Parent>,
    html_url: String,
}

#[derive(Deserialize)]
struct Said {
    message: String,
    #[serde(default)]
    author: Option<By>,
    #[serde(default)]
    committer: Option<By>,
    #[serde(default)]
    verification: Option<Verification>,
}

#[derive(Deserialize)]
struct By {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Verification {
    verified: bool,
}

#[derive(Deserialize)]
struct Parent {
    sha: String,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Commit>, Error> {
    let url = of("{api}", &input.repository, "/commits")?;
    let first = || {
        Request::get(url)
            .query_some("sha", input.from.as_deref())
            .query_some("path", input.path.as_deref())
            .query_some("author", input.author.as_deref())
            .query_some("since", input.since)
            .query_some("until", input.until)
            .query("per_page", input.limit.clamp(1, LIMIT_MAX))
    };
    let (response, next) = match page(cursor, first) {
        // "Git Repository is empty."
        Err(error) if error.kind == ErrorKind::Conflict && error.status == Some(409) => {
            return Ok(Page::whole(Vec::new()));
        }
        answered => answered?,
    };
    let records: Vec<Record> = response.json()?;
    Page::new(records.into_iter().map(commit).collect(), next.as_ref())
}

fn commit(record: Record) -> Commit {
    let Said { message, author, committer, verification } = record.commit;
    Commit {
        sha: record.sha,
        title: message.lines().next().unwrap_or_default().to_owned(),
        message,
        author: record.author.or(author.and_then(|by| by.name)),
        date: committer.and_then(|by| by.date),
        is_verified: verification.map(|verification| verification.verified),
        parents: record.parents.into_iter().map(|parent| parent.sha).collect(),
        url: record.html_url,
    }
}
