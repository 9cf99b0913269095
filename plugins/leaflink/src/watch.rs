//! `polls.orders`: every order that is new or has changed, for who takes no webhooks or has missed some.
//!
//! A run asks for what changed since the last one, the oldest change first, and a little before that: an order may come to
//! light a moment after one that changed later. Each change has a name, order and time, and the host emits a name once, so
//! reading again costs nothing, and a change that a webhook told before is not told again. When nothing has happened for an
//! hour it moves on all the same, so that the last change of a quiet shop is not read for ever: the host knows a name for a
//! month.

use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
use wharfage_sdk::{Error, Timestamp, clock, log};

use crate::orders::{self, Asked, OrderRecord, Place};
use crate::{Listing, Profile, webhooks};

/// `[connections.<name>.polls.orders.input]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The seller's id at LeafLink, for the profile `guide`.
    #[serde(default)]
    seller: Option<u64>,
    /// Which form of the API.
    #[serde(default)]
    profile: Profile,
}

/// How far orders are read; the cursor.
#[derive(Deserialize, Serialize)]
pub(crate) struct Round {
    /// Changes up to here were there before the watch began and are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Timestamp>,
    /// The last change that a whole run has seen, or a later time at which it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// The last change that this run has seen so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest: Option<Timestamp>,
    /// When this run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Timestamp>,
    /// Where this run goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Place>,
}

/// How far back a run reads again.
const OVERLAP_MS: i64 = 120_000;
/// What is this old is settled: an hour.
const SETTLED_MS: i64 = 3_600_000;
/// What one call asks before it hands back and is called again: what was read is then kept.
const PAGES_MAX: u32 = 10;

pub(crate) fn orders(poll: &Poll, kept: Option<Round>) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    let mut round = match kept {
        Some(round) => round,
        None => {
            let round = begin(&input, poll.start)?;
            if matches!(poll.start, Start::FromNow) {
                return Outcome::default().keep(&round);
            }
            round
        }
    };
    let from = round.since.map(|since| since.plus_ms(-OVERLAP_MS)).max(round.before);
    let changes = Asked::changes(from, input.seller, input.profile);
    let began = *round.began.get_or_insert_with(clock::now);
    let mut emit = Vec::new();
    for _ in 0..PAGES_MAX {
        let (records, next) = orders::page(&changes, &round.at.take().unwrap_or_default())?;
        for record in &records {
            let at = record.value.changed().map(|changed| changed.at);
            round.latest = round.latest.max(at);
            if at.is_none() || at > round.before {
                emit.push(changed(&record.value));
            }
        }
        round.at = next;
        if round.at.is_none() {
            // Without a time yet, whatever there will be is read.
            let last = round.since.max(round.latest.take());
            round.since = last.map(|last| last.max(began.plus_ms(-SETTLED_MS)));
            round.began = None;
            return Outcome { emit, ..Outcome::default() }.keep(&round);
        }
    }
    Outcome { emit, more: true, ..Outcome::default() }.keep(&round)
}

/// Where a watch begins.
fn begin(input: &Input, start: Start) -> Result<Round, Error> {
    let before = match start {
        Start::All => None,
        // By LeafLink's clock. Where there is no order yet, every one is from now on.
        Start::FromNow => last_change(input, 0)?,
        // Fewer than that many are all there are.
        Start::Backfill(rows) => last_change(input, rows.saturating_sub(1))?.map(|at| at.plus_ms(-1)),
    };
    Ok(Round { before, since: before, latest: None, began: None, at: None })
}

/// The last change but so many; none where there are fewer. V2 promises nowhere to sort as it is asked to: where it does
/// not, or says no time at all, the watch begins now.
fn last_change(input: &Input, skip: u32) -> Result<Option<Timestamp>, Error> {
    let newest = Asked::changes(None, input.seller, input.profile).newest_first();
    let response = newest.nth(skip).send()?;
    let records = response.json::<Listing>()?.records::<OrderRecord>(&response)?;
    let latest = records.iter().find_map(|record| record.value.changed()).map(|changed| changed.at);
    if !orders::are_newest_first(&records) || (latest.is_none() && !records.is_empty()) {
        log::warn("orders do not come sorted by their last change: the watch begins now", &[]);
        return Ok(Some(clock::now()));
    }
    Ok(latest)
}

fn changed(order: &OrderRecord) -> Emission {
    let modified = order.changed().map(|changed| changed.text.as_str());
    let data = json!({ "number": order.number, "action": null, "status": order.status, "modified": modified });
    let key = webhooks::key(&order.number, modified).unwrap_or_else(|| format!("{} {}", order.number, order.status));
    Emission { event_type: "order.changed".to_owned(), key, data }
}
