//! Transactions of an account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::{
    address::Address,
    answer::Question,
    balances, exact, rows, wallet,
    window::{self, Sort, Span},
};

wharfage_sdk::input! {
    /// Whose, and of which blocks.
    pub(crate) struct Input {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        pub(crate) address: Address,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        pub(crate) chainid: u64 = crate::mainnet(),
        /// The first block that counts.
        #[serde(default)]
        pub(crate) start_block: u64,
        /// The last block that counts; the newest one when absent.
        pub(crate) end_block: Option<u64>,
        /// Which end of the chain comes first; `desc` when absent.
        #[serde(default)]
        pub(crate) sort: Sort,
        /// Rows per page, 1 to 1000.
        #[schemars(range(min = 1, max = 1000))]
        pub(crate) limit: u32 = window::limit(),
    }
}

/// One transaction.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Transaction {
    /// Its hash.
    hash: String,
    /// The block it is in.
    block_number: u64,
    /// When that block was made.
    time: Timestamp,
    /// How many blocks there were on top when Etherscan answered.
    confirmations: u64,
    /// Whether these are at least 12.
    is_final: bool,
    /// Who sent it, in EIP-55 form; `GENESIS` for what was there in the first block.
    from: Option<String>,
    /// Who got it, in EIP-55 form; absent where it creates a contract.
    to: Option<String>,
    /// The contract it created, in EIP-55 form.
    created_contract: Option<String>,
    /// What it carried, exactly, in wei.
    wei: String,
    /// The same in ether, or in whole coins of the chain.
    ether: String,
    /// Whether it failed. It is in the block and its gas is spent all the same.
    has_failed: bool,
    /// The sender's count of transactions before this one.
    nonce: Option<u64>,
    /// Its place in the block.
    transaction_index: Option<u64>,
    /// The most gas it was allowed.
    gas_limit: u64,
    /// The gas it used.
    gas_used: u64,
    /// What it paid for a unit of gas, in wei.
    gas_price_wei: String,
    /// The first four bytes of its input, which choose the contract's function.
    method_id: Option<String>,
    /// That function, where Etherscan knows its name.
    function_name: Option<String>,
    /// Its input, in hex.
    input: String,
}

/// A transaction as Etherscan writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    hash: String,
    #[serde(deserialize_with = "exact::count")]
    block_number: u64,
    #[serde(deserialize_with = "exact::count")]
    time_stamp: u64,
    #[serde(deserialize_with = "exact::count")]
    confirmations: u64,
    from: String,
    to: String,
    #[serde(default)]
    contract_address: String,
    #[serde(deserialize_with = "exact::whole")]
    value: String,
    #[serde(default, deserialize_with = "exact::text")]
    is_error: String,
    #[serde(default, rename = "txreceipt_status", deserialize_with = "exact::text")]
    receipt_status: String,
    #[serde(default, deserialize_with = "exact::count_some")]
    nonce: Option<u64>,
    #[serde(default, deserialize_with = "exact::count_some")]
    transaction_index: Option<u64>,
    #[serde(deserialize_with = "exact::count")]
    gas: u64,
    #[serde(deserialize_with = "exact::count")]
    gas_used: u64,
    #[serde(deserialize_with = "exact::whole")]
    gas_price: String,
    #[serde(default)]
    method_id: String,
    #[serde(default)]
    function_name: String,
    #[serde(default)]
    input: String,
}

impl window::Row for Row {
    fn block(&self) -> u64 {
        self.block_number
    }

    fn identity(&self) -> String {
        self.hash.clone()
    }
}

impl wallet::Movement for Row {
    fn confirmations(&self) -> u64 {
        self.confirmations
    }

    /// An account's list has a transaction once.
    fn is_unlike_others(&self) -> bool {
        true
    }

    fn transfer(self) -> Result<wallet::Transfer, Error> {
        let transaction = transaction(self)?;
        Ok(wallet::Transfer {
            hash: transaction.hash,
            log_index: None,
            block_number: transaction.block_number,
            time: transaction.time,
            confirmations: transaction.confirmations,
            from: transaction.from,
            to: transaction.to.or(transaction.created_contract),
            token: None,
            raw: transaction.wei,
            amount: Some(transaction.ether),
            has_failed: transaction.has_failed,
        })
    }
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<Transaction>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    let question = Question::new(input.chainid, "account", "txlist").with("address", input.address);
    rows::page(&question, &span, cursor, transaction)
}

fn transaction(row: Row) -> Result<Transaction, Error> {
    Ok(Transaction {
        ether: balances::ether(&row.value)?,
        hash: row.hash,
        block_number: row.block_number,
        time: rows::time(row.time_stamp),
        confirmations: row.confirmations,
        is_final: crate::is_final(row.confirmations),
        from: Address::shown(&row.from),
        to: Address::shown(&row.to),
        created_contract: Address::shown(&row.contract_address),
        wei: row.value,
        // Before the fork of October 2017 receipts had no status: then only `isError` tells.
        has_failed: row.is_error == "1" || row.receipt_status == "0",
        nonce: row.nonce,
        transaction_index: row.transaction_index,
        gas_limit: row.gas,
        gas_used: row.gas_used,
        gas_price_wei: row.gas_price,
        method_id: written(row.method_id),
        function_name: written(row.function_name),
        input: row.input,
    })
}

/// `None` where nothing is written; `0x` is nothing in hex.
fn written(text: String) -> Option<String> {
    Some(text).filter(|text| !matches!(text.as_str(), "" | "0x"))
}
