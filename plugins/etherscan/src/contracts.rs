//! The ABI of a contract, which Etherscan writes as JSON inside a text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharfage_sdk::{Error, ErrorKind, http::Keep};

use crate::{address::Address, answer::Question};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The contract: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
    contract: Address,
    /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
}

/// How to call a contract.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Abi {
    /// The contract, in EIP-55 form.
    contract: String,
    /// The chain's id.
    chainid: u64,
    /// Its functions, events and errors, as the Solidity ABI describes them.
    abi: Vec<Value>,
}

pub(crate) fn abi(input: Input) -> Result<Abi, Error> {
    let text: String = Question::new(input.chainid, "contract", "getabi")
        .with("address", input.contract)
        .keep(KEPT)
        .ask_one()
        .map_err(|error| unverified(error, input.contract))?;
    let abi = serde_json::from_str(&text)
        .map_err(|_| Error::schema_violation("the ABI is not the JSON list it should be"))?;
    Ok(Abi { contract: input.contract.to_string(), chainid: input.chainid, abi })
}

fn unverified(mut error: Error, contract: Address) -> Error {
    if error.kind == ErrorKind::ProviderReported && error.message.contains(UNVERIFIED) {
        error.kind = ErrorKind::NotFound;
        error.message = format!("the source of {contract} is not verified on Etherscan, so there is no ABI of it");
    }
    error
}

/// The code at an address does not change, nor does its ABI; a day and not for ever, because a contract that destroyed
/// itself may be made again with other code.
const KEPT: Keep = Keep::Seconds(86_400);

/// What Etherscan says of a contract without source, and of an account that is no contract.
const UNVERIFIED: &str = "source code not verified";
