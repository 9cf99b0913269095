//! Internal transactions: coins that a contract moved while it ran. They are no transactions of their own but steps of one,
//! and the only trace of a withdrawal from many a contract.

use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::record::{Of, Picked, record};
use crate::transactions::{self, Input};

record! {
    /// One step of a transaction that moved coins, made a contract or destroyed one.
    InternalTransaction {
        /// The hash of the transaction.
        hash: String = Text(Name::Hash),
        /// Which step of it, as `0_1_2`, where Etherscan tells it.
        trace_id: Option<String> = Written(Name::TraceId),
        /// `call`, `create`, `suicide` and their like.
        kind: String = Maybe(Name::Type),
        /// The block it is in.
        block_number: u64 = Count(Name::BlockNumber),
        /// When that block was made.
        time: Timestamp = Time,
        /// Who sent it, in EIP-55 form.
        from: Option<String> = Address(Name::From),
        /// Who got it, in EIP-55 form; absent where a contract was made.
        to: Option<String> = Address(Name::To),
        /// The contract that was made, in EIP-55 form.
        created_contract: Option<String> = MaybeAddress(Name::ContractAddress),
        /// What it carried, exactly, in wei.
        wei: String = Value,
        /// The same in ether, or in whole coins of the chain.
        ether: String = Ether,
        /// Whether the step failed: then nothing moved.
        has_failed: bool = Failed,
        /// Why it failed.
        error: Option<String> = Written(Name::ErrCode),
        /// The gas it used.
        gas_used: Option<u64> = MaybeCount(Name::GasUsed),
    }
}

pub(crate) fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<Picked<InternalTransaction>>, Error> {
    transactions::listed(input, "txlistinternal", Of::Steps, cursor)
}
