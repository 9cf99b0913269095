//! One page of rows that lie in blocks: what every list here has in common.

use serde::de::DeserializeOwned;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::{
    answer::Question,
    window::{Row, Span, Window},
};

/// What the parameters of a list are called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// `startblock`, `endblock` and `sort`.
    Account,
    /// `fromBlock` and `toBlock`, which must be there; always the oldest first.
    Logs,
}

/// Asks for the page that `cursor` leads to, and answers what is new on it and where to go on.
///
/// The page may be empty although there is more: every row of it may have come before.
pub(crate) fn page<R: Row + DeserializeOwned, T>(
    question: &Question,
    span: &Span,
    cursor: Option<Cursor>,
    read: fn(R) -> Result<T, Error>,
) -> Result<Page<T>, Error> {
    let (rows, next) = page_named(question, span, cursor, Names::Account)?;
    Ok(Page { items: rows.into_iter().map(read).collect::<Result<_, _>>()?, next })
}

/// Likewise, for a list whose parameters have names of their own.
pub(crate) fn page_named<R: Row + DeserializeOwned>(
    question: &Question,
    span: &Span,
    cursor: Option<Cursor>,
    names: Names,
) -> Result<(Vec<R>, Option<Cursor>), Error> {
    let window = Window::open(&question.identity(), span, cursor.as_ref())?;
    let is_log = names == Names::Logs;
    let mut question = question.clone().with(if is_log { "fromBlock" } else { "startblock" }, window.start());
    // Any number that stands for "all" is a real block on some chain one day.
    question = match window.end() {
        Some(end) => question.with(if is_log { "toBlock" } else { "endblock" }, end),
        None if is_log => question.with("toBlock", "latest"),
        None => question,
    };
    question = question.with("page", window.page()).with("offset", span.limit);
    if !is_log {
        question = question.with("sort", span.sort.as_str());
    }
    let (rows, next) = window.after(span, question.ask()?.unwrap_or_default())?;
    Ok((rows, next.map(|next| Cursor::encode(&next)).transpose()?))
}

/// The time of a block, which is told in seconds since 1970.
pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_s(i64::try_from(seconds).unwrap_or(i64::MAX))
}
