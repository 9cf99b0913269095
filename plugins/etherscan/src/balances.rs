//! What accounts hold of the chain's own currency.

use schemars::JsonSchema;
use serde::Serialize;
use wharfage_sdk::{Cursor, Error, Page, money};

use crate::address::Address;
use crate::answer::Question;
use crate::exact;
use crate::record::{Name, Of};

wharfage_sdk::input! {
    pub(crate) struct Input {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
    }
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

wharfage_sdk::input! {
    /// Which accounts.
    pub(crate) struct ListInput {
        /// The accounts, 1 to 1000 of them: 0x and 40 hex digits each.
        #[schemars(length(min = 1, max = 1000))]
        addresses: Vec<Address>,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
    }
}

pub(crate) fn find(input: Input) -> Result<Balance, Error> {
    let question = Question::new(input.chainid, "account", "balance").with("address", input.address);
    let found = question.with("tag", "latest").ask_one()?;
    balance(input.address.to_string(), input.chainid, found.number(exact::is_whole, "a whole number")?)
}

/// The next accounts that one request holds, in the order they were named.
pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Balance>, Error> {
    if !(1..=ADDRESSES_MAX).contains(&input.addresses.len()) {
        return Err(Error::invalid_request("/addresses", "expected 1 to 1000 addresses"));
    }
    let from: usize = cursor.map(|cursor| cursor.decode()).transpose()?.unwrap_or_default();
    let asked: Vec<String> = input.addresses.iter().skip(from).take(AT_ONCE).map(Address::to_string).collect();
    if asked.is_empty() {
        return Err(Error::cursor_invalid("the cursor belongs to another list; start again without it"));
    }
    let question = Question::new(input.chainid, "account", "balancemulti");
    let rows = question.with("address", asked.join(",")).with("tag", "latest").ask_one()?.rows(Of::Else)?;
    let next = (from + asked.len() < input.addresses.len()).then_some(from + asked.len());
    let found = |address: String| {
        let row = rows.iter().find(|row| row.written(Name::Account).eq_ignore_ascii_case(&address));
        let row = row.ok_or_else(|| Error::schema_violation("the answer leaves out an account that was asked for"))?;
        balance(address, input.chainid, row.whole(Name::Balance)?)
    };
    Page::new(asked.into_iter().map(found).collect::<Result<_, Error>>()?, next.as_ref())
}

fn balance(address: String, chainid: u64, wei: &str) -> Result<Balance, Error> {
    Ok(Balance { address, chainid, wei: wei.to_owned(), ether: ether(wei)? })
}

/// Accounts of one request. Source: docs.etherscan.io/api-reference/endpoint/balancemulti, 2026-11-24.
const AT_ONCE: usize = 20;
const ADDRESSES_MAX: usize = 1_000;

/// An amount of wei in whole coins, exactly.
fn ether(wei: &str) -> Result<String, Error> {
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
