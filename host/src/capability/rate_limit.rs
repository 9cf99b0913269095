//! `rate-limit`: pacing for what the host cannot see. Touches the caller's own account only, and of what its manifest shares
//! among accounts the one bucket that is named (R11).

use super::Call;
use crate::bindings::wharfage::plugin::rate_limit::{Feedback, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result};
use crate::outbound::admit;
use crate::time::Timestamp;

impl Host for Call {
    async fn acquire(&mut self, bucket: String, units: u32) -> Result<(), types::Error> {
        let queue = self.outbound.queues.named(&bucket).cloned().ok_or_else(|| unknown(&bucket))?;
        let permit = admit::wait(self.clock.as_ref(), &self.context, &[(queue, units.max(1))]).await;
        // The plugin spends it elsewhere, now; it ages from here.
        permit.map(drop).map_err(|error| self.keep(error))
    }

    fn report(&mut self, feedback: Feedback) -> Result<(), types::Error> {
        let cap = self.clock.now().plus(self.limits.block_ms);
        let queues: Vec<_> = match &feedback.bucket {
            Some(bucket) => vec![self.outbound.queues.named(bucket).cloned().ok_or_else(|| unknown(bucket))?],
            None => self.outbound.queues.own().cloned().collect(),
        };
        for queue in queues {
            if let Some(until) = feedback.blocked_until {
                queue.block_until(Timestamp::from_millis(until).min(cap));
            }
            if let Some(left) = feedback.remaining {
                queue.remaining(left, None);
            }
        }
        Ok(())
    }
}

fn unknown(bucket: &str) -> Error {
    Error::invalid("/bucket", format!("the manifest has no budget `{}`", crate::text::shown(bucket)))
}
