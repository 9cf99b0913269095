//! What a unit of gas costs now.
//!
//! The prices are gwei with a fraction, and in quiet hours nothing but a fraction: they stay texts.

use schemars::JsonSchema;
use serde::Serialize;
use wharfage_sdk::Error;

use crate::answer::Question;
use crate::record::Name;

wharfage_sdk::input! {
    pub(crate) struct Input {
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent. Not every chain has a gas oracle.
        chainid: u64 = crate::mainnet(),
    }
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

pub(crate) fn find(input: Input) -> Result<GasPrices, Error> {
    let oracle = Question::new(input.chainid, "gastracker", "gasoracle").ask_one()?.row()?;
    let has_standard = !oracle.written(Name::StandardGasPrice).is_empty();
    let has_base_fee = !oracle.written(Name::BaseFee).is_empty();
    let gwei = |name| oracle.decimal(name).map(str::to_owned);
    let ratios = oracle.written(Name::GasUsedRatio).split(',').map(str::trim).filter(|ratio| !ratio.is_empty());
    Ok(GasPrices {
        chainid: input.chainid,
        last_block: oracle.count(Name::LastBlock)?,
        safe_gwei: gwei(Name::SafeGasPrice)?,
        standard_gwei: gwei(if has_standard { Name::StandardGasPrice } else { Name::ProposeGasPrice })?,
        fast_gwei: gwei(Name::FastGasPrice)?,
        base_fee_gwei: if has_base_fee { Some(gwei(Name::BaseFee)?) } else { None },
        gas_used_ratios: ratios.map(str::to_owned).collect(),
    })
}
