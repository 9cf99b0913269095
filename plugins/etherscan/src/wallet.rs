//! `polls.wallet`: what comes to the watched accounts and what leaves them, once it is final: coins, whether a transaction
//! or a contract moved them, tokens and NFTs, on one chain or several.
//!
//! Each account has a list for each of these, and each list a place in the cursor: the last block that was read, which is read again
//! until it is settled. A transfer is named by what the chain says of it, and the host emits a name once, so reading
//! again costs nothing and loses nothing. Only rows with enough blocks on top count: what another chain of blocks may
//! still replace is left for the next run.

mod lane;

use serde::{Deserialize, Serialize};
use wharfage_sdk::{
    Error,
    events::{Emission, Event, Outcome, Poll, Start, Trigger},
    json::{self, Any},
};

use crate::address::Address;
use crate::answer::Question;
use crate::entries::Entries;
use crate::record::{Field, Kind, Name, Of, Row};
use crate::{blocks, window};
use lane::{Lane, ROWS};

/// Takes what the host hands over.
///
/// # Errors
/// Etherscan's, or `invalid-request` for an input that is none.
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Poll(poll) if poll.name == "wallet" => watch(poll, event.kept()?.unwrap_or_default()),
        _ => Err(Error::internal("this plugin has one trigger, the poll `wallet`")),
    }
}

wharfage_sdk::input! {
    /// `[connections.<name>.polls.wallet.input]`.
    struct Input {
        /// The accounts.
        addresses: Vec<Address>,
        /// The chain's id.
        chainid: u64 = crate::mainnet(),
        /// The ids of several chains, instead.
        #[serde(default)]
        chainids: Vec<u64>,
        /// Blocks on top after which a transfer counts: the custom of Ethereum's years of proof of work.
        confirmations: u64 = 12,
        /// Whether tokens count.
        tokens: bool = true,
        /// Whether coins count that a contract moved.
        internal: bool = true,
        /// Whether NFTs count.
        nfts: bool = true,
    }
}

/// How far the lists are read; the cursor.
#[derive(Default, Deserialize, Serialize)]
struct Round {
    lanes: Entries<Lane>,
    /// The last list that this run is done with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<String>,
}

/// One list of an account.
#[derive(Clone, Copy)]
struct List {
    chainid: u64,
    address: Address,
    asset: Asset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asset {
    Coin,
    Internal,
    Token,
    Erc721,
    Erc1155,
}

impl Asset {
    const ALL: [Self; 5] = [Self::Coin, Self::Internal, Self::Token, Self::Erc721, Self::Erc1155];

    /// Its name in the cursor and in events, and the action that lists it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Coin => ("coin", "txlist"),
            Self::Internal => ("internal", "txlistinternal"),
            Self::Token => ("token", "tokentx"),
            Self::Erc721 => ("erc721", "tokennfttx"),
            Self::Erc1155 => ("erc1155", "token1155tx"),
        }
    }

    /// What its rows are, and what an event says of one.
    fn rows(self) -> (Of, &'static [Field]) {
        match self {
            Self::Coin => (Of::Transactions, COINS),
            Self::Internal => (Of::Steps, COINS),
            Self::Token | Self::Erc721 | Self::Erc1155 => (Of::Tokens, TOKENS),
        }
    }
}

/// The newest block of each chain that was asked for it, in one call.
type Heads = Vec<(u64, u64)>;

/// A row of such a list.
pub(crate) trait Movement: window::Row {
    /// How many blocks there were on top.
    fn confirmations(&self) -> u64;
    /// Whether no other row of its block can look like it.
    fn is_unlike_others(&self) -> bool;
}

impl Movement for Row {
    fn confirmations(&self) -> u64 {
        self.confirmations()
    }

    fn is_unlike_others(&self) -> bool {
        self.is_unlike_others()
    }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

/// What an event says of coins that moved. Where a contract was made, it is the receiver.
const COINS: &[Field] = &[
    field("hash", Kind::Text(Name::Hash)),
    field("log_index", Kind::Nothing),
    field("block_number", Kind::Count(Name::BlockNumber)),
    field("time", Kind::Time),
    field("confirmations", Kind::Confirmations),
    field("from", Kind::Address(Name::From)),
    field("to", Kind::Receiver),
    field("token", Kind::Nothing),
    field("raw", Kind::Value),
    field("amount", Kind::Ether),
    field("has_failed", Kind::Failed),
];

/// What it says of tokens. A transaction that failed moved none and has no such row.
const TOKENS: &[Field] = &[
    field("hash", Kind::Text(Name::Hash)),
    field("log_index", Kind::MaybeCount(Name::LogIndex)),
    field("block_number", Kind::Count(Name::BlockNumber)),
    field("time", Kind::Time),
    field("confirmations", Kind::Confirmations),
    field("from", Kind::Address(Name::From)),
    field("to", Kind::Address(Name::To)),
    field("token", Kind::Record(TOKEN)),
    field("raw", Kind::Value),
    field("amount", Kind::Amount(Name::Value, Name::TokenDecimal)),
    field("has_failed", Kind::Failed),
];

/// A token as its contract names it. Anybody can make a contract and call its token anything.
const TOKEN: &[Field] = &[
    field("contract", Kind::Address(Name::ContractAddress)),
    field("id", Kind::Written(Name::TokenId)),
    field("name", Kind::Maybe(Name::TokenName)),
    field("symbol", Kind::Maybe(Name::TokenSymbol)),
    field("decimals", Kind::Decimals(Name::TokenDecimal)),
];

/// A cursor holds a place for each list and has a size. A place takes some 82 bytes where chain and block have nine digits
/// each, so that a quarter of the host's 16 KiB is left for the rows of a block that lies across pages.
const ADDRESSES_MAX: usize = 50;
const LISTS_MAX: usize = 150;
/// What one call asks and emits before it hands back and is called again: what was read is then kept.
const REQUESTS_MAX: u32 = 20;
const EMITTED: usize = 500;

impl Input {
    /// All lists in their order, each with its name in the cursor.
    fn lists(&self) -> Result<Entries<List>, Error> {
        if !(1..=ADDRESSES_MAX).contains(&self.addresses.len()) {
            return Err(Error::invalid_request("/addresses", format!("expected 1 to {ADDRESSES_MAX} addresses")));
        }
        let chainids = if self.chainids.is_empty() { std::slice::from_ref(&self.chainid) } else { &self.chainids };
        let mut lists = Entries::default();
        for address in &self.addresses {
            for asset in Asset::ALL {
                let counts = match asset {
                    Asset::Coin => true,
                    Asset::Internal => self.internal,
                    Asset::Token => self.tokens,
                    Asset::Erc721 | Asset::Erc1155 => self.nfts,
                };
                for chainid in chainids.iter().filter(|_| counts) {
                    let list = List { chainid: *chainid, address: *address, asset };
                    lists.insert(list.name(), list);
                }
            }
        }
        if lists.len() > LISTS_MAX {
            let message = format!("accounts, chains and kinds together are more than {LISTS_MAX} lists");
            return Err(Error::invalid_request("/addresses", message));
        }
        Ok(lists)
    }
}

fn watch(poll: &Poll, mut round: Round) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    let lists = input.lists()?;
    round.lanes.retain(|name| lists.get(name).is_some());
    let done = round.done.take();
    let (mut emit, mut requests, mut heads) = (Vec::new(), 0, Heads::new());
    for (name, list) in lists.iter().filter(|(name, _)| done.as_ref().is_none_or(|done| *name > *done)) {
        let mut more = true;
        while more {
            if requests >= REQUESTS_MAX || emit.len() >= EMITTED {
                return Outcome { emit, more: true, ..Outcome::default() }.keep(&round);
            }
            requests += 1;
            let next;
            (next, more) = match round.lanes.get(name) {
                Some(lane) => list.read(&input, lane, &mut heads, &mut emit)?,
                None => list.begin(poll.start, &mut heads)?,
            };
            round.lanes.insert(name.clone(), next);
        }
        round.done = Some(name.clone());
    }
    round.done = None;
    Outcome { emit, ..Outcome::default() }.keep(&round)
}

impl List {
    fn name(&self) -> String {
        format!("{} {} {}", self.chainid, self.address, self.asset.names().0)
    }

    /// Where a list begins that was not read before, and whether there may be something.
    fn begin(&self, start: Start, heads: &mut Heads) -> Result<(Lane, bool), Error> {
        match start {
            Start::All => Ok((Lane::at(0), true)),
            Start::FromNow => Ok((Lane::at(head(self.chainid, heads)? + 1), false)),
            Start::Backfill(rows) => {
                let (page, limit, nth) = lane::place_of(rows);
                let question = self.question().with("page", page).with("offset", limit).with("sort", "desc");
                let block = question.rows(self.asset.rows().0)?.get(nth).map(Row::block);
                // Fewer than that many are all there are.
                Ok((Lane::at(block.unwrap_or(0)), true))
            }
        }
    }

    fn read(
        &self,
        input: &Input,
        lane: &Lane,
        heads: &mut Heads,
        emit: &mut Vec<Emission>,
    ) -> Result<(Lane, bool), Error> {
        let question = self.question().with("startblock", lane.start());
        let question = question.with("page", lane.page()).with("offset", ROWS).with("sort", "asc");
        let mut rows = question.rows(self.asset.rows().0)?;
        if self.asset == Asset::Internal && !rows.is_empty() {
            let head = head(self.chainid, heads)?;
            rows.iter_mut().for_each(|row| row.note_head(head));
        }
        let (rows, next, more) = lane.after(rows, input.confirmations)?;
        for (row, nth) in rows {
            emit.push(self.emission(&row, nth)?);
        }
        Ok((next, more))
    }

    fn question(&self) -> Question {
        Question::new(self.chainid, "account", self.asset.names().1).with("address", self.address)
    }

    /// The event of a row, which is the `nth` of those that look like it.
    fn emission(&self, row: &Row, nth: usize) -> Result<Emission, Error> {
        let address = self.address.to_string();
        let key = format!("{} {} {nth}", self.name(), row.identity());
        let picked = json::parse(row.pick(self.asset.rows().1)?.as_bytes());
        let Any(mut data) = picked.ok_or_else(|| Error::internal("a transfer has no JSON form"))?;
        let direction = match (data["from"] == *address, data["to"] == *address) {
            (true, true) => "self",
            (true, false) => "out",
            (false, _) => "in",
        };
        data["chainid"] = self.chainid.into();
        data["address"] = address.into();
        data["direction"] = direction.into();
        data["kind"] = self.asset.names().0.into();
        Ok(Emission { event_type: "transfer.seen".to_owned(), key, data })
    }
}

/// The newest block of a chain, asked once for all its lists: an account that is added later begins like the first ones.
fn head(chainid: u64, heads: &mut Heads) -> Result<u64, Error> {
    if let Some((_, head)) = heads.iter().find(|(known, _)| *known == chainid) {
        return Ok(*head);
    }
    let head = blocks::newest(chainid)?;
    heads.push((chainid, head));
    Ok(head)
}
