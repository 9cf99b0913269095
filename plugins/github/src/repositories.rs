//! Repositories: one, those of an owner, and those that fit a search.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp, log};

use crate::{LIMIT_MAX, limit, listed, of, page, parts, read};

/// Which repository.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Owner and name, as `rust-lang/rust`.
    repository: String,
}

/// Whose repositories.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// A person or an organization, as `rust-lang`; only what is public is listed. Without it, all that the token's own
    /// account can see, private ones too.
    #[serde(default)]
    owner: Option<String>,
    /// Which comes first.
    #[serde(default)]
    sort: Sort,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchInput {
    /// Words and qualifiers as on GitHub's own search page: `http client language:rust stars:>500`.
    query: String,
    /// Which comes first; the best match where it is left out.
    #[serde(default)]
    sort: Option<SearchSort>,
    /// How many to a page. GitHub answers the first 1000 of all that fit, however many there are.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    /// By full name, from A to Z.
    #[default]
    Name,
    /// The last push first.
    Pushed,
    /// The last change of the repository's own data first.
    Updated,
    /// The newest first.
    Created,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SearchSort {
    /// The most stars first.
    Stars,
    /// The most forks first.
    Forks,
    /// The last change first.
    Updated,
}

/// A repository.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Repository {
    /// Owner and name: what other operations want as `repository`.
    full_name: String,
    /// What it is, in its owner's words.
    #[serde(default)]
    description: Option<String>,
    /// Whether only those may see it who were let in.
    #[serde(default)]
    private: bool,
    /// Whether it was made from another one.
    #[serde(default)]
    fork: bool,
    /// Whether it takes no changes any more.
    #[serde(default)]
    archived: bool,
    /// The language that most of it is written in.
    #[serde(default)]
    language: Option<String>,
    /// What its owner calls it by.
    #[serde(default)]
    topics: Vec<String>,
    /// The license, as `MIT`.
    #[serde(default, deserialize_with = "parts::license")]
    license: Option<String>,
    /// How many have starred it.
    #[serde(default, rename(deserialize = "stargazers_count"))]
    stars: u64,
    /// How many repositories were made from it.
    #[serde(default, rename(deserialize = "forks_count"))]
    forks: u64,
    /// Open issues and open pull requests together, as GitHub counts.
    #[serde(default, rename(deserialize = "open_issues_count"))]
    open_issues: u64,
    /// The branch that is shown and cloned.
    #[serde(default)]
    default_branch: Option<String>,
    /// When it was made.
    #[serde(default)]
    created_at: Option<Timestamp>,
    /// The last change of its own data, as its description.
    #[serde(default)]
    updated_at: Option<Timestamp>,
    /// The last push to any branch.
    #[serde(default)]
    pushed_at: Option<Timestamp>,
    /// Where a person sees it.
    #[serde(rename(deserialize = "html_url"))]
    url: String,
}

/// What a search found.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    incomplete_results: bool,
    items: Vec<Repository>,
}

pub(crate) fn find(input: FindInput) -> Result<Repository, Error> {
    read(of("{api}", &input.repository, "")?)?.json()
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Repository>, Error> {
    let url = match &input.owner {
        Some(owner) => ["{api}/users/", &segment("/owner", owner)?, "/repos"].concat(),
        None => "{api}/user/repos".to_owned(),
    };
    let sort = match input.sort {
        Sort::Name => "full_name",
        Sort::Pushed => "pushed",
        Sort::Updated => "updated",
        Sort::Created => "created",
    };
    listed(cursor, || Request::get(url).query("sort", sort).query("per_page", input.limit.clamp(1, LIMIT_MAX)))
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Repository>, Error> {
    if input.query.trim().is_empty() {
        return Err(Error::invalid_request("/query", "expected what to look for, as `http client language:rust`"));
    }
    let sort = input.sort.map(|sort| match sort {
        SearchSort::Stars => "stars",
        SearchSort::Forks => "forks",
        SearchSort::Updated => "updated",
    });
    let first = || {
        let request = Request::get("{search}/search/repositories").query("q", &input.query);
        request.query_some("sort", sort).query("per_page", input.limit.clamp(1, LIMIT_MAX))
    };
    let (response, next) = page(cursor, first)?;
    let found: Found = response.json()?;
    if found.incomplete_results {
        log::warn("GitHub ran out of time while searching, so something may be missing", &[]);
    }
    Page::new(found.items, next.as_ref())
}
