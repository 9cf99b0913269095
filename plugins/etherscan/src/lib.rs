//! Etherscan V2: one API and one key for the history of more than sixty chains, read-only.
//!
//! Its answers have their own ways, and each has one place here: an HTTP 200 that is an error and an empty set that
//! looks like one (`answer`; what the host must wait for is data, in plugin.toml), numbers longer than a float
//! (`exact`), lists that end after 10,000 rows (`window`), and addresses whose letters carry a checksum (`address`). What
//! happens to accounts is told by `wallet`.

mod address;
mod answer;
mod balances;
mod blocks;
mod chains;
mod contracts;
mod exact;
mod gas;
mod rows;
mod token_transfers;
mod tokens;
mod transactions;
mod wallet;
mod window;

pub use wallet::handle;

wharfage_sdk::operations! {
    /// What an account holds of the chain's own currency, in wei and in whole coins.
    read "balances.get" => balances::find;
    /// What an account holds of one ERC-20 token, in the token's smallest unit and, where its decimals are given, in
    /// whole tokens.
    read "tokens.balance" => tokens::balance;
    /// Transactions from or to an account, the newest first unless asked otherwise.
    list "transactions.list" => transactions::list;
    /// ERC-20 transfers from or to an account, of all tokens or of one, the newest first unless asked otherwise.
    list "token-transfers.list" => token_transfers::list;
    /// What a unit of gas costs now, in gwei.
    read "gas.get" => gas::find;
    /// The ABI of a contract whose source is verified on Etherscan.
    read "contracts.abi" => contracts::abi;
    /// The number of the newest block.
    read "blocks.latest" => blocks::latest;
    /// The chains that Etherscan serves, and how each is doing. Needs no key.
    list "chains.list" => chains::list;
}
wharfage_sdk::plugin!(handle = handle);

/// Ethereum's main chain.
fn mainnet() -> u64 {
    1
}

/// Whether so many blocks on top make a row final.
///
/// Twelve is the custom of the years of proof of work; the chains behind other ids have their own ideas, so the number
/// itself is always given too.
fn is_final(confirmations: u64) -> bool {
    confirmations >= 12
}
