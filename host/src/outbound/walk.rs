//! The path step by step, for the benches of this repository: what a step costs is the difference to the one before it.
//!
//! It is made of the pieces that an attempt is made of, so that what is measured is what requests go through.

use super::cache::{self, Looked, WriteInFlight};
use super::sending::Sending;
use super::{CallContext, Outbound, Request, address, admit, ready, sign};
use crate::error::Result;

impl Outbound {
    /// The first so many steps of the path and no more.
    pub(crate) async fn walk(&self, context: &CallContext, request: Request, steps: usize) -> Result<()> {
        let mut sending = Sending::begin(self, context, request.into())?;
        if steps == 0 {
            return Ok(());
        }
        let scoped = self.scope.check(sending.request.clone())?;
        if steps == 1 {
            return Ok(());
        }
        let (scoped, without) = ready::settle(self, scoped).await;
        sending.without = without;
        let mut ticket = cache::ticket(self, &scoped).await;
        let missed = match cache::look(self, context, &mut ticket, scoped).await {
            Looked::Missed(missed) if steps > 2 => missed,
            _ => return Ok(()),
        };
        let (ready, used) = self.ready(context, &mut sending, missed).await?;
        if steps == 3 {
            return Ok(());
        }
        let admitted = admit::acquire(self, context, ready).await?;
        if steps == 4 {
            return Ok(());
        }
        let pinned = address::pin(self, context, admitted).await?;
        if steps == 5 {
            return Ok(());
        }
        let signed = sign::attach(self, context, pinned)?;
        if steps == 6 {
            return Ok(());
        }
        let sent = self.tell_sent(context, &signed, used);
        let write = WriteInFlight::of(self, &sending.request);
        let answered = self.exchange(context, signed, false).await;
        if steps == 7 {
            return Ok(());
        }
        let outcome = self.outcome(context, &sending, answered, None);
        sent.tell_outcome(self.clock.now(), &outcome);
        self.write_down().await;
        write.heard();
        if steps == 8 {
            return Ok(());
        }
        let outcome = self.keep(ticket.as_ref(), &sending, outcome);
        self.after(context, &mut sending, outcome).map(drop)
    }
}
