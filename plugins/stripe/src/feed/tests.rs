//! Tests of what is made of webhooks and polls.
