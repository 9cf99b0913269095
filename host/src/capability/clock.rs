//! `clock`: time as the host sees it.

use super::Call;
use crate::bindings::wharfage::plugin::clock::Host;

impl Host for Call {
    fn now(&mut self) -> u64 {
        self.outbound.guest_clock().now().as_millis()
    }
}
