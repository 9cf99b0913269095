//! The newest block, asked through `module=proxy`, which speaks JSON-RPC and counts in hex; and the block of a time.

use schemars::JsonSchema;
use serde::Serialize;
use wharfage_sdk::{Error, Timestamp};

use crate::{answer::Question, exact};

wharfage_sdk::input! {
    pub(crate) struct Input {
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
    }
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
    let found = Question::new(chainid, "proxy", "eth_blockNumber").ask_one()?;
    let number = found.text()?;
    exact::hex(number)
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

wharfage_sdk::words! {
    /// Which of the two blocks around a time.
    #[derive(Clone, Copy, Default)]
    enum Closest {
        #[default]
        Before = "before",
        After = "after",
    }
}

pub(crate) fn by_time(input: ByTimeInput) -> Result<Block, Error> {
    let closest = match input.closest {
        Closest::Before => "before",
        Closest::After => "after",
    };
    let question = Question::new(input.chainid, "block", "getblocknobytime");
    let question = question.with("timestamp", input.time.as_ms().div_euclid(1000)).with("closest", closest);
    let found = question.ask_one()?;
    let block_number = exact::count(found.text()?).ok_or_else(|| found.misfit("a count"))?;
    Ok(Block { chainid: input.chainid, block_number })
}
