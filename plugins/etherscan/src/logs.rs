//! What contracts wrote into the log: events, by who wrote them, what they are about, and when.
//!
//! Etherscan answers them oldest first and in hex, and where a number is zero it writes `0x`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::{
    address::Address,
    answer::Question,
    record::{Of, Picked, record},
    rows,
    window::{self, Sort, Span},
};

wharfage_sdk::input! {
    pub(crate) struct Input {
        /// The contract that wrote them; any when absent, and then topics must be given.
        address: Option<Address>,
        /// What the event is about: its signature's hash first, then its indexed values, each 0x and 64 hex digits. `null`
        /// stands for any. At most four.
        #[serde(default)]
        #[schemars(length(max = 4))]
        topics: Vec<Option<Word>>,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
        /// The first block that counts.
        #[serde(default)]
        start_block: u64,
        /// The last block that counts; the newest one when absent.
        end_block: Option<u64>,
        /// Rows per page, 1 to 1000.
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = window::limit(),
    }
}

/// 32 bytes in hex.
pub(crate) struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_word =
            text.len() == 66 && text.starts_with("0x") && text.bytes().skip(2).all(|digit| digit.is_ascii_hexdigit());
        if is_word {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(D::Error::custom("no topic, expected 0x and 64 hex digits"))
        }
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"})
    }
}

record! {
    /// One entry of the log.
    Log {
        /// The contract that wrote it, in EIP-55 form.
        address: Option<String> = Address(Name::Address),
        /// What it is about: the hash of the event's signature, then its indexed values.
        topics: Vec<String> = Topics,
        /// Its other values, in hex, as the contract's ABI says.
        data: String = Maybe(Name::Data),
        /// The block it is in.
        block_number: u64 = Count(Name::BlockNumber),
        /// When that block was made.
        time: Timestamp = Time,
        /// Its place among the block's log entries.
        log_index: u64 = Count(Name::LogIndex),
        /// The hash of its transaction.
        transaction_hash: String = Text(Name::TransactionHash),
        /// The transaction's place in the block.
        transaction_index: u64 = Count(Name::TransactionIndex),
        /// The gas that the transaction used.
        gas_used: u64 = Count(Name::GasUsed),
    }
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<Picked<Log>>, Error> {
    let span = Span::checked(input.start_block, input.end_block, Sort::Asc, input.limit)?;
    rows::page(question(&input)?, Of::Logs, &span, cursor)
}

fn question(input: &Input) -> Result<Question, Error> {
    let mut question = Question::new(input.chainid, "logs", "getLogs");
    if let Some(address) = input.address {
        question = question.with("address", address);
    }
    if input.topics.len() > TOPICS.len() {
        return Err(Error::invalid_request("/topics", "expected at most 4 topics"));
    }
    let given: Vec<(usize, &Word)> =
        input.topics.iter().enumerate().filter_map(|(at, topic)| Some((at, topic.as_ref()?))).collect();
    if given.is_empty() && input.address.is_none() {
        return Err(Error::invalid_request("", "expected an address or topics"));
    }
    for (at, topic) in &given {
        question = question.with(TOPICS[*at], &topic.0);
    }
    // Between any two topics it must be said that both count.
    for (place, (left, _)) in given.iter().enumerate() {
        for (right, _) in &given[place + 1..] {
            question = question.with(BETWEEN[left + right - 1 + usize::from(*left > 0)], "and");
        }
    }
    Ok(question)
}

const TOPICS: [&str; 4] = ["topic0", "topic1", "topic2", "topic3"];

/// By the sum of the two places: 0_1, 0_2, 0_3, then 1_2, 1_3 and 2_3.
const BETWEEN: [&str; 6] =
    ["topic0_1_opr", "topic0_2_opr", "topic0_3_opr", "topic1_2_opr", "topic1_3_opr", "topic2_3_opr"];
