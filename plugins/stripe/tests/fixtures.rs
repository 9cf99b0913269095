//! Every fixture of this folder, replayed natively.

wharfage_sdk::testing::replay_all!(wharfage_stripe::OPERATIONS);
