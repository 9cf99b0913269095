//! Transactions of an account.

use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::{
    address::Address,
    answer::Question,
    record::{Of, Picked, Table, record},
    rows,
    window::{self, Sort, Span},
};

wharfage_sdk::input! {
    /// Whose, and of which blocks.
    pub(crate) struct Input {
        /// The account: 0x and 40 hex digits; in mixed case its EIP-55 checksum must be right.
        pub(crate) address: Address,
        /// The chain's id, as chains.list names it; Ethereum's main chain when absent.
        pub(crate) chainid: u64 = crate::mainnet(),
        /// The first block that counts.
        #[serde(default)]
        pub(crate) start_block: u64,
        /// The last block that counts; the newest one when absent.
        pub(crate) end_block: Option<u64>,
        /// Which end of the chain comes first; `desc` when absent.
        #[serde(default)]
        pub(crate) sort: Sort,
        /// Rows per page, 1 to 1000.
        #[schemars(range(min = 1, max = 1000))]
        pub(crate) limit: u32 = window::limit(),
    }
}

record! {
    /// One transaction.
    Transaction {
        /// Its hash.
        hash: String = Text(Name::Hash),
        /// The block it is in.
        block_number: u64 = Count(Name::BlockNumber),
        /// When that block was made.
        time: Timestamp = Time,
        /// How many blocks there were on top when Etherscan answered.
        confirmations: u64 = Confirmations,
        /// Whether these are at least 12.
        is_final: bool = Final,
        /// Who sent it, in EIP-55 form; `GENESIS` for what was there in the first block.
        from: Option<String> = Address(Name::From),
        /// Who got it, in EIP-55 form; absent where it creates a contract.
        to: Option<String> = Address(Name::To),
        /// The contract it created, in EIP-55 form.
        created_contract: Option<String> = MaybeAddress(Name::ContractAddress),
        /// What it carried, exactly, in wei.
        wei: String = Value,
        /// The same in ether, or in whole coins of the chain.
        ether: String = Ether,
        /// Whether it failed. It is in the block and its gas is spent all the same.
        has_failed: bool = Failed,
        /// The sender's count of transactions before this one.
        nonce: Option<u64> = MaybeCount(Name::Nonce),
        /// Its place in the block.
        transaction_index: Option<u64> = MaybeCount(Name::TransactionIndex),
        /// The most gas it was allowed.
        gas_limit: u64 = Count(Name::Gas),
        /// The gas it used.
        gas_used: u64 = Count(Name::GasUsed),
        /// What it paid for a unit of gas, in wei.
        gas_price_wei: String = Whole(Name::GasPrice),
        /// The first four bytes of its input, which choose the contract's function.
        method_id: Option<String> = Written(Name::MethodId),
        /// That function, where Etherscan knows its name.
        function_name: Option<String> = Written(Name::FunctionName),
        /// Its input, in hex.
        input: String = Maybe(Name::Input),
    }
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<Picked<Transaction>>, Error> {
    listed(input, "txlist", Of::Transactions, cursor)
}

/// What is asked by an account and lies in blocks.
pub(crate) fn listed<T: Table>(
    input: Input,
    action: &'static str,
    of: Of,
    cursor: Option<Cursor>,
) -> Result<Page<Picked<T>>, Error> {
    let span = Span::checked(input.start_block, input.end_block, input.sort, input.limit)?;
    rows::page(Question::new(input.chainid, "account", action).with("address", input.address), of, &span, cursor)
}
