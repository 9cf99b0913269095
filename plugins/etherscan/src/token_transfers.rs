//! Transfers of tokens of an account: of ERC-20, and of ERC-721 and ERC-1155, whose tokens differ from each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Timestamp, money};

use crate::{
    address::Address,
    answer::Question,
    exact, rows, wallet,
    window::{self, Sort, Span},
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
    address: Address,
    /// The contract of the one token that counts; all tokens when absent.
    contract: Option<Address>,
    /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
    /// The first block that counts.
    #[serde(default)]
    start_block: u64,
    /// The last block that counts; the newest one when absent.
    end_block: Option<u64>,
    /// Which end of the chain comes first; `desc` when absent.
    #[serde(default)]
    sort: Sort,
    /// Rows per page, 1 to 1000.
    #[serde(default = "window::limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// One transfer. A transaction may hold many.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenTransfer {
    /// The hash of its transaction.
    hash: String,
    /// Its place among the block's log entries, where the chain's answer tells it.
    log_index: Option<u64>,
    /// The block it is in.
    block_number: u64,
    /// When that block was made.
    time: Timestamp,
    /// How many blocks there were on top when Etherscan answered.
    confirmations: u64,
    /// Whether these are at least 12.
    is_final: bool,
    /// Whose tokens they were, in EIP-55 form; the zero address where they were made.
    from: Option<String>,
    /// Whose they are now, in EIP-55 form; the zero address where they were destroyed.
    to: Option<String>,
    /// The token's contract, in EIP-55 form.
    contract: Option<String>,
    /// What the contract calls the token. Anybody can make a contract and call its token anything.
    token_name: String,
    /// Its symbol, likewise.
    token_symbol: String,
    /// Its decimals, where the contract tells them.
    decimals: Option<u8>,
    /// The exact amount in the token's smallest unit.
    raw: String,
    /// The exact amount in whole tokens, where the decimals are known.
    amount: Option<String>,
    /// The transaction's place in the block.
    transaction_index: Option<u64>,
    /// The gas its transaction used.
    gas_used: u64,
    /// What its transaction paid for a unit of gas, in wei.
    gas_price_wei: String,
}

/// A transfer as Etherscan writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    hash: String,
    #[serde(default, deserialize_with = "exact::count_some")]
    log_index: Option<u64>,
    #[serde(deserialize_with = "exact::count")]
    block_number: u64,
    #[serde(deserialize_with = "exact::count")]
    time_stamp: u64,
    #[serde(deserialize_with = "exact::count")]
    confirmations: u64,
    from: String,
    to: String,
    contract_address: String,
    #[serde(default, rename = "tokenID", deserialize_with = "exact::text")]
    token_id: String,
    #[serde(default)]
    token_name: String,
    #[serde(default)]
    token_symbol: String,
    #[serde(default, deserialize_with = "exact::count_some")]
    token_decimal: Option<u64>,
    // ERC-1155 has its own name for it, and of an ERC-721 token there is one.
    #[serde(default = "one", alias = "tokenValue", deserialize_with = "exact::whole")]
    value: String,
    #[serde(default, deserialize_with = "exact::count_some")]
    transaction_index: Option<u64>,
    #[serde(deserialize_with = "exact::count")]
    gas_used: u64,
    #[serde(deserialize_with = "exact::whole")]
    gas_price: String,
}

fn one() -> String {
    "1".to_owned()
}

impl window::Row for Row {
    fn block(&self) -> u64 {
        self.block_number
    }

    /// The log index is enough where it is told. Where it is not, two transfers of one transaction may look alike; the
    /// window counts them.
    fn identity(&self) -> String {
        match self.log_index {
            // One entry of a batch is told as several rows.
            Some(index) if self.token_id.is_empty() => format!("{} {index}", self.hash),
            _ => {
                let parts = [&self.hash, &self.contract_address, &self.from, &self.to, &self.value, &self.token_id];
                parts.map(String::as_str).join(" ").trim_end().to_owned()
            }
        }
    }
}

impl wallet::Movement for Row {
    fn confirmations(&self) -> u64 {
        self.confirmations
    }

    fn is_unlike_others(&self) -> bool {
        self.log_index.is_some() && self.token_id.is_empty()
    }

    fn transfer(mut self) -> Result<wallet::Transfer, Error> {
        let id = Some(std::mem::take(&mut self.token_id)).filter(|id| !id.is_empty());
        let transfer = transfer(self)?;
        Ok(wallet::Transfer {
            hash: transfer.hash,
            log_index: transfer.log_index,
            block_number: transfer.block_number,
            time: transfer.time,
            confirmations: transfer.confirmations,
            from: transfer.from,
            to: transfer.to,
            token: Some(wallet::Token {
                contract: transfer.contract,
                id,
                name: transfer.token_name,
                symbol: transfer.token_symbol,
                decimals: transfer.decimals,
            }),
            raw: transfer.raw,
            amount: transfer.amount,
            // A transaction that failed moved no tokens and has no such row.
            has_failed: false,
        })
    }
}

wharfage_sdk::input! {
    /// Which NFTs' transfers.
    pub(crate) struct NftInput {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// Which kind; `erc721` when absent. Each is a list of its own at Etherscan.
        #[serde(default)]
        standard: Standard,
        /// The contract whose tokens count; all when absent.
        contract: Option<Address>,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
        /// The first block that counts.
        #[serde(default)]
        start_block: u64,
        /// The last block that counts; the newest one when absent.
        end_block: Option<u64>,
        /// Which end of the chain comes first; `desc` when absent.
        #[serde(default)]
        sort: Sort,
        /// Rows per page, 1 to 1000.
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = window::limit(),
    }
}

/// A standard for tokens that differ from each other.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standard {
    /// Each token is one of its kind.
    #[default]
    Erc721,
    /// A token may be there several times.
    Erc1155,
}

/// One transfer of an NFT.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NftTransfer {
    /// The hash of its transaction.
    hash: String,
    /// The block it is in.
    block_number: u64,
    /// When that block was made.
    time: Timestamp,
    /// How many blocks there were on top when Etherscan answered.
    confirmations: u64,
    /// Whether these are at least 12.
    is_final: bool,
    /// Whose it was, in EIP-55 form; the zero address where it was made.
    from: Option<String>,
    /// Whose it is now, in EIP-55 form; the zero address where it was destroyed.
    to: Option<String>,
    /// The contract, in EIP-55 form.
    contract: Option<String>,
    /// What the contract calls the token. Anybody can make a contract and call its token anything.
    token_name: String,
    /// Its symbol, likewise.
    token_symbol: String,
    /// The token's id: a whole number that may be longer than any integer type.
    token_id: String,
    /// How many of it; 1 for ERC-721.
    amount: String,
}

pub(crate) fn list_nfts(input: NftInput, cursor: Option<Cursor>) -> Result<Page<NftTransfer>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    let action = match input.standard {
        Standard::Erc721 => "tokennfttx",
        Standard::Erc1155 => "token1155tx",
    };
    let question = asked(input.chainid, action, input.address, input.contract);
    rows::page(&question, &span, cursor, nft)
}

fn nft(row: Row) -> Result<NftTransfer, Error> {
    Ok(NftTransfer {
        hash: row.hash,
        block_number: row.block_number,
        time: rows::time(row.time_stamp),
        confirmations: row.confirmations,
        is_final: crate::is_final(row.confirmations),
        from: Address::shown(&row.from),
        to: Address::shown(&row.to),
        contract: Address::shown(&row.contract_address),
        token_name: row.token_name,
        token_symbol: row.token_symbol,
        token_id: row.token_id,
        amount: row.value,
    })
}

fn asked(chainid: u64, action: &'static str, address: Address, contract: Option<Address>) -> Question {
    let mut question = Question::new(chainid, "account", action).with("address", address);
    if let Some(contract) = contract {
        question = question.with("contractaddress", contract);
    }
    question
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<TokenTransfer>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    let question = asked(input.chainid, "tokentx", input.address, input.contract);
    rows::page(&question, &span, cursor, transfer)
}

fn transfer(row: Row) -> Result<TokenTransfer, Error> {
    let decimals = row.token_decimal.and_then(|decimals| u8::try_from(decimals).ok());
    Ok(TokenTransfer {
        amount: decimals.map(|decimals| money::units(&row.value, decimals)).transpose()?,
        hash: row.hash,
        log_index: row.log_index,
        block_number: row.block_number,
        time: rows::time(row.time_stamp),
        confirmations: row.confirmations,
        is_final: crate::is_final(row.confirmations),
        from: Address::shown(&row.from),
        to: Address::shown(&row.to),
        contract: Address::shown(&row.contract_address),
        token_name: row.token_name,
        token_symbol: row.token_symbol,
        decimals,
        raw: row.value,
        transaction_index: row.transaction_index,
        gas_used: row.gas_used,
        gas_price_wei: row.gas_price,
    })
}
