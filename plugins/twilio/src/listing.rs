//! Lists of the API of 2010.
//!
//! The next page is named by `next_page_uri`, which is relative to the host. Only its query is taken, and put on the path that
//! was asked before: so no page leads away from it, and it does not matter that the host masks the account's id where it
//! is the user's name too.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request};

use crate::account;

/// How many items Twilio is asked for at once, at most and where nothing is said.
pub(crate) const LIMIT_MAX: u32 = 1_000;

pub(crate) fn limit() -> u32 {
    100
}

#[derive(Deserialize)]
struct Listing<T> {
    #[serde(default)]
    next_page_uri: Option<String>,
    #[serde(alias = "messages", alias = "calls", alias = "incoming_phone_numbers", alias = "usage_records")]
    records: Vec<T>,
}

/// Reads one page of what is at `place` below the account; `first` says what is asked for on the first one.
pub(crate) fn list<T: DeserializeOwned>(
    account: &str,
    place: &str,
    limit: u32,
    cursor: Option<Cursor>,
    first: impl FnOnce(Request) -> Request,
) -> Result<Page<T>, Error> {
    let at = Opaque::resume(cursor)?;
    let mut url = account::place(account, place)?;
    let request = match at.mark() {
        Some(query) => {
            url.push('?');
            url.push_str(query);
            Request::get(url)
        }
        None => first(Request::get(url).query("PageSize", limit.clamp(1, LIMIT_MAX))),
    };
    let listing: Listing<T> = request.send()?.json()?;
    let next = at.advance(query_of(listing.next_page_uri.as_deref(), place)?)?;
    Page::new(listing.records, next.as_ref())
}

/// The query of a next page, if that page is where the last one was.
fn query_of<'a>(next: Option<&'a str>, place: &str) -> Result<Option<&'a str>, Error> {
    let Some(next) = next.filter(|next| !next.is_empty()) else { return Ok(None) };
    let is_odd = |letter: char| letter.is_control() || letter.is_whitespace() || matches!(letter, '\\' | '#');
    match next.split_once('?') {
        Some((path, query))
            if path.starts_with('/')
                && !path.starts_with("//")
                && path.strip_suffix(place).is_some_and(|account| account.ends_with('/'))
                && !next.contains(is_odd) =>
        {
            Ok(Some(query))
        }
        _ => {
            let rule = "next-url-in-origin".to_owned();
            Err(Error::new(ErrorKind::PolicyDenied(rule), "the next page is said to be elsewhere"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What went wrong: the URL in `next` was followed wherever it pointed, with the credential in its header. Twilio's is
    // relative; whatever else stands there ends the list.
    #[test]
    fn guide_s34_the_next_page_led_elsewhere() {
        let read = |next: &'static str| query_of(Some(next), "Messages.json");
        let here = "/2010-04-01/Accounts/[masked]/Messages.json?PageSize=2&Page=1&PageToken=PA1";
        assert_eq!(read(here).unwrap(), Some("PageSize=2&Page=1&PageToken=PA1"));
        assert_eq!(query_of(None, "Messages.json").unwrap(), None);
        assert_eq!(read("").unwrap(), None);
        for hostile in [
            "https://evil.example/2010-04-01/Accounts/AC/Messages.json?Page=1",
            "//evil.example/Messages.json?Page=1",
            "/\\evil.example/Messages.json?Page=1",
            "/2010-04-01/Accounts/AC/Calls.json?Page=1",
            "/2010-04-01/Accounts/AC/Messages.json",
            "/2010-04-01/Accounts/AC/Messages.json?Page=1#x",
        ] {
            assert_eq!(read(hostile).unwrap_err().kind.name(), "policy-denied", "{hostile}");
        }
    }
}
