//! One page of rows that lie in blocks: what every list here has in common.

use serde::de::DeserializeOwned;
use wharfage_sdk::{Cursor, Error, Timestamp};

use crate::{
    answer::Question,
    window::{Row, Span, Window},
};

/// Asks for the page that `cursor` leads to, and answers what is new on it and where to go on.
///
/// The page may be empty although there is more: every row of it may have come before.
pub(crate) fn page<R: Row + DeserializeOwned>(
    question: &Question,
    span: &Span,
    cursor: Option<Cursor>,
) -> Result<(Vec<R>, Option<Cursor>), Error> {
    let window = Window::open(&question.identity(), span, cursor.as_ref())?;
    let mut question = question.clone().with("startblock", window.start());
    // Left out where it is not known: any number that stands for "all" is a real block on some chain one day.
    if let Some(end) = window.end() {
        question = question.with("endblock", end);
    }
    let question = question.with("page", window.page()).with("offset", span.limit).with("sort", span.sort.as_str());
    let (rows, next) = window.after(span, question.ask()?.unwrap_or_default())?;
    Ok((rows, next.map(|next| Cursor::encode(&next)).transpose()?))
}

/// The time of a block, which is told in seconds since 1970.
pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_s(i64::try_from(seconds).unwrap_or(i64::MAX))
}
