//! Internal transactions: coins that a contract moved while it ran. They are no transactions of their own but steps of one,
//! and the only trace of a withdrawal from many a contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::{
    address::Address,
    answer::Question,
    balances, exact, rows,
    transactions::Input,
    wallet,
    window::{self, Span},
};

/// One step of a transaction that moved coins, made a contract or destroyed one.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InternalTransaction {
    /// The hash of the transaction.
    hash: String,
    /// Which step of it, as `0_1_2`, where Etherscan tells it.
    trace_id: Option<String>,
    /// `call`, `create`, `suicide` and their like.
    kind: String,
    /// The block it is in.
    block_number: u64,
    /// When that block was made.
    time: Timestamp,
    /// Who sent it, in EIP-55 form.
    from: Option<String>,
    /// Who got it, in EIP-55 form; absent where a contract was made.
    to: Option<String>,
    /// The contract that was made, in EIP-55 form.
    created_contract: Option<String>,
    /// What it carried, exactly, in wei.
    wei: String,
    /// The same in ether, or in whole coins of the chain.
    ether: String,
    /// Whether the step failed: then nothing moved.
    has_failed: bool,
    /// Why it failed.
    error: Option<String>,
    /// The gas it used.
    gas_used: Option<u64>,
}

/// A step as Etherscan writes it. It does not say how many blocks are on top.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    hash: String,
    #[serde(default, deserialize_with = "exact::text")]
    trace_id: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(deserialize_with = "exact::count")]
    block_number: u64,
    #[serde(deserialize_with = "exact::count")]
    time_stamp: u64,
    from: String,
    to: String,
    #[serde(default)]
    contract_address: String,
    #[serde(deserialize_with = "exact::whole")]
    value: String,
    #[serde(default, deserialize_with = "exact::text")]
    is_error: String,
    #[serde(default)]
    err_code: String,
    #[serde(default, deserialize_with = "exact::count_some")]
    gas_used: Option<u64>,
    /// The newest block, noted by the wallet monitor.
    #[serde(skip)]
    head: u64,
}

impl window::Row for Row {
    fn block(&self) -> u64 {
        self.block_number
    }

    fn identity(&self) -> String {
        let parts = [&self.hash, &self.trace_id, &self.kind, &self.from, &self.to, &self.contract_address, &self.value];
        parts.map(String::as_str).join(" ")
    }
}

impl wallet::Movement for Row {
    const COUNTS_CONFIRMATIONS: bool = false;

    fn confirmations(&self) -> u64 {
        self.head.saturating_sub(self.block_number)
    }

    fn note_head(&mut self, head: u64) {
        self.head = head;
    }

    /// A step has a place of its own in its transaction.
    fn is_unlike_others(&self) -> bool {
        !self.trace_id.is_empty()
    }

    fn transfer(self) -> Result<wallet::Transfer, Error> {
        let confirmations = self.confirmations();
        let step = step(self)?;
        Ok(wallet::Transfer {
            hash: step.hash,
            log_index: None,
            block_number: step.block_number,
            time: step.time,
            confirmations,
            from: step.from,
            to: step.to.or(step.created_contract),
            token: None,
            raw: step.wei,
            amount: Some(step.ether),
            has_failed: step.has_failed,
        })
    }
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<InternalTransaction>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    let question = Question::new(input.chainid, "account", "txlistinternal").with("address", input.address);
    rows::page(&question, &span, cursor, step)
}

fn step(row: Row) -> Result<InternalTransaction, Error> {
    Ok(InternalTransaction {
        ether: balances::ether(&row.value)?,
        hash: row.hash,
        trace_id: written(row.trace_id),
        kind: row.kind,
        block_number: row.block_number,
        time: rows::time(row.time_stamp),
        from: Address::shown(&row.from),
        to: Address::shown(&row.to),
        created_contract: Address::shown(&row.contract_address),
        wei: row.value,
        has_failed: row.is_error == "1",
        error: written(row.err_code),
        gas_used: row.gas_used,
    })
}

fn written(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
