//! What an account holds of the chain's own currency.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, money};

use crate::{address::Address, answer::Question, exact};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
    address: Address,
    /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
}

/// A balance of the chain's own currency, in two units.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Balance {
    /// The account, in EIP-55 form.
    address: String,
    /// The chain's id.
    chainid: u64,
    /// The exact amount in wei.
    wei: String,
    /// The exact amount in ether, or in whole coins of the chain: 10^18 wei.
    ether: String,
}

#[derive(Deserialize)]
struct Wei(#[serde(deserialize_with = "exact::whole")] String);

pub(crate) fn find(input: Input) -> Result<Balance, Error> {
    let Wei(wei) = Question::new(input.chainid, "account", "balance")
        .with("address", input.address)
        .with("tag", "latest")
        .ask_one()?;
    let ether = ether(&wei)?;
    Ok(Balance { address: input.address.to_string(), chainid: input.chainid, wei, ether })
}

/// An amount of wei in whole coins, exactly.
pub(crate) fn ether(wei: &str) -> Result<String, Error> {
    money::units(wei, 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wei_to_ether_loses_nothing() {
        for (wei, expected) in [
            ("0", "0"),
            ("1", "0.000000000000000001"),
            ("1000000000000000000", "1"),
            ("610538078574759898951277", "610538.078574759898951277"),
            // The largest amount a contract can name, 2^256 - 1: beyond 128 bits.
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
                "115792089237316195423570985008687907853269984665640564039457.584007913129639935",
            ),
        ] {
            assert_eq!(ether(wei).as_deref(), Ok(expected));
        }
    }
}
