//! Issues: read, opened, commented on. To GitHub a pull request is an issue too; here it is one only if asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Picked, at, pick_all, record};
use crate::{JSON, LIMIT_MAX, Numbered, asked, limit, of, page, read, told};

/// Which issues.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// In which state.
    #[serde(default)]
    state: State,
    /// Only those with all of these labels.
    #[serde(default)]
    labels: Vec<String>,
    /// Only those that this person has to do.
    #[serde(default)]
    assignee: Option<String>,
    /// Only those that changed at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Which comes first.
    #[serde(default)]
    sort: Sort,
    /// Also pull requests.
    #[serde(default)]
    pull_requests: bool,
    /// How many GitHub is asked for to a page; where pull requests are left out, fewer come.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

/// What to open.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// Owner and name, as `octocat/hello-world`.
    repository: String,
    /// The title.
    title: String,
    /// The text, in Markdown.
    #[serde(default)]
    body: Option<String>,
    /// Labels, which must exist. GitHub passes over them silently where the token may not write.
    #[serde(default)]
    labels: Vec<String>,
    /// Who has to do it. GitHub passes over them silently where the token may not write.
    #[serde(default)]
    assignees: Vec<String>,
}

/// What to say, and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommentInput {
    /// Owner and name, as `octocat/hello-world`.
    repository: String,
    /// The number of the issue or pull request.
    number: u64,
    /// The text, in Markdown.
    body: String,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Those that are open.
    #[default]
    Open,
    /// Those that are done.
    Closed,
    /// Both.
    All,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::All => "all",
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    /// The newest first.
    #[default]
    Created,
    /// The last change first.
    Updated,
}

impl Sort {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
        }
    }
}

record! {
    /// An issue, or a pull request as an issue.
    Issue {
        /// Its number in the repository.
        number: u64 = "number",
        /// The title.
        title: String = "title",
        /// `open` or `closed`.
        state: String = "state",
        /// Why it is closed, as `completed` or `not_planned`.
        state_reason: Option<String> = "state_reason",
        /// Who opened it.
        author: Option<String> = "user/login",
        /// Its labels.
        labels: Vec<String> = "labels/*/name",
        /// Who has to do it.
        assignees: Vec<String> = "assignees/*/login",
        /// The milestone it is for.
        milestone: Option<String> = "milestone/title",
        /// How many comments it has.
        comments: Option<u64> = "comments",
        /// Whether it is a pull request: `pull-requests.get` tells the rest.
        is_pull_request: bool = "pull_request?",
        /// When it was opened.
        created_at: Option<Timestamp> = "created_at",
        /// The last change.
        updated_at: Option<Timestamp> = "updated_at",
        /// When it was closed.
        closed_at: Option<Timestamp> = "closed_at",
        /// The text, in Markdown.
        body: Option<String> = "body",
        /// Where a person sees it.
        url: String = "html_url",
    }
}

record! {
    /// A comment.
    Comment {
        /// GitHub's id of it.
        id: u64 = "id",
        /// Who wrote it.
        author: Option<String> = "user/login",
        /// The text, in Markdown.
        body: Option<String> = "body",
        /// When it was written.
        created_at: Option<Timestamp> = "created_at",
        /// Where a person sees it.
        url: String = "html_url",
    }
}

/// What is sent to open an issue or to comment on one.
#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    labels: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    assignees: &'a [String],
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Issue>>, Error> {
    if let Some(index) = input.labels.iter().position(|label| label.contains(',')) {
        let place = ["/labels/", &index.to_string()].concat();
        return Err(Error::invalid_request(place, "GitHub takes no label with a comma here"));
    }
    let first = Request::get(of("{api}", &input.repository, "/issues")?)
        .query("state", input.state.name())
        .query_some("labels", Some(input.labels.join(",")).filter(|labels| !labels.is_empty()))
        .query_some("assignee", input.assignee.as_deref())
        .query_some("since", input.since)
        .query("sort", input.sort.name())
        .query("per_page", input.limit.clamp(1, LIMIT_MAX));
    let (response, next) = page(cursor, first)?;
    let mut found: Value = response.json()?;
    if let (false, Value::Array(items)) = (input.pull_requests, &mut found) {
        items.retain(|item| at(item, "pull_request").is_null());
    }
    Page::new(pick_all(&response, &found)?, next.as_ref())
}

pub(crate) fn find(input: Numbered) -> Result<Picked<Issue>, Error> {
    read(input.url("/issues/")?)
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<Issue>, Error> {
    if input.title.trim().is_empty() {
        return Err(Error::invalid_request("/title", "expected a title"));
    }
    let url = of("{write}", &input.repository, "/issues")?;
    let text = Text {
        title: Some(&input.title),
        body: input.body.as_deref(),
        labels: &input.labels,
        assignees: &input.assignees,
    };
    told(asked(Request::post(url), JSON).json(&text)?)
}

pub(crate) fn comment(input: CommentInput) -> Result<Picked<Comment>, Error> {
    if input.body.trim().is_empty() {
        return Err(Error::invalid_request("/body", "expected a text"));
    }
    let place = ["/issues/", &input.number.to_string(), "/comments"].concat();
    let url = of("{write}", &input.repository, &place)?;
    let text = Text { title: None, body: Some(&input.body), labels: &[], assignees: &[] };
    told(asked(Request::post(url), JSON).json(&text)?)
}
