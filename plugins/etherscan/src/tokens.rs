//! What an account holds of ERC-20 tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::page::PageNumber;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, http::Keep, money};

use crate::{address::Address, answer::Question, exact, window};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
    address: Address,
    /// The token's contract, likewise.
    contract: Address,
    /// The token's decimals, as 6 for USDC. When absent its contract is asked, which costs one more request a day.
    decimals: Option<u8>,
    /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
}

/// A balance of one token.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenBalance {
    /// The account, in EIP-55 form.
    address: String,
    /// The token's contract, in EIP-55 form.
    contract: String,
    /// The chain's id.
    chainid: u64,
    /// The exact amount in the token's smallest unit.
    raw: String,
    /// The token's decimals, where they were given or the contract tells them.
    decimals: Option<u8>,
    /// The exact amount in whole tokens, where the decimals are known.
    amount: Option<String>,
}

#[derive(Deserialize)]
struct Raw(#[serde(deserialize_with = "exact::whole")] String);

pub(crate) fn balance(input: Input) -> Result<TokenBalance, Error> {
    let Raw(raw) = Question::new(input.chainid, "account", "tokenbalance")
        .with("contractaddress", input.contract)
        .with("address", input.address)
        .with("tag", "latest")
        .ask_one()?;
    let decimals = match input.decimals {
        Some(decimals) => Some(decimals),
        None => decimals(input.chainid, input.contract)?,
    };
    let amount = decimals.map(|decimals| money::units(&raw, decimals)).transpose()?;
    Ok(TokenBalance {
        address: input.address.to_string(),
        contract: input.contract.to_string(),
        chainid: input.chainid,
        raw,
        decimals,
        amount,
    })
}

/// What an ERC-20 contract says of its decimals; the standard leaves it free to say nothing. They do not change.
fn decimals(chainid: u64, contract: Address) -> Result<Option<u8>, Error> {
    let question = Question::new(chainid, "proxy", "eth_call").with("to", contract).with("data", DECIMALS);
    match question.with("tag", "latest").keep(Keep::Seconds(86_400)).ask_one::<String>() {
        Ok(word) => Ok(exact::hex(&word).and_then(|decimals| u8::try_from(decimals).ok())),
        // The contract has no such function: what is known is the amount in its smallest unit.
        Err(error) if error.kind == ErrorKind::ProviderReported => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first four bytes of Keccak-256 of `decimals()`, <https://eips.ethereum.org/EIPS/eip-20>.
const DECIMALS: &str = "0x313ce567";

wharfage_sdk::input! {
    /// Whose tokens.
    pub(crate) struct ListInput {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
        /// Rows per page, 1 to 100.
        #[schemars(range(min = 1, max = 100))]
        limit: u32 = window::limit(),
    }
}

/// One of the tokens that an account holds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Holding {
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
}

/// A holding as Etherscan writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    token_address: String,
    #[serde(default)]
    token_name: String,
    #[serde(default)]
    token_symbol: String,
    #[serde(deserialize_with = "exact::whole")]
    token_quantity: String,
    /// The decimals, whatever its name says.
    #[serde(default, deserialize_with = "exact::count_some")]
    token_divisor: Option<u64>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Holding>, Error> {
    if !(1..=100).contains(&input.limit) {
        return Err(Error::invalid_request("/limit", "expected a number from 1 to 100"));
    }
    let at = PageNumber::resume(cursor, input.limit)?;
    let question = Question::new(input.chainid, "account", "addresstokenbalance").with("address", input.address);
    let rows: Option<Vec<Row>> = question.with("page", at.page()).with("offset", at.size()).ask()?;
    let rows = rows.unwrap_or_default();
    let next = at.advance(rows.len(), None)?;
    Page::new(rows.into_iter().map(holding).collect::<Result<_, _>>()?, next.as_ref())
}

fn holding(row: Row) -> Result<Holding, Error> {
    let decimals = row.token_divisor.and_then(|decimals| u8::try_from(decimals).ok());
    Ok(Holding {
        amount: decimals.map(|decimals| money::units(&row.token_quantity, decimals)).transpose()?,
        contract: Address::shown(&row.token_address),
        token_name: row.token_name,
        token_symbol: row.token_symbol,
        decimals,
        raw: row.token_quantity,
    })
}
