//! Pull requests: listed, and one with how large it is and whether it can be merged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::issues::{Sort, State};
use crate::{LIMIT_MAX, limit, listed, of, parts, read};

/// Which pull requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// In which state; those that were merged are closed.
    #[serde(default)]
    state: State,
    /// Only those into this branch.
    #[serde(default)]
    base: Option<String>,
    /// Only those from this branch, with its owner, as `octocat:fix`.
    #[serde(default)]
    head: Option<String>,
    /// Which comes first.
    #[serde(default)]
    sort: Sort,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

/// Which pull request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// Its number in that repository.
    number: u64,
}

/// A pull request.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct PullRequest {
    /// Its number in the repository.
    number: u64,
    /// The title.
    title: String,
    /// `open` or `closed`.
    state: String,
    /// Whether it is said to be not ready yet.
    #[serde(default)]
    draft: bool,
    /// Who opened it.
    #[serde(default, rename(deserialize = "user"), deserialize_with = "parts::login")]
    author: Option<String>,
    /// From which branch, with its owner, as `octocat:fix`; none where that repository is gone.
    #[serde(default, deserialize_with = "parts::branch")]
    head: Option<String>,
    /// Into which branch, with its owner.
    #[serde(default, deserialize_with = "parts::branch")]
    base: Option<String>,
    /// Its labels.
    #[serde(default, deserialize_with = "parts::labels")]
    labels: Vec<String>,
    /// Who has to do it.
    #[serde(default, deserialize_with = "parts::logins")]
    assignees: Vec<String>,
    /// Who was asked to review it and has not yet.
    #[serde(default, rename(deserialize = "requested_reviewers"), deserialize_with = "parts::logins")]
    reviewers: Vec<String>,
    /// The milestone it is for.
    #[serde(default, deserialize_with = "parts::title")]
    milestone: Option<String>,
    /// The commit that the merge made.
    #[serde(default)]
    merge_commit_sha: Option<String>,
    /// When it was opened.
    #[serde(default)]
    created_at: Option<Timestamp>,
    /// The last change.
    #[serde(default)]
    updated_at: Option<Timestamp>,
    /// When it was closed, merged or not.
    #[serde(default)]
    closed_at: Option<Timestamp>,
    /// When it was merged, if it was.
    #[serde(default)]
    merged_at: Option<Timestamp>,
    /// Whether it can be merged; none while GitHub still works that out, so ask again, and none in a list.
    #[serde(default)]
    mergeable: Option<bool>,
    /// How many commits; none in a list, as what follows.
    #[serde(default)]
    commits: Option<u64>,
    /// How many files it changes.
    #[serde(default)]
    changed_files: Option<u64>,
    /// How many lines it adds.
    #[serde(default)]
    additions: Option<u64>,
    /// How many lines it takes away.
    #[serde(default)]
    deletions: Option<u64>,
    /// The text, in Markdown.
    #[serde(default)]
    body: Option<String>,
    /// Where a person sees it.
    #[serde(rename(deserialize = "html_url"))]
    url: String,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<PullRequest>, Error> {
    let url = of("{api}", &input.repository, "/pulls")?;
    let first = || {
        Request::get(url)
            .query("state", input.state.name())
            .query_some("base", input.base.as_deref())
            .query_some("head", input.head.as_deref())
            .query("sort", input.sort.name())
            // Without it GitHub turns the order around where it sorts by change.
            .query("direction", "desc")
            .query("per_page", input.limit.clamp(1, LIMIT_MAX))
    };
    listed(cursor, first)
}

pub(crate) fn find(input: FindInput) -> Result<PullRequest, Error> {
    read(of("{api}", &input.repository, &["/pulls/", &input.number.to_string()].concat())?)?.json()
}
