//! Transfers of tokens of an account: of ERC-20, and of ERC-721 and ERC-1155, whose tokens differ from each other.

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
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// The contract of the one token that counts; all tokens when absent.
        contract: Option<Address>,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
        /// The first block that counts.
        #[serde(default)]
        start_block: u64,
        /// The last block that counts; the newest one when absent.
        end_block: Option<u64>,
        /// Which end of the chain comes first; `desc` when absent.
        #[serde(default)]
        sort: Sort,
        /// Rows per page, 1 to 1000.
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = window::limit(),
    }
}

record! {
    /// One transfer. A transaction may hold many.
    TokenTransfer {
        /// The hash of its transaction.
        hash: String = Text(Name::Hash),
        /// Its place among the block's log entries, where the chain's answer tells it.
        log_index: Option<u64> = MaybeCount(Name::LogIndex),
        /// The block it is in.
        block_number: u64 = Count(Name::BlockNumber),
        /// When that block was made.
        time: Timestamp = Time,
        /// How many blocks there were on top when Etherscan answered.
        confirmations: u64 = Confirmations,
        /// Whether these are at least 12.
        is_final: bool = Final,
        /// Whose tokens they were, in EIP-55 form; the zero address where they were made.
        from: Option<String> = Address(Name::From),
        /// Whose they are now, in EIP-55 form; the zero address where they were destroyed.
        to: Option<String> = Address(Name::To),
        /// The token's contract, in EIP-55 form.
        contract: Option<String> = Address(Name::ContractAddress),
        /// What the contract calls the token. Anybody can make a contract and call its token anything.
        token_name: String = Maybe(Name::TokenName),
        /// Its symbol, likewise.
        token_symbol: String = Maybe(Name::TokenSymbol),
        /// Its decimals, where the contract tells them.
        decimals: Option<u8> = Decimals(Name::TokenDecimal),
        /// The exact amount in the token's smallest unit.
        raw: String = Value,
        /// The exact amount in whole tokens, where the decimals are known.
        amount: Option<String> = Amount(Name::Value, Name::TokenDecimal),
        /// The transaction's place in the block.
        transaction_index: Option<u64> = MaybeCount(Name::TransactionIndex),
        /// The gas its transaction used.
        gas_used: u64 = Count(Name::GasUsed),
        /// What its transaction paid for a unit of gas, in wei.
        gas_price_wei: String = Whole(Name::GasPrice),
    }
}

wharfage_sdk::input! {
    /// Which NFTs' transfers.
    pub(crate) struct NftInput {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        address: Address,
        /// Which kind; `erc721` when absent. Each is a list of its own at Etherscan.
        #[serde(default)]
        standard: Standard,
        /// The contract whose tokens count; all when absent.
        contract: Option<Address>,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        chainid: u64 = crate::mainnet(),
        /// The first block that counts.
        #[serde(default)]
        start_block: u64,
        /// The last block that counts; the newest one when absent.
        end_block: Option<u64>,
        /// Which end of the chain comes first; `desc` when absent.
        #[serde(default)]
        sort: Sort,
        /// Rows per page, 1 to 1000.
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = window::limit(),
    }
}

wharfage_sdk::words! {
    /// A standard for tokens that differ from each other.
    #[derive(Clone, Copy, Default)]
    pub(crate) enum Standard {
        /// Each token is one of its kind.
        #[default]
        Erc721 = "erc721",
        /// A token may be there several times.
        Erc1155 = "erc1155",
    }
}

record! {
    /// One transfer of an NFT.
    NftTransfer {
        /// The hash of its transaction.
        hash: String = Text(Name::Hash),
        /// The block it is in.
        block_number: u64 = Count(Name::BlockNumber),
        /// When that block was made.
        time: Timestamp = Time,
        /// How many blocks there were on top when Etherscan answered.
        confirmations: u64 = Confirmations,
        /// Whether these are at least 12.
        is_final: bool = Final,
        /// Whose it was, in EIP-55 form; the zero address where it was made.
        from: Option<String> = Address(Name::From),
        /// Whose it is now, in EIP-55 form; the zero address where it was destroyed.
        to: Option<String> = Address(Name::To),
        /// The contract, in EIP-55 form.
        contract: Option<String> = Address(Name::ContractAddress),
        /// What the contract calls the token. Anybody can make a contract and call its token anything.
        token_name: String = Maybe(Name::TokenName),
        /// Its symbol, likewise.
        token_symbol: String = Maybe(Name::TokenSymbol),
        /// The token's id: a whole number that may be longer than any integer type.
        token_id: String = Maybe(Name::TokenId),
        /// How many of it; 1 for ERC-721.
        amount: String = Value,
    }
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<Picked<TokenTransfer>>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    rows::page(asked(input.chainid, "tokentx", input.address, input.contract), Of::Tokens, &span, cursor)
}

pub(crate) fn list_nfts(input: NftInput, cursor: Option<Cursor>) -> Result<Page<Picked<NftTransfer>>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    let action = match input.standard {
        Standard::Erc721 => "tokennfttx",
        Standard::Erc1155 => "token1155tx",
    };
    rows::page(asked(input.chainid, action, input.address, input.contract), Of::Tokens, &span, cursor)
}

fn asked(chainid: u64, action: &'static str, address: Address, contract: Option<Address>) -> Question {
    let question = Question::new(chainid, "account", action).with("address", address);
    match contract {
        Some(contract) => question.with("contractaddress", contract),
        None => question,
    }
}
