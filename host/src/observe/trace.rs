//! One id for everything that one trigger sets off: the delivery, the call, each attempt, the plugin's own lines, the row
//! of the audit trail and the event that comes of it.
//!
//! A [`Trace`] goes along with the task that works, and what the host begins becomes a part of the one that it finds
//! there. How the id is written, and how it crosses from one program to another, is W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/>, read 2026-11-29). What is begun is a span of the crate `tracing` with the fields
//! `trace_id`, `span_id` and `parent_id`; where nobody listens to spans, none is made.

use std::fmt;
use std::future::Future;

use tracing::Span;
use tracing::field::{DisplayValue, display};

use crate::random;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A place in a trace: what begins here is a part of it.
///
/// A program that embeds the host and is itself a part of a trace says so once:
///
/// ```
/// # async fn example(plugin: &wharfage::Plugin, traceparent: &str) -> wharfage::Result<()> {
/// let trace = wharfage::observe::Trace::parse(traceparent);
/// let call = plugin.page("orders.list", "{}", None);
/// let answer = match trace {
///     Some(trace) => trace.run(call).await?,
///     None => call.await?,
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    id: u128,
    span: u64,
}

impl Trace {
    /// What a header field `traceparent` says, if it is one.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let is_hexadecimal = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = traceparent.split('-');
        let [version, id, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let lengths = [version.len(), id.len(), span.len(), flags.len()];
        if lengths != [2, 32, 16, 2] || ![version, id, span, flags].into_iter().all(is_hexadecimal) {
            return None;
        }
        // A later version may say more, and this one may not; ff is none.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = Self { id: u128::from_str_radix(id, 16).ok()?, span: u64::from_str_radix(span, 16).ok()? };
        (trace.id != 0 && trace.span != 0).then_some(trace)
    }

    /// The one that this task works for.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    /// Its id: 32 hexadecimal digits.
    pub fn id(self) -> impl fmt::Display {
        fmt::from_fn(move |f| write!(f, "{:032x}", self.id))
    }

    /// The value of a header field `traceparent` for whoever goes on with it.
    pub fn traceparent(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.id, self.span)
    }

    /// Does this as a part of it.
    pub fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:032x}, {:016x})", self.id, self.span)
    }
}

/// The id of the trace that this task works for, as text; empty where there is none.
pub(crate) fn current_id() -> String {
    Trace::current().map(|trace| trace.id().to_string()).unwrap_or_default()
}

/// What begins here: a part of the trace that is there, or of a new one.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    trace: Trace,
    parent: Option<u64>,
}

impl Here {
    /// Begins.
    pub(crate) fn begin() -> Self {
        Self::after(None)
    }

    /// Begins as a part of that, where it is one.
    pub(crate) fn after(before: Option<Trace>) -> Self {
        let before = before.or_else(Trace::current);
        let id = before.map_or_else(|| (u128::from(random::unlike()) << 64) | u128::from(random::unlike()), |it| it.id);
        Self { trace: Trace { id, span: random::unlike() }, parent: before.map(|before| before.span) }
    }

    /// For the field `trace_id`.
    pub(crate) fn trace_id(&self) -> impl fmt::Display + use<> {
        self.trace.id()
    }

    /// For the field `span_id`.
    pub(crate) fn span_id(&self) -> impl fmt::Display + use<> {
        hexadecimal(self.trace.span)
    }

    /// For the field `parent_id`.
    pub(crate) fn parent_id(&self) -> Option<DisplayValue<impl fmt::Display + use<>>> {
        self.parent.map(|parent| display(hexadecimal(parent)))
    }

    /// Does this as a part of what begins here, in its span. No `async fn`, which would hold the work twice.
    pub(crate) fn run<F: Future>(self, span: Span, work: F) -> impl Future<Output = F::Output> {
        use tracing::Instrument as _;
        CURRENT.scope(self.trace, work.instrument(span))
    }
}

fn hexadecimal(number: u64) -> impl fmt::Display + use<> {
    fmt::from_fn(move |f| write!(f, "{number:016x}"))
}

/// Takes trace and span of here along to where this is done, as another task.
pub(crate) fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    use tracing::Instrument as _;
    let (trace, work) = (Trace::current(), work.instrument(Span::current()));
    async move {
        match trace {
            Some(trace) => CURRENT.scope(trace, work).await,
            None => work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_w3c_writes_it() {
        let trace = Trace::parse(PARENT).unwrap();
        assert_eq!((trace.id().to_string().as_str(), trace.traceparent().as_str()), (&PARENT[3..35], PARENT));
        assert!(Trace::parse(&PARENT.replacen("00", "cc", 1)).is_some());
        assert!(Trace::parse(&(PARENT.replacen("00", "cc", 1) + "-more")).is_some());
        for wrong in [
            "",
            "00",
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replacen("00", "0", 1),
            &format!("{PARENT}-more"),
            &format!("{PARENT}\n"),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replace('-', "_"),
        ] {
            assert_eq!(Trace::parse(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn what_begins_inside_is_a_part_of_it() {
        assert_eq!(Trace::current(), None);
        let outside = Here::begin();
        assert!(outside.parent.is_none() && outside.trace.id != 0 && Here::begin().trace.id != outside.trace.id);
        let inside = outside.run(Span::none(), async { Here::begin() }).await;
        assert_eq!((inside.trace.id, inside.parent), (outside.trace.id, Some(outside.trace.span)));
        let given = Trace::parse(PARENT).unwrap();
        let inside = given.run(async { (Here::begin(), current_id()) }).await;
        assert_eq!(inside.1, PARENT[3..35]);
        assert_eq!(inside.0.parent_id().unwrap().to_string(), PARENT[36..52]);
        let elsewhere = given.run(async {
            let elsewhere = tokio::spawn(carry(async { current_id() }));
            elsewhere.await.unwrap()
        });
        assert_eq!(elsewhere.await, PARENT[3..35]);
        assert_eq!(current_id(), "");
    }
}
