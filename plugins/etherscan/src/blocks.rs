//! The newest block, asked through `module=proxy`, which speaks JSON-RPC and counts in hex; and the block of a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, Timestamp};

use crate::{answer::Question, exact};

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
    exact::hex(&number)
        .filter(|_| number.len() > 2)
        .ok_or_else(|| Error::schema_violation("the block number is not the hex number it should be"))
}

wharfage_sdk::input! {
    /// At what time.
    pub(crate) struct ByTimeInput {
        /// The time, to the second.
        time: Timestamp,
        /// Whether the block before that time is meant or the one after it; `before` when absent.
        #[serde(default)]
        closest: Closest,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
    }
}

/// Which of the two blocks around a time.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Closest {
    #[default]
    Before,
    After,
}

#[derive(Deserialize)]
struct Number(#[serde(deserialize_with = "exact::count")] u64);

pub(crate) fn by_time(input: ByTimeInput) -> Result<Block, Error> {
    let closest = match input.closest {
        Closest::Before => "before",
        Closest::After => "after",
    };
    let question = Question::new(input.chainid, "block", "getblocknobytime");
    let question = question.with("timestamp", input.time.as_ms().div_euclid(1000)).with("closest", closest);
    let Number(block_number) = question.ask_one()?;
    Ok(Block { chainid: input.chainid, block_number })
}
