//! Pull requests: listed, and one with how large it is and whether it can be merged.

use schemars::JsonSchema;
use serde::Deserialize;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::issues::{Sort, State};
use crate::record::{Picked, record};
use crate::{LIMIT_MAX, Numbered, limit, listed, of, read};

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

record! {
    /// A pull request.
    PullRequest {
        /// Its number in the repository.
        number: u64 = "number",
        /// The title.
        title: String = "title",
        /// `open` or `closed`.
        state: String = "state",
        /// Whether it is said to be not ready yet.
        draft: bool = "draft",
        /// Who opened it.
        author: Option<String> = "user/login",
        /// From which branch, with its owner, as `octocat:fix`; none where that repository is gone.
        head: Option<String> = "head/label",
        /// Into which branch, with its owner.
        base: Option<String> = "base/label",
        /// Its labels.
        labels: Vec<String> = "labels/*/name",
        /// Who has to do it.
        assignees: Vec<String> = "assignees/*/login",
        /// Who was asked to review it and has not yet.
        reviewers: Vec<String> = "requested_reviewers/*/login",
        /// The milestone it is for.
        milestone: Option<String> = "milestone/title",
        /// The commit that the merge made.
        merge_commit_sha: Option<String> = "merge_commit_sha",
        /// When it was opened.
        created_at: Option<Timestamp> = "created_at",
        /// The last change.
        updated_at: Option<Timestamp> = "updated_at",
        /// When it was closed, merged or not.
        closed_at: Option<Timestamp> = "closed_at",
        /// When it was merged, if it was.
        merged_at: Option<Timestamp> = "merged_at",
        /// Whether it can be merged; none while GitHub still works that out, so ask again, and none in a list.
        mergeable: Option<bool> = "mergeable",
        /// How many commits; none in a list, as what follows.
        commits: Option<u64> = "commits",
        /// How many files it changes.
        changed_files: Option<u64> = "changed_files",
        /// How many lines it adds.
        additions: Option<u64> = "additions",
        /// How many lines it takes away.
        deletions: Option<u64> = "deletions",
        /// The text, in Markdown.
        body: Option<String> = "body",
        /// Where a person sees it.
        url: String = "html_url",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<PullRequest>>, Error> {
    let first = Request::get(of("{api}", &input.repository, "/pulls")?)
        .query("state", input.state.name())
        .query_some("base", input.base.as_deref())
        .query_some("head", input.head.as_deref())
        .query("sort", input.sort.name())
        // Without it GitHub turns the order around where it sorts by change.
        .query("direction", "desc")
        .query("per_page", input.limit.clamp(1, LIMIT_MAX));
    listed(cursor, first)
}

pub(crate) fn find(input: Numbered) -> Result<Picked<PullRequest>, Error> {
    read(input.url("/pulls/")?)
}
