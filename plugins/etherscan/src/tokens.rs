//! What an account holds of ERC-20 tokens.

use schemars::JsonSchema;
use serde::Serialize;
use wharfage_sdk::page::PageNumber;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, http::Keep, money};

use crate::address::Address;
use crate::answer::Question;
use crate::record::{Of, Picked, pick_all, record};
use crate::{exact, window};

wharfage_sdk::input! {
    pub(crate) struct Input {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// The token's contract, likewise.
        contract: Address,
        /// The token's decimals, as 6 for USDC. When absent its contract is asked, which costs one more request a day.
        decimals: Option<u8>,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
    }
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
    /// The token's decimals, where they were given or the contract tells them.
    decimals: Option<u8>,
    /// The exact amount in whole tokens, where the decimals are known.
    amount: Option<String>,
}

pub(crate) fn balance(input: Input) -> Result<TokenBalance, Error> {
    let found = Question::new(input.chainid, "account", "tokenbalance")
        .with("contractaddress", input.contract)
        .with("address", input.address)
        .with("tag", "latest")
        .ask_one()?;
    let raw = found.number(exact::is_whole, "a whole number")?.to_owned();
    let decimals = match input.decimals {
        Some(decimals) => Some(decimals),
        None => decimals(input.chainid, input.contract)?,
    };
    let amount = decimals.map(|decimals| money::units(&raw, decimals)).transpose()?;
    Ok(TokenBalance {
        address: input.address.to_string(),
        contract: input.contract.to_string(),
        chainid: input.chainid,
        raw,
        decimals,
        amount,
    })
}

/// What an ERC-20 contract says of its decimals; the standard leaves it free to say nothing. They do not change.
fn decimals(chainid: u64, contract: Address) -> Result<Option<u8>, Error> {
    let question = Question::new(chainid, "proxy", "eth_call").with("to", contract).with("data", DECIMALS);
    match question.with("tag", "latest").keep(Keep::Seconds(86_400)).ask_one() {
        // `0x` alone is the answer of an account without a contract: nothing, and not zero.
        Ok(word) => {
            let word = Some(word.text()?).filter(|word| word.len() == WORD_LENGTH);
            Ok(word.and_then(exact::hex).and_then(|decimals| u8::try_from(decimals).ok()))
        }
        // The contract has no such function: what is known is the amount in its smallest unit.
        Err(error) if error.kind == ErrorKind::ProviderReported => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first four bytes of Keccak-256 of `decimals()`, <https://eips.ethereum.org/EIPS/eip-20>.
const DECIMALS: &str = "0x313ce567";

/// `0x` and the 32 bytes of a word.
const WORD_LENGTH: usize = 66;

wharfage_sdk::input! {
    /// Whose tokens.
    pub(crate) struct ListInput {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
        /// Rows per page, 1 to 100.
        #[schemars(range(min = 1, max = 100))]
        limit: u32 = window::limit(),
    }
}

record! {
    /// One of the tokens that an account holds.
    Holding {
        /// The token's contract, in EIP-55 form.
        contract: Option<String> = Address(Name::HeldAddress),
        /// What the contract calls the token. Anybody can make a contract and call its token anything.
        token_name: String = Maybe(Name::HeldName),
        /// Its symbol, likewise.
        token_symbol: String = Maybe(Name::HeldSymbol),
        /// Its decimals, where the contract tells them.
        decimals: Option<u8> = Decimals(Name::HeldDivisor),
        /// The exact amount in the token's smallest unit.
        raw: String = Whole(Name::HeldQuantity),
        /// The exact amount in whole tokens, where the decimals are known.
        amount: Option<String> = Amount(Name::HeldQuantity, Name::HeldDivisor),
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Holding>>, Error> {
    if !(1..=100).contains(&input.limit) {
        return Err(Error::invalid_request("/limit", "expected a number from 1 to 100"));
    }
    let at = PageNumber::resume(cursor, input.limit)?;
    let question = Question::new(input.chainid, "account", "addresstokenbalance").with("address", input.address);
    let rows = question.with("page", at.page()).with("offset", at.size()).rows(Of::Else)?;
    let next = at.advance(rows.len(), None)?;
    Page::new(pick_all(&rows)?, next.as_ref())
}
