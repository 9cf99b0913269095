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
mod entries;
mod exact;
mod gas;
mod internal;
mod logs;
mod record;
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
    /// What several accounts hold of the chain's own currency, in the order they are named.
    list "balances.list" => balances::list;
    /// What an account holds of one ERC-20 token, in the token's smallest unit and, where its decimals are known, in whole
    /// tokens.
    read "tokens.balance" => tokens::balance;
    /// All ERC-20 tokens that an account holds. Needs a paid plan.
    list "tokens.list" => tokens::list;
    /// Transactions from or to an account, the newest first unless asked otherwise.
    list "transactions.list" => transactions::list;
    /// ERC-20 transfers from or to an account, of all tokens or of one, the newest first unless asked otherwise.
    list "token-transfers.list" => token_transfers::list;
    /// Transfers of NFTs, ERC-721 or ERC-1155, from or to an account, the newest first unless asked otherwise.
    list "nft-transfers.list" => token_transfers::list_nfts;
    /// Coins that contracts moved from or to an account while they ran, the newest first unless asked otherwise.
    list "internal-transactions.list" => internal::list;
    /// Events that contracts wrote into the log, by contract and topics, the oldest first.
    list "logs.list" => logs::list;
    /// What a unit of gas costs now, in gwei.
    read "gas.get" => gas::find;
    /// The ABI of a contract whose source is verified on Etherscan.
    read "contracts.abi" => contracts::abi;
    /// The source of a contract, where it is verified on Etherscan, and how it was compiled.
    read "contracts.source" => contracts::source;
    /// The number of the newest block.
    read "blocks.latest" => blocks::latest;
    /// The block that was made just before a time, or just after it.
    read "blocks.by-time" => blocks::by_time;
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
