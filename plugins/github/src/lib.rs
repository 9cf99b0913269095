//! GitHub's REST API: what is public needs no key, and the same operations show more with one.
//!
//! Whether a key goes along is the host's to know. GitHub says 404 of what a caller may not see, so a repository that is
//! private and one that does not exist look the same; and it says 403 of limits, which plugin.toml tells apart.

mod commits;
mod contents;
mod events;
mod issues;
mod limits;
mod parts;
mod pull_requests;
mod releases;
mod repositories;
mod users;
mod watch;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wharfage_sdk::http::segment;
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Cursor, Error, Page, Request, Response};

pub use events::handle;

wharfage_sdk::operations! {
    /// One repository by its full name.
    read "repositories.get" => repositories::find;
    /// The repositories of a person or an organization; without an owner those that the token's own account can see.
    list "repositories.list" => repositories::list;
    /// Public repositories that fit a search, the best match first unless asked otherwise.
    list "repositories.search" => repositories::search;
    /// The releases of a repository, the newest first.
    list "releases.list" => releases::list;
    /// The latest release of a repository: neither a draft nor a prerelease.
    read "releases.latest" => releases::latest;
    /// The release of a tag.
    read "releases.get" => releases::find;
    /// The issues of a repository, the newest first unless asked otherwise; without pull requests, which GitHub counts
    /// among them, unless these are asked for.
    list "issues.list" => issues::list;
    /// One issue by its number.
    read "issues.get" => issues::find;
    /// Opens an issue. Needs a token.
    write "issues.create" => issues::create;
    /// Writes a comment on an issue or a pull request. Needs a token.
    write "issues.comment" => issues::comment;
    /// The pull requests of a repository, the newest first unless asked otherwise.
    list "pull-requests.list" => pull_requests::list;
    /// One pull request by its number, with how large it is and whether it can be merged.
    read "pull-requests.get" => pull_requests::find;
    /// The commits of a branch, of a path or of an author, the newest first.
    list "commits.list" => commits::list;
    /// A file as text, or what a folder holds.
    read "contents.get" => contents::find;
    /// A person or an organization by name.
    read "users.get" => users::find;
    /// What is left of the quotas and when they begin anew. Costs nothing of them.
    read "limits.get" => limits::find;
}
wharfage_sdk::plugin!(handle = handle);

/// How many items GitHub is asked for at once, at most.
const LIMIT_MAX: u32 = 100;

fn limit() -> u32 {
    30
}

/// With what GitHub wants on every request: which form of an answer, and of which version.
fn asked(request: Request, accept: &str) -> Request {
    request.header("Accept", accept).header("X-GitHub-Api-Version", "2022-11-28")
}

const JSON: &str = "application/vnd.github+json";

/// Reads what stands at a URL.
fn read(url: String) -> Result<Response, Error> {
    asked(Request::get(url), JSON).send()
}

/// The next page of a list, wherever the links of the page before lead, and where to go on from it.
fn page(cursor: Option<Cursor>, first: impl FnOnce() -> Request) -> Result<(Response, Option<NextUrl>), Error> {
    let at = NextUrl::resume(cursor)?;
    let response = asked(at.request(first), JSON).send()?;
    let next = at.advance_by_link(&response)?;
    Ok((response, next))
}

/// A page of a list whose answer is an array of what comes out.
fn listed<T: DeserializeOwned + Serialize>(
    cursor: Option<Cursor>,
    first: impl FnOnce() -> Request,
) -> Result<Page<T>, Error> {
    let (response, next) = page(cursor, first)?;
    Page::new(response.json()?, next.as_ref())
}

/// The URL of something of a repository: `{origin}/repos/owner/name/rest`.
fn of(origin: &str, repository: &str, rest: &str) -> Result<String, Error> {
    let parts = repository.split_once('/').filter(|(_, name)| !name.contains('/'));
    let Some((owner, name)) = parts else {
        return Err(Error::invalid_request("/repository", "expected an owner and a name, as `rust-lang/rust`"));
    };
    let (owner, name) = (segment("/repository", owner)?, segment("/repository", name)?);
    Ok([origin, "/repos/", &owner, "/", &name, rest].concat())
}

/// A path whose parts are encoded and whose slashes stay.
fn path(field: &str, text: &str) -> Result<String, Error> {
    let mut encoded = String::new();
    for part in text.split('/') {
        encoded.push('/');
        encoded.push_str(&segment(field, part)?);
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        assert_eq!(of("{api}", "rust-lang/rust", "/issues").unwrap(), "{api}/repos/rust-lang/rust/issues");
        for wrong in ["rust", "", "/", "a/", "/b", "a/b/c", "../..", "a/..", "https://github.com/a/b"] {
            let error = of("{api}", wrong, "").unwrap_err();
            assert_eq!(error.kind.name(), "invalid-request", "{wrong}");
        }
    }

    #[test]
    fn a_path_stays_below_its_place() {
        assert_eq!(path("/path", "src/a b.rs").unwrap(), "/src/a%20b.rs");
        for wrong in ["a/../b", "..", "a//b"] {
            assert_eq!(path("/path", wrong).unwrap_err().kind.name(), "invalid-request", "{wrong}");
        }
    }
}
