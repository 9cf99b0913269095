//! What the benches of this repository ask of a plugin, and nobody else. It is there with the feature `internals` alone.

use super::Plugin;
use crate::error::Result;
use crate::outbound::{CallContext, Request};

impl Plugin {
    /// Sends so many GETs of `url`, each through the first so many of [`STEPS`](Self::STEPS) and no further. For the benches of
    /// this repository, and for nobody else.
    ///
    /// # Errors
    /// As the path has them.
    #[doc(hidden)]
    pub async fn walk(&self, url: &str, steps: usize, times: usize) -> Result<()> {
        let outbound = &self.0.outbound;
        let context = CallContext { deadline: self.0.deadline(), observer: None, event: None, operation: None };
        for _ in 0..times {
            outbound.walk(&context, Request::get(url), steps).await?;
        }
        Ok(())
    }

    /// The steps of the outbound path, in their order.
    #[doc(hidden)]
    pub const STEPS: [&str; 10] =
        ["begin", "scope", "cache", "ready", "admit", "address", "sign", "transport", "classify", "keep and decide"];

    /// Adds so many times what a call with one request adds to its numbers. For the benches as well.
    #[doc(hidden)]
    pub fn count(&self, times: usize) {
        (0..times).for_each(|_| self.0.meter.handling().rehearse(&*self.0.clock));
    }
}
