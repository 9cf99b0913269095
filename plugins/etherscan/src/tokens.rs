//! What an account holds of an ERC-20 token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, money};

use crate::{address::Address, answer::Question, exact};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
    address: Address,
    /// The token's contract, likewise.
    contract: Address,
    /// The token's decimals, as 6 for USDC. Etherscan does not tell them here; with them `amount` is answered too.
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
    /// The exact amount in whole tokens, where the decimals were given.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    let amount = input.decimals.map(|decimals| money::units(&raw, decimals)).transpose()?;
    Ok(TokenBalance {
        address: input.address.to_string(),
        contract: input.contract.to_string(),
        chainid: input.chainid,
        raw,
        amount,
    })
}
