//! Issues: read, opened, commented on. To GitHub a pull request is an issue too; here it is one only if asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::{JSON, LIMIT_MAX, asked, limit, listed, of, parts, read};

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

/// Which issue.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
    /// Its number in that repository.
    number: u64,
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

/// An issue, or a pull request as an issue.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Issue {
    /// Its number in the repository.
    number: u64,
    /// The title.
    title: String,
    /// `open` or `closed`.
    state: String,
    /// Why it is closed, as `completed` or `not_planned`.
    #[serde(default)]
    state_reason: Option<String>,
    /// Who opened it.
    #[serde(default, rename(deserialize = "user"), deserialize_with = "parts::login")]
    author: Option<String>,
    /// Its labels.
    #[serde(default, deserialize_with = "parts::labels")]
    labels: Vec<String>,
    /// Who has to do it.
    #[serde(default, deserialize_with = "parts::logins")]
    assignees: Vec<String>,
    /// The milestone it is for.
    #[serde(default, deserialize_with = "parts::title")]
    milestone: Option<String>,
    /// How many comments it has.
    #[serde(default)]
    comments: u64,
    /// Whether it is a pull request: `pull-requests.get` tells the rest.
    #[serde(default, rename(deserialize = "pull_request"), deserialize_with = "parts::is_there")]
    is_pull_request: bool,
    /// When it was opened.
    #[serde(default)]
    created_at: Option<Timestamp>,
    /// The last change.
    #[serde(default)]
    updated_at: Option<Timestamp>,
    /// When it was closed.
    #[serde(default)]
    closed_at: Option<Timestamp>,
    /// The text, in Markdown.
    #[serde(default)]
    body: Option<String>,
    /// Where a person sees it.
    #[serde(rename(deserialize = "html_url"))]
    url: String,
}

/// A comment.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Comment {
    /// GitHub's id of it.
    id: u64,
    /// Who wrote it.
    #[serde(default, rename(deserialize = "user"), deserialize_with = "parts::login")]
    author: Option<String>,
    /// The text, in Markdown.
    #[serde(default)]
    body: Option<String>,
    /// When it was written.
    #[serde(default)]
    created_at: Option<Timestamp>,
    /// Where a person sees it.
    #[serde(rename(deserialize = "html_url"))]
    url: String,
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

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Issue>, Error> {
    if let Some(index) = input.labels.iter().position(|label| label.contains(',')) {
        let place = ["/labels/", &index.to_string()].concat();
        return Err(Error::invalid_request(place, "GitHub takes no label with a comma here"));
    }
    let url = of("{api}", &input.repository, "/issues")?;
    let first = || {
        Request::get(url)
            .query("state", input.state.name())
            .query_some("labels", Some(input.labels.join(",")).filter(|labels| !labels.is_empty()))
            .query_some("assignee", input.assignee.as_deref())
            .query_some("since", input.since)
            .query("sort", input.sort.name())
            .query("per_page", input.limit.clamp(1, LIMIT_MAX))
    };
    let mut page = listed::<Issue>(cursor, first)?;
    if !input.pull_requests {
        page.items.retain(|issue| !issue.is_pull_request);
    }
    Ok(page)
}

pub(crate) fn find(input: FindInput) -> Result<Issue, Error> {
    read(of("{api}", &input.repository, &["/issues/", &input.number.to_string()].concat())?)?.json()
}

pub(crate) fn create(input: CreateInput) -> Result<Issue, Error> {
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
    asked(Request::post(url), JSON).json(&text)?.send()?.json()
}

pub(crate) fn comment(input: CommentInput) -> Result<Comment, Error> {
    if input.body.trim().is_empty() {
        return Err(Error::invalid_request("/body", "expected a text"));
    }
    let place = ["/issues/", &input.number.to_string(), "/comments"].concat();
    let url = of("{write}", &input.repository, &place)?;
    let text = Text { title: None, body: Some(&input.body), labels: &[], assignees: &[] };
    asked(Request::post(url), JSON).json(&text)?.send()?.json()
}
