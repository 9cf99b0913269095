//! Repositories: one, those of an owner, and those that fit a search.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use wharfage_sdk::http::segment;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp, log};

use crate::record::{Picked, at, pick_all, record};
use crate::{InRepository, LIMIT_MAX, limit, listed, of, page, read};

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

record! {
    /// A repository.
    Repository {
        /// Owner and name: what other operations want as `repository`.
        full_name: String = "full_name",
        /// What it is, in its owner's words.
        description: Option<String> = "description",
        /// Whether only those may see it who were let in.
        private: bool = "private",
        /// Whether it was made from another one.
        fork: bool = "fork",
        /// Whether it takes no changes any more.
        archived: bool = "archived",
        /// The language that most of it is written in.
        language: Option<String> = "language",
        /// What its owner calls it by.
        topics: Vec<String> = "topics",
        /// The license, as `MIT`; `NOASSERTION` where GitHub does not know it.
        license: Option<String> = "license/spdx_id",
        /// How many have starred it.
        stars: Option<u64> = "stargazers_count",
        /// How many repositories were made from it.
        forks: Option<u64> = "forks_count",
        /// Open issues and open pull requests together, as GitHub counts.
        open_issues: Option<u64> = "open_issues_count",
        /// The branch that is shown and cloned.
        default_branch: Option<String> = "default_branch",
        /// When it was made.
        created_at: Option<Timestamp> = "created_at",
        /// The last change of its own data, as its description.
        updated_at: Option<Timestamp> = "updated_at",
        /// The last push to any branch.
        pushed_at: Option<Timestamp> = "pushed_at",
        /// Where a person sees it.
        url: String = "html_url",
    }
}

pub(crate) fn find(input: InRepository) -> Result<Picked<Repository>, Error> {
    read(of("{api}", &input.repository, "")?)
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Repository>>, Error> {
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
    listed(cursor, Request::get(url).query("sort", sort).query("per_page", input.limit.clamp(1, LIMIT_MAX)))
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Picked<Repository>>, Error> {
    if input.query.trim().is_empty() {
        return Err(Error::invalid_request("/query", "expected what to look for, as `http client language:rust`"));
    }
    let sort = input.sort.map(|sort| match sort {
        SearchSort::Stars => "stars",
        SearchSort::Forks => "forks",
        SearchSort::Updated => "updated",
    });
    let first = Request::get("{search}/search/repositories").query("q", &input.query).query_some("sort", sort);
    let (response, next) = page(cursor, first.query("per_page", input.limit.clamp(1, LIMIT_MAX)))?;
    let found: Value = response.json()?;
    if at(&found, "incomplete_results") == &Value::Bool(true) {
        log::warn("GitHub ran out of time while searching, so something may be missing", &[]);
    }
    Page::new(pick_all(&response, at(&found, "items"))?, next.as_ref())
}
