//! Admitted -> Pinned: resolve once, check every address, dial nothing else.
//!
//! A name that is granted may still point anywhere, and at something else a second later. So the host resolves it once
//! per attempt, judges all addresses it got, and hands exactly these on to be dialled. Whatever is not plainly public
//! (this machine, its network, metadata services, and the IPv6 ways of writing an IPv4 address of these) is refused,
//! unless the operator wrote it down as a private address of the connection. One bad address refuses the whole name: a
//! provider has no reason to mix. Names come here only after `scope.rs` has granted them, so asking for one tells a
//! stranger's name server nothing.
//!
//! Ranges are those of IANA's IPv4 and IPv6 Special-Purpose Address Registries as of October 2025 (RFC 6890 and what
//! followed). Where a registry calls a small anycast range globally reachable, it is refused here all the same: no API
//! lives there. Metadata services are listed by the addresses that clouds document.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::sync::{Semaphore, watch};
use url::Host;

use super::admit::Admitted;
use super::circuit::Verdict;
use super::{CallContext, Outbound};
use crate::error::{Error, Kind, NetworkStage, Result, rule};
use crate::text::toml_key;
use crate::time::{BoxFuture, Clock, Timestamp};

/// A request with the only addresses that may be dialled for it.
pub(super) struct Pinned {
    pub(super) admitted: Admitted,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Finds and judges the addresses of a request's host.
///
/// # Errors
/// As for [`Resolver::pin`]; the permit goes back, because nothing was sent.
pub(super) async fn pin(outbound: &Outbound, context: &CallContext, admitted: Admitted) -> Result<Pinned> {
    let began_at = outbound.clock.now();
    let pinned = {
        let url = admitted.ready().scoped.url();
        let asker = Asker { plugin: &outbound.scope.plugin, connection: &outbound.scope.connection };
        match (url.host(), url.port_or_known_default()) {
            (Some(host), Some(port)) => {
                outbound.resolver.pin(host, port, &outbound.private_addresses, asker, context.deadline).await
            }
            _ => Err(Error::internal("a granted URL has neither host nor port")),
        }
    };
    match pinned {
        Ok(addresses) => Ok(Pinned { admitted, addresses }),
        Err(error) => {
            let (_, permit, leave) = admitted.into_parts();
            permit.cancel();
            if let Some(leave) = leave {
                leave.conclude(verdict(&error, began_at, outbound.clock.now(), context.deadline));
            }
            Err(error)
        }
    }
}

/// What a name without an address says about the provider: nothing where the call was over too soon for an answer.
fn verdict(error: &Error, began_at: Timestamp, now: Timestamp, deadline: Timestamp) -> Verdict {
    let patience_ms = patience_ms(began_at, deadline);
    match patience_ms < JUDGED_MS_MIN && now.since(began_at) >= patience_ms {
        true => Verdict::Nothing,
        false => Verdict::of(error.kind()),
    }
}

/// How long an answer is waited for by a call that must be over by then: not to its very end, for the last good answer may
/// serve instead.
fn patience_ms(now: Timestamp, deadline: Timestamp) -> u64 {
    let left_ms = deadline.since(now);
    LOOKUP_TIMEOUT_MS.min(left_ms - SPARE_MS.min(left_ms / 4))
}

/// From names to addresses, with bounds on how many are asked for at once, for how long, and how many are kept.
pub(crate) struct Resolver {
    lookup: Arc<dyn Lookup>,
    /// One for each question that is asked now.
    places: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    names: Arc<Mutex<Names>>,
}

/// What is known of names.
#[derive(Default)]
struct Names {
    kept: BTreeMap<String, Kept>,
    /// Those that are asked for, each with what its answer comes by.
    asked: BTreeMap<String, watch::Receiver<Option<Answer>>>,
}

/// What came of asking: every address once, in order, or why there is none.
type Answer = Result<Vec<IpAddr>, String>;

/// Asks for the addresses of a name. Tests answer themselves.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// All addresses of an absolute name (with a dot at its end), or of a single label. It is waited for to its end.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// For whom a name is resolved; for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The plugin's name.
    pub(crate) plugin: &'a str,
    /// The connection's name.
    pub(crate) connection: &'a str,
}

#[derive(Clone)]
struct Kept {
    until: Timestamp,
    addresses: Vec<IpAddr>,
}

/// Queries that run at once; each takes a thread of the pool for blocking work.
const LOOKUPS_MAX: usize = 16;

/// How long an answer is waited for: beyond the 5 s after which resolvers of systems ask again where a packet was lost.
const LOOKUP_TIMEOUT_MS: u64 = 8_000;

/// What is left of a call then, at least, or a quarter of what it had.
const SPARE_MS: u64 = 1_000;

/// A shorter wait in vain says nothing about a provider.
const JUDGED_MS_MIN: u64 = 1_000;

/// How long an answer is good.
const KEPT_MS: u64 = 10_000;

/// Names with their answers that are kept.
const KEPT_NAMES_MAX: usize = 1_024;

/// Addresses of one name that are looked at; with more, the name is refused.
const ADDRESSES_MAX: usize = 64;

impl Resolver {
    /// Asks the system's resolver.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_lookup(clock, SystemLookup)
    }

    /// Asks somebody else.
    pub(crate) fn with_lookup(clock: Arc<dyn Clock>, lookup: impl Lookup) -> Self {
        let (lookup, places) = (Arc::new(lookup), Arc::new(Semaphore::new(LOOKUPS_MAX)));
        Self { lookup, places, clock, names: Arc::default() }
    }

    /// The addresses to dial for a granted host: all it has, all of them judged.
    ///
    /// Waits for the network, 8 s at most and not quite until `deadline`.
    ///
    /// # Errors
    /// `policy-denied` by the rule `address` if one of them is neither public nor in `allowed`; `network(dns)` if the
    /// name has none or the answer takes too long.
    pub(crate) async fn pin(
        &self,
        host: Host<&str>,
        port: u16,
        allowed: &[IpNet],
        asker: Asker<'_>,
        deadline: Timestamp,
    ) -> Result<Vec<SocketAddr>> {
        let addresses = match host {
            Host::Ipv4(address) => vec![IpAddr::V4(address)],
            Host::Ipv6(address) => vec![IpAddr::V6(address)],
            Host::Domain(name) if is_localhost(name) => localhost(allowed),
            Host::Domain(name) => self.resolve(name, deadline).await?,
        };
        let refused: Vec<IpAddr> = addresses.iter().copied().filter(|a| !is_allowed(*a, allowed)).collect();
        if let Some(first) = refused.first() {
            return Err(refuse(&host.to_string(), *first, &refused, asker));
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    async fn resolve(&self, name: &str, deadline: Timestamp) -> Result<Vec<IpAddr>> {
        // Without the dot a search list may send `api.test` to `api.test.corp.test`.
        let asked = if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() };
        let now = self.clock.now();
        let mut asking = {
            let mut names = lock(&self.names);
            if let Some(kept) = names.kept.get(&asked).filter(|kept| kept.until > now) {
                return Ok(kept.addresses.clone());
            }
            // One that has closed was broken off without an answer.
            match names.asked.get(&asked).filter(|asking| asking.has_changed().is_ok()) {
                Some(asking) => asking.clone(),
                None => {
                    let asking = self.ask(asked.clone());
                    names.asked.insert(asked, asking.clone());
                    asking
                }
            }
        };
        let failed = |why: &str| Error::new(Kind::Network(NetworkStage::Dns), format!("{name} {why}"));
        let patience_ms = patience_ms(now, deadline);
        let answer = tokio::select! {
            biased;
            answer = asking.wait_for(Option::is_some) => answer.ok().and_then(|answer| answer.clone()),
            () = self.clock.alarm(now.plus(patience_ms)) => {
                let late = failed("did not resolve in time");
                return Err(if patience_ms < LOOKUP_TIMEOUT_MS { late.with_more("call_ms") } else { late });
            }
        };
        let answer = answer.unwrap_or_else(|| Err("it was broken off".to_owned()));
        let addresses = answer.map_err(|why| failed("did not resolve").with_details(why))?;
        match addresses.len() {
            0 => Err(failed("has no address")),
            1..=ADDRESSES_MAX => Ok(addresses),
            _ => Err(failed("has too many addresses")),
        }
    }

    /// Asks for a name, for all who want it meanwhile. The system's call cannot be cancelled, so once begun this goes on to
    /// its end also when nobody waits any more, and no name is asked for twice at once.
    fn ask(&self, name: String) -> watch::Receiver<Option<Answer>> {
        let (told, asking) = watch::channel(None);
        let (lookup, places) = (self.lookup.clone(), self.places.clone());
        let (names, clock) = (self.names.clone(), self.clock.clone());
        tokio::spawn(async move {
            // Nobody drops this before the system's call has really ended, so there are never more such threads than
            // places.
            let _place = places.acquire_owned().await;
            if lock(&names).is_left(&name, &told) {
                return;
            }
            let mut answer = lookup.lookup(name.clone()).await.map_err(|error| error.to_string());
            if let Ok(addresses) = &mut answer {
                addresses.sort();
                addresses.dedup();
            }
            lock(&names).answered(name, &answer, clock.now());
            told.send_replace(Some(answer));
        });
        asking
    }
}

impl Names {
    /// Whether all who wanted a name have gone; then it is not asked for any more. One who waits is this list itself.
    fn is_left(&mut self, name: &str, told: &watch::Sender<Option<Answer>>) -> bool {
        let is_left = told.receiver_count() < 2;
        if is_left {
            self.asked.remove(name);
        }
        is_left
    }

    /// A name is not asked for any more, nor for a while if it has addresses.
    fn answered(&mut self, name: String, answer: &Answer, now: Timestamp) {
        self.asked.remove(&name);
        let is_good = |addresses: &&Vec<IpAddr>| (1..=ADDRESSES_MAX).contains(&addresses.len());
        let Some(addresses) = answer.as_ref().ok().filter(is_good) else { return };
        if self.kept.len() >= KEPT_NAMES_MAX {
            self.kept.retain(|_, entry| entry.until > now);
        }
        if self.kept.len() >= KEPT_NAMES_MAX {
            self.kept.clear();
        }
        self.kept.insert(name, Kept { until: now.plus(KEPT_MS), addresses: addresses.clone() });
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the operating system answers.
struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Anybody's.
    Public,
    /// This machine.
    Loopback,
    /// A network of one's own (RFC 1918), and IPv6's old site-local one.
    Private,
    /// This wire.
    LinkLocal,
    /// A cloud's service that tells a machine its secrets.
    Metadata,
    /// Between a provider and its customers (RFC 6598).
    SharedCgnat,
    /// Many machines.
    Multicast,
    /// Everybody on this wire.
    Broadcast,
    /// None.
    Unspecified,
    /// For examples.
    Documentation,
    /// For tests of network devices.
    Benchmarking,
    /// For protocols, or for later.
    Reserved,
    /// A network of one's own, in IPv6.
    UniqueLocal,
}

/// As refusals write it.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata service",
            Self::SharedCgnat => "shared carrier",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unspecified => "unspecified",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
            Self::UniqueLocal => "unique local",
        })
    }
}

/// What an address is for. One that carries an IPv4 address inside is judged by that, too.
pub(crate) fn classify_ip(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [192, 0, 0, 192]
        | [168, 63, 129, 16] => Class::Metadata,
        [0, 0, 0, 0] => Class::Unspecified,
        [0, ..] => Class::Reserved,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::SharedCgnat,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [192, 0, 0, _] | [192, 88, 99, _] => Class::Reserved,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Documentation,
        [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => Class::Reserved,
        [198, 18 | 19, ..] => Class::Benchmarking,
        [224..=239, ..] => Class::Multicast,
        [255, 255, 255, 255] => Class::Broadcast,
        [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let segments = address.segments();
    let class = classify_v6_by_prefix(segments);
    match segments {
        // ISATAP (RFC 5214), within whatever prefix: also one that carries another IPv4 address itself.
        [_, _, _, _, 0 | 0x100 | 0x200 | 0x300, 0x5efe, high, low] => worse(classify_v4(v4(high, low)), class),
        _ => class,
    }
}

fn classify_v6_by_prefix(segments: [u16; 8]) -> Class {
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        // IPv4-mapped, the older IPv4-compatible, and IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => classify_v4(v4(high, low)),
        // NAT64 with the well-known prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => classify_v4(v4(high, low)),
        // NAT64 with a prefix of one's own (RFC 8215). Where in it the IPv4 address stands is the network's choice, so
        // a name could show us a public one and lead to another: never public.
        [0x64, 0xff9b, 1, _, _, _, high, low] => worse(classify_v4(v4(high, low)), Class::Reserved),
        [0x2002, high, low, ..] => classify_v4(v4(high, low)), // 6to4
        // Teredo: the server's address, and the client's with every bit turned over.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            worse(classify_v4(v4(!client_high, !client_low)), classify_v4(v4(high, low)))
        }
        _ => classify_v6_plain(segments),
    }
}

fn classify_v6_plain(segments: [u16; 8]) -> Class {
    match segments {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42] => Class::Metadata,
        [0xfc00..=0xfdff, ..] => Class::UniqueLocal,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xfec0..=0xfeff, ..] => Class::Private,
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0x2001, 2, 0, ..] => Class::Benchmarking,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Documentation,
        [0x2001, 0..=0x1ff, ..] => Class::Reserved, // 2001::/23, IETF protocols
        [0x2620, 0x4f, 0x8000, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        // Nothing else is handed out: discard-only 100::/64, segment routing 5f00::/16, and what is still free.
        _ => Class::Reserved,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

/// The first, unless it is public.
fn worse(one: Class, other: Class) -> Class {
    if one == Class::Public { other } else { one }
}

/// Whether an address may be dialled. A metadata service must be listed by its very address: whoever allows a network
/// does not mean it.
fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    let class = classify_ip(address);
    // `::ffff:10.0.0.5` is the address 10.0.0.5, written otherwise.
    let address = address.to_canonical();
    let is_listed =
        |net: &&IpNet| net.contains(&address) && (class != Class::Metadata || net.prefix_len() == net.max_prefix_len());
    class == Class::Public || allowed.iter().find(is_listed).is_some()
}

/// `localhost` and what is below it, which is this machine without asking (RFC 6761, 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let (start, end) = name.split_at(name.len().saturating_sub(b"localhost".len()));
    end.eq_ignore_ascii_case(b"localhost") && (start.is_empty() || start.ends_with(b"."))
}

/// This machine's own addresses: those that are allowed, or all of them to be refused. They are our answer, not a name
/// server's, so one that is not allowed says nothing about the other.
fn localhost(allowed: &[IpNet]) -> Vec<IpAddr> {
    let all = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let dialled: Vec<IpAddr> = all.into_iter().filter(|address| is_allowed(*address, allowed)).collect();
    if dialled.is_empty() { all.to_vec() } else { dialled }
}

fn refuse(host: &str, first: IpAddr, refused: &[IpAddr], asker: Asker<'_>) -> Error {
    let Asker { plugin, connection } = asker;
    let class = classify_ip(first);
    let message = format!(
        "{plugin} wanted {host}, which leads to a {class} address that connection `{connection}` does not grant."
    );
    let nets: Vec<String> = refused.iter().map(|a| format!("\"{}\"", IpNet::from(a.to_canonical()))).collect();
    let allow = format!(
        "To allow it, add to [connections.{}] in wharfage.toml:   private_addresses = [{}]",
        toml_key(connection),
        nets.join(", ")
    );
    Error::denied(rule::ADDRESS, message, allow)
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use proptest::prelude::*;
    use tokio::sync::OwnedSemaphorePermit;

    use super::*;
    use crate::time::ManualClock;

    const ASKER: Asker<'_> = Asker { plugin: "sample", connection: "acme" };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn every_range_from_its_first_to_its_last_address() {
        use Class::*;
        for (first, last, class) in [
            ("0.0.0.0", "0.0.0.0", Unspecified),
            ("0.0.0.1", "0.255.255.255", Reserved),
            ("1.0.0.0", "9.255.255.255", Public),
            ("10.0.0.0", "10.255.255.255", Private),
            ("11.0.0.0", "100.63.255.255", Public),
            ("100.64.0.0", "100.100.100.199", SharedCgnat),
            ("100.100.100.200", "100.100.100.200", Metadata),
            ("100.100.100.201", "100.127.255.255", SharedCgnat),
            ("100.128.0.0", "126.255.255.255", Public),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("128.0.0.0", "168.63.129.15", Public),
            ("168.63.129.16", "168.63.129.16", Metadata),
            ("168.63.129.17", "169.253.255.255", Public),
            ("169.254.0.0", "169.254.169.253", LinkLocal),
            ("169.254.169.254", "169.254.169.254", Metadata),
            ("169.254.170.3", "169.254.170.22", LinkLocal),
            ("169.254.170.24", "169.254.255.255", LinkLocal),
            ("169.255.0.0", "172.15.255.255", Public),
            ("172.16.0.0", "172.31.255.255", Private),
            ("172.32.0.0", "191.255.255.255", Public),
            ("192.0.0.0", "192.0.0.191", Reserved),
            ("192.0.0.192", "192.0.0.192", Metadata),
            ("192.0.0.193", "192.0.0.255", Reserved),
            ("192.0.1.0", "192.0.1.255", Public),
            ("192.0.2.0", "192.0.2.255", Documentation),
            ("192.0.3.0", "192.31.195.255", Public),
            ("192.88.99.0", "192.88.99.255", Reserved),
            ("192.88.100.0", "192.167.255.255", Public),
            ("192.168.0.0", "192.168.255.255", Private),
            ("192.169.0.0", "192.175.47.255", Public),
            ("192.175.48.0", "192.175.48.255", Reserved),
            ("192.175.49.0", "198.17.255.255", Public),
            ("198.18.0.0", "198.19.255.255", Benchmarking),
            ("198.20.0.0", "198.51.99.255", Public),
            ("198.51.100.0", "198.51.100.255", Documentation),
            ("198.51.101.0", "203.0.112.255", Public),
            ("203.0.113.0", "203.0.113.255", Documentation),
            ("203.0.114.0", "223.255.255.255", Public),
            ("224.0.0.0", "239.255.255.255", Multicast),
            ("240.0.0.0", "255.255.255.254", Reserved),
            ("255.255.255.255", "255.255.255.255", Broadcast),
            ("::", "::", Unspecified),
            ("::1", "::1", Loopback),
            ("::1:0:0", "::fffe:ffff:ffff", Reserved),
            ("64:ff9b:1::", "64:ff9b:1::", Unspecified),
            ("64:ff9b:1::808:808", "64:ff9b:1:ffff:ffff:ffff:808:808", Reserved),
            ("64:ff9b:2::", "64:ff9b:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("100::", "100::ffff:ffff:ffff:ffff", Reserved),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", Reserved),
            ("200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
            ("2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Benchmarking),
            ("2001:2:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", Public),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("2001:db9::", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
            ("2003::", "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", Public),
            ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("2620:4f:8001::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("fc00::", "fd00:ec2::253", UniqueLocal),
            ("fd00:ec2::254", "fd00:ec2::254", Metadata),
            ("fd00:ec2::255", "fd20:ce::253", UniqueLocal),
            ("fd20:ce::254", "fd20:ce::254", Metadata),
            ("fd20:ce::255", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", UniqueLocal),
            ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
        ] {
            assert_eq!(classify_ip(ip(first)), class, "{first}");
            assert_eq!(classify_ip(ip(last)), class, "{last}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_counts() {
        for (text, class) in [
            ("::ffff:127.0.0.1", Class::Loopback),
            ("::ffff:8.8.8.8", Class::Public),
            ("::169.254.169.254", Class::Metadata),
            ("::ffff:0:10.0.0.1", Class::Private),
            ("64:ff9b::192.168.0.1", Class::Private),
            ("64:ff9b::8.8.8.8", Class::Public),
            ("64:ff9b:1::10.0.0.1", Class::Private),
            ("64:ff9b:1:a00:1::808:808", Class::Reserved),
            ("2002:7f00:1::", Class::Loopback),
            ("2002:808:808::1", Class::Public),
            ("2001:0:a00:1::f7f7:f7f7", Class::Private),
            ("2001:0:808:808::80ff:fffe", Class::Loopback),
            ("2001:0:808:808::f7f7:f7f7", Class::Public),
            ("2606:4700::5efe:10.0.0.1", Class::Private),
            ("2002:808:808::5efe:10.0.0.1", Class::Private),
            ("2606:4700::200:5efe:8.8.8.8", Class::Public),
            ("fe80::5efe:8.8.8.8", Class::LinkLocal),
        ] {
            assert_eq!(classify_ip(ip(text)), class, "{text}");
        }
    }

    #[test]
    fn a_metadata_service_must_be_listed_itself() {
        let metadata = ip("169.254.169.254");
        assert!(!is_allowed(metadata, &nets(&["169.254.0.0/16", "0.0.0.0/0"])));
        assert!(is_allowed(metadata, &nets(&["169.254.169.254/32"])));
        assert!(is_allowed(ip("::ffff:169.254.169.254"), &nets(&["169.254.169.254/32"])));
        assert!(!is_allowed(ip("fd00:ec2::254"), &nets(&["fc00::/7"])));
        assert!(is_allowed(ip("169.254.1.1"), &nets(&["169.254.0.0/16"])));
        assert!(is_allowed(ip("::ffff:10.0.0.5"), &nets(&["10.0.0.0/8"])));
        assert!(!is_allowed(ip("64:ff9b::10.0.0.5"), &nets(&["10.0.0.0/8"])));
    }

    /// Answers what it is told, and counts how often it is asked.
    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>, Arc<AtomicUsize>);

    impl Book {
        fn write(&self, name: &str, addresses: &[&str]) {
            let addresses = addresses.iter().map(|text| ip(text)).collect();
            self.0.lock().unwrap().insert(name.to_owned(), addresses);
        }

        fn asked(&self) -> usize {
            self.1.load(Ordering::SeqCst)
        }
    }

    impl Lookup for Book {
        fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            self.1.fetch_add(1, Ordering::SeqCst);
            if name == "slow.test." {
                return Box::pin(future::pending());
            }
            let found = self.0.lock().unwrap().get(&name).cloned();
            Box::pin(future::ready(found.ok_or_else(|| io::Error::other("no such name"))))
        }
    }

    fn book() -> (Resolver, Book, ManualClock) {
        let (book, clock) = (Book::default(), ManualClock::new(Timestamp::from_millis(1_000), 1));
        (Resolver::with_lookup(Arc::new(clock.clone()), book.clone()), book, clock)
    }

    /// With one place, which is taken.
    fn crowded() -> (Resolver, Book, ManualClock, OwnedSemaphorePermit) {
        let (resolver, book, clock) = book();
        let resolver = Resolver { places: Arc::new(Semaphore::new(1)), ..resolver };
        let place = resolver.places.clone().try_acquire_owned().unwrap();
        (resolver, book, clock, place)
    }

    async fn pin(resolver: &Resolver, host: &str, allowed: &[&str]) -> Result<Vec<SocketAddr>> {
        let host = Host::parse(host).unwrap();
        let host = match &host {
            Host::Domain(name) => Host::Domain(name.as_str()),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        };
        resolver.pin(host, 443, &nets(allowed), ASKER, Timestamp::MAX).await
    }

    #[tokio::test]
    async fn pins_what_it_judged_and_keeps_it_for_a_while() {
        let (resolver, book, clock) = book();
        book.write("api.test.", &["8.8.8.8", "2606:4700::1", "8.8.8.8"]);
        let pinned = pin(&resolver, "api.test", &[]).await.unwrap();
        assert_eq!(pinned, ["8.8.8.8:443".parse().unwrap(), "[2606:4700::1]:443".parse().unwrap()]);
        // The name is bent to this machine: for a while nobody asks again, then it is refused.
        book.write("api.test.", &["127.0.0.1"]);
        clock.advance(KEPT_MS - 1);
        assert_eq!(pin(&resolver, "api.test", &[]).await.unwrap(), pinned);
        assert_eq!(book.asked(), 1);
        clock.advance(1);
        assert!(pin(&resolver, "api.test", &[]).await.is_err());
    }

    #[tokio::test]
    async fn one_bad_address_refuses_the_name() {
        let (resolver, book, _) = book();
        book.write("api.test.", &["8.8.8.8", "10.0.0.5", "fd00::1"]);
        let error = pin(&resolver, "api.test", &["10.0.0.0/8"]).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::PolicyDenied("address".into()));
        assert_eq!(
            error.to_string(),
            "sample wanted api.test, which leads to a unique local address that connection `acme` does not grant.\n\
             To allow it, add to [connections.acme] in wharfage.toml:   private_addresses = [\"fd00::1/128\"]"
        );
        assert_eq!(pin(&resolver, "api.test", &["10.0.0.0/8", "fd00::/8"]).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn literals_and_localhost_are_judged_without_asking() {
        let (resolver, book, _) = book();
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "169.254.169.254",
            "localhost",
            "A.LocalHost",
        ] {
            let error = pin(&resolver, host, &[]).await.unwrap_err();
            assert_eq!(*error.kind(), Kind::PolicyDenied("address".into()), "{host}");
        }
        let error = pin(&resolver, "localhost", &[]).await.unwrap_err();
        assert!(error.to_string().ends_with("private_addresses = [\"127.0.0.1/32\", \"::1/128\"]"), "{error}");
        let dialled = pin(&resolver, "localhost", &["127.0.0.1/32"]).await.unwrap();
        assert_eq!(dialled, ["127.0.0.1:443".parse().unwrap()]);
        assert_eq!(pin(&resolver, "8.8.8.8", &[]).await.unwrap(), ["8.8.8.8:443".parse().unwrap()]);
        assert_eq!(book.asked(), 0);
        assert!(!is_localhost("notlocalhost") && !is_localhost("localhost.test") && !is_localhost("host"));
    }

    #[tokio::test]
    async fn no_answer_is_an_error_with_an_end() {
        let (resolver, book, clock) = book();
        book.write("empty.test.", &[]);
        for name in ["nobody.test", "empty.test", "single"] {
            let error = pin(&resolver, name, &[]).await.unwrap_err();
            assert_eq!(*error.kind(), Kind::Network(NetworkStage::Dns), "{name}");
            assert_eq!(error.request_sent(), crate::error::RequestSent::No);
        }
        let (error, ()) = tokio::join!(pin(&resolver, "slow.test", &[]), turn(&clock));
        assert_eq!(error.unwrap_err().message(), "slow.test did not resolve in time");
        assert_eq!(clock.now(), Timestamp::from_millis(1_000 + LOOKUP_TIMEOUT_MS));
    }

    /// Turns the clock to when the first alarm goes off.
    async fn turn(clock: &ManualClock) {
        while !clock.advance_to_next() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn however_many_want_a_name_it_is_asked_for_once() {
        let (resolver, book, clock) = book();
        // Those who come later wait for the same question, which goes on although the first ones have left.
        for _ in 0..2 {
            let many = join_all((0..20).map(|_| pin(&resolver, "slow.test", &[])));
            let (pinned, ()) = tokio::join!(many, turn(&clock));
            assert!(pinned.into_iter().all(|pinned| pinned.is_err()));
            assert_eq!(book.asked(), 1);
        }
        book.write("api.test.", &["8.8.8.8"]);
        let pinned = join_all((0..20).map(|_| pin(&resolver, "api.test", &[]))).await;
        assert!(pinned.into_iter().all(|pinned| pinned.unwrap() == ["8.8.8.8:443".parse().unwrap()]));
        assert_eq!((book.asked(), lock(&resolver.names).asked.len()), (2, 1));
    }

    #[tokio::test]
    async fn a_call_that_is_over_says_nothing_about_its_provider() {
        let (resolver, _, clock) = book();
        let (begun, deadline) = (clock.now(), clock.now().plus(200));
        let pinned = resolver.pin(Host::Domain("slow.test"), 443, &[], ASKER, deadline);
        let (error, ()) = tokio::join!(pinned, turn(&clock));
        let error = error.unwrap_err();
        assert_eq!(verdict(&error, begun, clock.now(), deadline), Verdict::Nothing);
        // A name that has no address has none.
        assert_eq!(verdict(&error, begun, begun, deadline), Verdict::Failing);
    }

    /// A call hung to its end for as long as a name server was away, and nothing served instead.
    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_trouble_before_the_call_is_over() {
        for (call_ms, waited_ms) in [(200, 150), (3_000, 2_250), (8_000, 7_000), (9_000, 8_000), (120_000, 8_000)] {
            let (resolver, _, clock) = book();
            let (begun, deadline) = (clock.now(), clock.now().plus(call_ms));
            let pinned = resolver.pin(Host::Domain("slow.test"), 443, &[], ASKER, deadline);
            let (error, ()) = tokio::join!(pinned, turn(&clock));
            let error = error.unwrap_err();
            assert_eq!((error.kind(), clock.now().since(begun)), (&Kind::Network(NetworkStage::Dns), waited_ms));
            assert_eq!(error.details().is_some(), waited_ms < 8_000, "{error}");
            let is_judged = verdict(&error, begun, clock.now(), deadline) == Verdict::Failing;
            assert_eq!(is_judged, call_ms > 200);
        }
    }

    /// The system asked again, and its answer came to nobody: every call that had asked was lost at once.
    #[tokio::test]
    async fn an_answer_that_comes_after_a_lost_packet_is_waited_for() {
        let (resolver, book, clock, place) = crowded();
        book.write("api.test.", &["8.8.8.8"]);
        let (pinned, ()) = tokio::join!(pin(&resolver, "api.test", &[]), async {
            clock.advance(5_500);
            tokio::task::yield_now().await;
            drop(place);
        });
        assert_eq!(pinned.unwrap(), ["8.8.8.8:443".parse().unwrap()]);
    }

    /// Names whose servers are gone had every place for minutes after the last who wanted them.
    #[tokio::test]
    async fn what_nobody_wants_any_more_is_not_asked_for() {
        let (resolver, book, clock, place) = crowded();
        book.write("api.test.", &["8.8.8.8"]);
        let (gone, ()) = tokio::join!(pin(&resolver, "gone.test", &[]), turn(&clock));
        assert_eq!(gone.unwrap_err().message(), "gone.test did not resolve in time");
        drop(place);
        assert_eq!(pin(&resolver, "api.test", &[]).await.unwrap(), ["8.8.8.8:443".parse().unwrap()]);
        assert_eq!((book.asked(), lock(&resolver.names).asked.len()), (1, 0));
        assert_eq!(resolver.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        // An address needs no network to resolve to itself.
        assert_eq!(SystemLookup.lookup("192.0.2.1".to_owned()).await.unwrap(), [ip("192.0.2.1")]);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let (resolver, book, _) = book();
        for number in 0..=KEPT_NAMES_MAX {
            book.write(&format!("n{number}.test."), &["8.8.8.8"]);
            pin(&resolver, &format!("n{number}.test"), &[]).await.unwrap();
        }
        assert!(lock(&resolver.names).kept.len() <= KEPT_NAMES_MAX);
        let many: Vec<String> = (0..=ADDRESSES_MAX).map(|n| format!("8.8.8.{n}")).collect();
        book.write("many.test.", &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(pin(&resolver, "many.test", &[]).await.is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The standard library's tests are rivals of our table: what any of them finds special is never public.
        #[test]
        fn nothing_special_is_public(bits in any::<u32>(), wide in any::<u128>(), near in 0..64u32) {
            let address = Ipv4Addr::from_bits(bits);
            let special = address.is_private() || address.is_loopback() || address.is_link_local();
            let special = special || address.is_broadcast() || address.is_documentation() || address.is_multicast();
            let special = special || address.is_unspecified() || bits >> 24 >= 224;
            prop_assert!(!special || classify_v4(address) != Class::Public);
            let address = Ipv6Addr::from_bits(wide >> near);
            let special = address.is_loopback() || address.is_unspecified() || address.is_multicast()
                || address.is_unique_local() || address.is_unicast_link_local();
            prop_assert!(!special || classify_v6(address) != Class::Public);
            if classify_v6(address) == Class::Public && address.to_ipv4().is_none() && address.segments()[0] != 0x64 {
                prop_assert!(address.segments()[0] >> 13 == 1, "{address}");
            }
        }

        /// Wherever an IPv4 address that is not public hides, the whole is not public.
        #[test]
        fn nothing_hides_inside(bits in any::<u32>(), other in any::<u32>(), prefix in any::<u64>()) {
            let (inside, wide, other) = (Ipv4Addr::from_bits(bits), u128::from(bits), u128::from(other));
            let prefix = u128::from(prefix) << 64;
            let public = classify_v4(inside) == Class::Public;
            for whole in [
                0xffff << 32 | wide,
                1 << 33 | wide, // any other low bits: reserved
                0xffff << 48 | wide,
                0x0064_ff9b << 96 | wide,
                0x0064_ff9b_0001 << 80 | wide,
                0x2002 << 112 | wide << 80 | other,
                0x2001_0000 << 96 | 0x0808_0808 << 64 | u128::from(!bits),
                0x2001_0000 << 96 | wide << 64 | other,
                prefix | 0x5efe << 32 | wide,
                prefix | 0x0200_5efe << 32 | wide,
            ] {
                let class = classify_v6(Ipv6Addr::from_bits(whole));
                prop_assert!(public || class != Class::Public, "{}", Ipv6Addr::from_bits(whole));
            }
            prop_assert_eq!(classify_v6(inside.to_ipv6_mapped()), classify_v4(inside));
        }

        #[test]
        fn what_is_not_public_needs_to_be_listed(bits in any::<u128>(), is_v4 in any::<bool>()) {
            #[expect(clippy::cast_possible_truncation, reason = "any bits do")]
            let low = bits as u32;
            let address = match is_v4 {
                true => IpAddr::V4(Ipv4Addr::from_bits(low)),
                false => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            };
            prop_assert_eq!(is_allowed(address, &[]), classify_ip(address) == Class::Public);
            prop_assert!(is_allowed(address, &[IpNet::from(address.to_canonical())]));
        }
    }
}
