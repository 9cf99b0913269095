//! What a unit of gas costs now.
//!
//! The prices are gwei with a fraction, and in quiet hours nothing but a fraction: they stay texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::Error;

use crate::{answer::Question, exact};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The chain's id, as chains.list names it; Ethereum's main chain when absent. Not every chain has a gas oracle.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
}

/// Gas prices, exactly, in gwei: 10^9 wei.
#[derive(Serialize, JsonSchema)]
pub(crate) struct GasPrices {
    /// The chain's id.
    chainid: u64,
    /// The block after which this was so.
    last_block: u64,
    /// For who has time.
    safe_gwei: String,
    /// For most.
    standard_gwei: String,
    /// For who has not.
    fast_gwei: String,
    /// The base fee of the next block, where the chain has one.
    base_fee_gwei: Option<String>,
    /// How full the latest blocks were, the newest first, as shares of one.
    gas_used_ratios: Vec<String>,
}

/// The oracle's answer as Etherscan writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Oracle {
    #[serde(deserialize_with = "exact::count")]
    last_block: u64,
    #[serde(deserialize_with = "exact::decimal")]
    safe_gas_price: String,
    #[serde(alias = "StandardGasPrice", deserialize_with = "exact::decimal")]
    propose_gas_price: String,
    #[serde(deserialize_with = "exact::decimal")]
    fast_gas_price: String,
    #[serde(default, rename = "suggestBaseFee", deserialize_with = "exact::decimal_some")]
    base_fee: Option<String>,
    #[serde(default, rename = "gasUsedRatio", deserialize_with = "exact::text")]
    ratios: String,
}

pub(crate) fn find(input: Input) -> Result<GasPrices, Error> {
    let oracle: Oracle = Question::new(input.chainid, "gastracker", "gasoracle").ask_one()?;
    Ok(GasPrices {
        chainid: input.chainid,
        last_block: oracle.last_block,
        safe_gwei: oracle.safe_gas_price,
        standard_gwei: oracle.propose_gas_price,
        fast_gwei: oracle.fast_gas_price,
        base_fee_gwei: oracle.base_fee,
        gas_used_ratios: oracle
            .ratios
            .split(',')
            .map(str::trim)
            .filter(|ratio| !ratio.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
