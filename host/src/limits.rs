//! Limits: what one is, how a table of them is declared, and everything that a plugin can use up.
//!
//! Each has a name, a unit, a default and a sentence; `wharfage explain` lists them, and whoever hits one reads its name.

use crate::error::{Error, Result};

/// For the operator, where there is nothing to set.
pub(crate) const FIXED: &str = "It is the same on every connection";

/// Most bytes of linear memory that any connection may set; a pool's slots are this large.
pub(crate) const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Most memories, tables, elements of tables and core instances that any connection may set for one instance.
pub(crate) const MEMORIES_MAX: u64 = 8;
pub(crate) const TABLES_MAX: u64 = 40;
pub(crate) const TABLE_ELEMENTS_MAX: u64 = 100_000;
pub(crate) const CORE_INSTANCES_MAX: u64 = 100;

macro_rules! limits {
    ($(#[doc = $doc:literal])* $all:ident; $($name:ident: $default:expr $(=> $most:expr)?, $about:literal;)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, serde::Deserialize, PartialEq, Eq)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct $all {
            $(#[doc = $about] pub $name: u64,)*
        }

        impl Default for $all {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl $all {
            /// Every limit as it stands here.
            pub fn all(&self) -> Vec<$crate::Limit> {
                let default = Self::default();
                vec![$($crate::Limit {
                    name: stringify!($name),
                    value: self.$name,
                    default: default.$name,
                    most: [u64::MAX $(, $most)?].into_iter().min().unwrap_or(u64::MAX),
                    about: $about,
                },)*]
            }

            /// Refuses what would let nothing pass, and more than there can be.
            pub(crate) fn check(&self) -> $crate::Result<()> {
                self.all().iter().try_for_each($crate::Limit::check)
            }
        }
    };
}
pub(crate) use limits;

/// One limit as it stands. Its unit stands last in its name, and first in the sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// The name, as it is set and as errors have it.
    pub name: &'static str,
    /// What it is.
    pub value: u64,
    /// What it is where nobody sets it.
    pub default: u64,
    /// The most that it can be set to.
    pub most: u64,
    /// What it limits.
    pub about: &'static str,
}

impl Limit {
    pub(crate) fn check(&self) -> Result<()> {
        let Self { name, value, most, .. } = *self;
        if value == 0 {
            return Err(Error::configuration(format!("limits.{name} is 0, which would let nothing pass"))
                .with_details("Leave it out for the default, or take what it limits away"));
        }
        if value > most {
            return Err(Error::configuration(format!("limits.{name} is {value}, and the host allows {most} at most"))
                .with_details(format!("Leave it out for the default, or write less:   limits.{name} = {most}")));
        }
        Ok(())
    }

    /// For messages and lists: name, value, the default where it is another, what it limits, and how far it goes.
    pub(crate) fn line(&self) -> String {
        let Self { name, value, default, most, about } = self;
        let set = if value == default { String::new() } else { format!(" (default {default})") };
        let most = if *most == u64::MAX { String::new() } else { format!(" At most {most}.") };
        format!("{name:<24} {value:>10}{set}  {about}{most}")
    }
}

limits! {
    /// Everything a plugin can use up, with its limit. Units stand last in the names.
    Limits;

    call_ms: 120_000, "Milliseconds for one call, waiting included.";
    compute_ms: 10_000, "Milliseconds of computing in one call.";
    memory_bytes: 64 << 20 => MEMORY_BYTES_MAX, "Bytes of all memories of one instance.";
    memories: 4 => MEMORIES_MAX, "Memories of one instance.";
    table_elements: 20_000 => TABLE_ELEMENTS_MAX, "Elements of all tables of one instance.";
    tables: 20 => TABLES_MAX, "Tables of one instance.";
    instances: 32 => CORE_INSTANCES_MAX, "Core instances inside one component.";
    resources: 256, "Handles an instance holds at once, of the host's resources and of its own.";
    hostcall_bytes: 32 << 20, "Bytes that one call of an import, or one answer, may carry out of the plugin.";
    random_bytes: 64 << 10, "Bytes of randomness that a plugin gets at once.";
    printed_bytes: 8 << 10, "Bytes that are kept of what one call prints; more is dropped.";
    output_bytes: 16 << 20, "Bytes of one operation's output.";
    cursor_bytes: 16 << 10, "Bytes of a cursor.";
    calls: 64, "Calls running side by side on the connection.";
    calls_waiting: 1_000, "Calls waiting for one of these to end; further ones are refused as busy.";
    requests: 1_000, "Requests of one call, attempts and redirects not counted.";
    side_by_side: 16, "Requests of one call under way at once.";
    connect_ms: 10_000, "Milliseconds to connect.";
    attempt_ms: 30_000, "Milliseconds for one attempt, from connecting to the last byte.";
    attempts: 5, "Attempts of one request.";
    redirects: 5, "Redirects followed for one request.";
    retry_wait_ms: 60_000, "Milliseconds that one wait before another attempt may last.";
    retry_percent: 10, "Retries in percent of requests, beyond ten that may always be under way.";
    block_ms: 3_600_000, "Milliseconds that a provider's word may stop a budget.";
    url_bytes: 8_192, "Bytes of a URL.";
    headers: 100 => 10_000, "Header fields of one request or answer.";
    header_bytes: 32 << 10, "Bytes of all header fields of one request or answer.";
    request_body_bytes: 8 << 20, "Bytes of a request's body.";
    response_body_bytes: 16 << 20, "Bytes of an answer's body, after decoding.";
    streams: 4, "Bodies of one call that are read or written piece by piece at once.";
    stream_bytes: 1 << 30, "Bytes of one body that is read piece by piece, after decoding, and of a file that is taken from a call.";
    stream_idle_ms: 30_000, "Milliseconds that the provider may neither send nor take anything of such a body.";
    upload_bytes: 1 << 30, "Bytes of one body that is written piece by piece, and of a file that is given to a call.";
    event_streams: 4, "Streams of server-sent events that the connection reads at once.";
    cache_bytes: 16 << 20, "Bytes of all kept answers of the connection, in memory and again on the disk.";
    cache_entry_bytes: 1 << 20, "Bytes of an answer that is kept.";
    claims_bytes: 8 << 10, "Bytes of the claims of one token that a plugin has made.";
    log_lines: 200, "Lines that one call may log; more are dropped, as for the next two.";
    log_bytes: 64 << 10, "Bytes that one call may log.";
    log_second_bytes: 256 << 10, "Bytes that all calls of the connection may log in one second, 256 of them for each line besides its text.";
    log_fields: 32, "Fields of one such line; it says how many more there were.";
    emitted_events: 1_000, "Events that the handling of one event may emit.";
    emitted_bytes: 4 << 20, "Bytes of the content of all these.";
    emitted_second_events: 10_000, "Events that the connection may emit in one second; after more, what is next waits to be handled.";
    messages: 100, "Messages that the handling of one event may send on its socket.";
    message_bytes: 1 << 20, "Bytes of all these.";
    state_bytes: 1 << 20, "Bytes of all state values of the connection.";
    state_keys: 1_000, "Number of state values of the connection.";
    state_written_bytes: 64 << 20, "Bytes that one call may write to its state, 256 of them for each write besides key and value.";
}
