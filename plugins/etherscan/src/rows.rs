//! One page of rows that lie in blocks: what every list here has in common.

use wharfage_sdk::{Cursor, Error, Page};

use crate::answer::Question;
use crate::record::{Of, Picked, Row, Table, pick_all};
use crate::window::{self, Span, Window};

impl window::Row for Row {
    fn block(&self) -> u64 {
        self.block()
    }

    fn identity(&self) -> String {
        self.identity()
    }
}

/// Asks for the page that `cursor` leads to, and answers what is new on it and where to go on.
///
/// The page may be empty although there is more: every row of it may have come before.
pub(crate) fn page<T: Table>(
    question: Question,
    of: Of,
    span: &Span,
    cursor: Option<Cursor>,
) -> Result<Page<Picked<T>>, Error> {
    let (rows, next) = read(question, of, span, cursor)?;
    Ok(Page { items: pick_all(&rows)?, next })
}

fn read(question: Question, of: Of, span: &Span, cursor: Option<Cursor>) -> Result<(Vec<Row>, Option<Cursor>), Error> {
    let window = Window::open(&question.identity(), span, cursor.as_ref())?;
    let is_log = of == Of::Logs;
    let mut question = question.with(if is_log { "fromBlock" } else { "startblock" }, window.start());
    // Any number that stands for "all" is a real block on some chain one day. Those of the log must be there.
    question = match window.end() {
        Some(end) => question.with(if is_log { "toBlock" } else { "endblock" }, end),
        None if is_log => question.with("toBlock", "latest"),
        None => question,
    };
    question = question.with("page", window.page()).with("offset", span.limit);
    // The log is always the oldest first.
    if !is_log {
        question = question.with("sort", span.sort.as_str());
    }
    let (rows, next) = window.after(span, question.rows(of)?)?;
    Ok((rows, next.map(|next| Cursor::encode(&next)).transpose()?))
}
