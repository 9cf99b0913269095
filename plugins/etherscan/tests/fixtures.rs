//! Every fixture of this plugin, against its operations.

wharfage_sdk::testing::replay_all!(wharfage_etherscan::OPERATIONS);
