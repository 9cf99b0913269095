//! The newest block. Asked through `module=proxy`, which speaks JSON-RPC and counts in hex.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::Error;

use crate::answer::Question;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
}

/// A block by its number.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Block {
    /// The chain's id.
    chainid: u64,
    /// Its number.
    block_number: u64,
}

pub(crate) fn latest(input: Input) -> Result<Block, Error> {
    Ok(Block { chainid: input.chainid, block_number: newest(input.chainid)? })
}

/// The number of a chain's newest block.
pub(crate) fn newest(chainid: u64) -> Result<u64, Error> {
    let number: String = Question::new(chainid, "proxy", "eth_blockNumber").ask_one()?;
    number
        .strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Error::schema_violation("the block number is not the hex number it should be"))
}
