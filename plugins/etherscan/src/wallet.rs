//! `polls.wallet`: what comes to the watched accounts and what leaves them, once it is final: coins, whether a transaction
//! or a contract moved them, tokens and NFTs, on one chain or several.
//!
//! Each account has a list for each of these, and each list a place in the cursor: the last block that was read, which is read again
//! until it is settled. A transfer is named by what the chain says of it, and the host emits a name once, so reading
//! again costs nothing and loses nothing. Only rows with enough blocks on top count: what another chain of blocks may
//! still replace is left for the next run.

mod lane;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wharfage_sdk::{
    Error, Timestamp,
    events::{Emission, Event, Outcome, Poll, Start, Trigger},
    serde_json,
};

use crate::{address::Address, answer::Question, blocks, internal, token_transfers, transactions, window};
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

/// `[connections.<name>.polls.wallet.input]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The accounts.
    addresses: Vec<Address>,
    /// The chain's id.
    #[serde(default = "crate::mainnet")]
    chainid: u64,
    /// The ids of several chains, instead.
    #[serde(default)]
    chainids: BTreeSet<u64>,
    /// Blocks on top after which a transfer counts.
    #[serde(default = "confirmations")]
    confirmations: u64,
    /// Whether tokens count.
    #[serde(default = "yes")]
    tokens: bool,
    /// Whether coins count that a contract moved.
    #[serde(default = "yes")]
    internal: bool,
    /// Whether NFTs count.
    #[serde(default = "yes")]
    nfts: bool,
}

/// How far the lists are read; the cursor.
#[derive(Default, Deserialize, Serialize)]
struct Round {
    lanes: BTreeMap<String, Lane>,
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
}

/// The newest block of each chain that was asked for it, in one call.
type Heads = BTreeMap<u64, u64>;

/// A row of such a list.
pub(crate) trait Movement: window::Row + DeserializeOwned {
    /// Whether it says how many blocks there were on top.
    const COUNTS_CONFIRMATIONS: bool = true;
    /// Takes the newest block, where it does not.
    fn note_head(&mut self, _head: u64) {}
    /// How many blocks there were on top.
    fn confirmations(&self) -> u64;
    /// Whether no other row of its block can look like it.
    fn is_unlike_others(&self) -> bool;
    /// What it says.
    fn transfer(self) -> Result<Transfer, Error>;
}

/// What a row says.
#[derive(Serialize)]
pub(crate) struct Transfer {
    /// The hash of its transaction.
    pub(crate) hash: String,
    /// Its place among the block's log entries, where the answer tells it.
    pub(crate) log_index: Option<u64>,
    /// The block it is in.
    pub(crate) block_number: u64,
    /// When that block was made.
    pub(crate) time: Timestamp,
    /// How many blocks there were on top.
    pub(crate) confirmations: u64,
    /// Whose it was.
    pub(crate) from: Option<String>,
    /// Whose it is; the new contract where one was made.
    pub(crate) to: Option<String>,
    /// The token; nothing where it is the chain's own coin.
    pub(crate) token: Option<Token>,
    /// The exact amount in the smallest unit.
    pub(crate) raw: String,
    /// The exact amount in whole coins or tokens, where the decimals are known.
    pub(crate) amount: Option<String>,
    /// Whether the transaction failed: then nothing moved but its fee.
    pub(crate) has_failed: bool,
}

/// A token as its contract names it. Anybody can make a contract and call its token anything.
#[derive(Serialize)]
pub(crate) struct Token {
    /// The contract.
    pub(crate) contract: Option<String>,
    /// Which of the contract's tokens, where they differ from each other.
    pub(crate) id: Option<String>,
    /// The name.
    pub(crate) name: String,
    /// The symbol.
    pub(crate) symbol: String,
    /// The decimals, where the contract tells them.
    pub(crate) decimals: Option<u8>,
}

/// The content of an event.
#[derive(Serialize)]
struct Seen<'a> {
    chainid: u64,
    address: &'a str,
    direction: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    transfer: &'a Transfer,
}

/// A cursor holds a place for each list and has a size.
const ADDRESSES_MAX: usize = 50;
const LISTS_MAX: usize = 500;
/// What one call asks and emits before it hands back and is called again: what was read is then kept.
const REQUESTS_MAX: u32 = 20;
const EMITTED: usize = 500;

/// The custom of Ethereum's years of proof of work.
fn confirmations() -> u64 {
    12
}

fn yes() -> bool {
    true
}

impl Input {
    /// All lists in their order, each with its name in the cursor.
    fn lists(&self) -> Result<BTreeMap<String, List>, Error> {
        if !(1..=ADDRESSES_MAX).contains(&self.addresses.len()) {
            return Err(Error::invalid_request("/addresses", format!("expected 1 to {ADDRESSES_MAX} addresses")));
        }
        let one = BTreeSet::from([self.chainid]);
        let chainids = if self.chainids.is_empty() { &one } else { &self.chainids };
        let mut lists = BTreeMap::new();
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
    round.lanes.retain(|name, _| lists.contains_key(name));
    let done = round.done.take();
    let (mut emit, mut requests, mut heads) = (Vec::new(), 0, Heads::new());
    for (name, list) in lists.iter().filter(|(name, _)| done.as_ref().is_none_or(|done| *name > done)) {
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
                let block = match self.asset {
                    Asset::Coin => nth_block::<transactions::Row>(&question, nth)?,
                    Asset::Internal => nth_block::<internal::Row>(&question, nth)?,
                    Asset::Token | Asset::Erc721 | Asset::Erc1155 => nth_block::<token_transfers::Row>(&question, nth)?,
                };
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
        match self.asset {
            Asset::Coin => self.read_rows::<transactions::Row>(input, lane, heads, emit),
            Asset::Internal => self.read_rows::<internal::Row>(input, lane, heads, emit),
            Asset::Token | Asset::Erc721 | Asset::Erc1155 => {
                self.read_rows::<token_transfers::Row>(input, lane, heads, emit)
            }
        }
    }

    fn read_rows<R: Movement>(
        &self,
        input: &Input,
        lane: &Lane,
        heads: &mut Heads,
        emit: &mut Vec<Emission>,
    ) -> Result<(Lane, bool), Error> {
        let question = self.question().with("startblock", lane.start());
        let question = question.with("page", lane.page()).with("offset", ROWS).with("sort", "asc");
        let mut rows: Vec<R> = question.ask()?.unwrap_or_default();
        if !R::COUNTS_CONFIRMATIONS && !rows.is_empty() {
            let head = head(self.chainid, heads)?;
            rows.iter_mut().for_each(|row| row.note_head(head));
        }
        let (rows, next, more) = lane.after::<R>(rows, input.confirmations)?;
        for (row, nth) in rows {
            emit.push(self.emission(row, nth)?);
        }
        Ok((next, more))
    }

    fn question(&self) -> Question {
        Question::new(self.chainid, "account", self.asset.names().1).with("address", self.address)
    }

    /// The event of a row, which is the `nth` of those that look like it.
    fn emission<R: Movement>(&self, row: R, nth: usize) -> Result<Emission, Error> {
        let address = self.address.to_string();
        let key = format!("{} {} {nth}", self.name(), row.identity());
        let transfer = row.transfer()?;
        let is_mine = |side: &Option<String>| side.as_ref() == Some(&address);
        let direction = match (is_mine(&transfer.from), is_mine(&transfer.to)) {
            (true, true) => "self",
            (true, false) => "out",
            (false, _) => "in",
        };
        let kind = self.asset.names().0;
        let seen = Seen { chainid: self.chainid, address: &address, direction, kind, transfer: &transfer };
        let data = serde_json::to_value(&seen).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Emission { event_type: "transfer.seen".to_owned(), key, data })
    }
}

/// The newest block of a chain, asked once for all its lists: an account that is added later begins like the first ones.
fn head(chainid: u64, heads: &mut Heads) -> Result<u64, Error> {
    if let Some(head) = heads.get(&chainid) {
        return Ok(*head);
    }
    let head = blocks::newest(chainid)?;
    heads.insert(chainid, head);
    Ok(head)
}

fn nth_block<R: Movement>(question: &Question, nth: usize) -> Result<Option<u64>, Error> {
    let rows: Vec<R> = question.ask()?.unwrap_or_default();
    Ok(rows.get(nth).map(R::block))
}
