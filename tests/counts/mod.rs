//! What is counted instead of timed, for a count is the same on a busy machine: instructions of the pure parts of the path,
//! what a whole call takes but for its socket, and bytes that a body costs on its way into a guest.
//!
//! A program runs itself under valgrind, twice, so many times and so many times more. What one time costs is the
//! difference by their number: what starts and ends a process is not in it. [`recorded`] is what was counted before, with
//! the date, the reason and the compiler; `counts` compares, and renews what a person gives a reason for.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use wharfage::pure::{WORK, Work};

use crate::measured::{self, Memory, Size, WARM};

/// Where counts are recorded, from the repository's top.
pub const RECORDED: &str = "tests/counts/counts.toml";

/// A count may differ by so much from what is recorded.
pub const PERCENT_MAX: f64 = 5.0;

/// Bytes of the body that is carried.
pub const BODY_BYTES: usize = 100 << 10;

/// A body is copied into the guest, as the component model has it, and once more at most.
pub const BODY_COPIES_MAX: f64 = 2.1;

/// What makes this program do a piece of work so many times: the argument before what is counted and the number.
pub const ARGUMENT: &str = "--do";

/// Something that is counted.
#[derive(Clone, Copy)]
pub struct Counted {
    /// The part.
    pub part: &'static str,
    /// What it works on.
    pub input: &'static str,
    /// What is counted.
    pub unit: Unit,
    work: Do,
}

#[derive(Clone, Copy)]
enum Do {
    Pure(fn(usize)),
    Carry,
    /// What the connection says of its instances.
    Call(&'static str),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Instructions of this program.
    Instructions,
    /// Bytes that one place in memory got from another.
    BytesCopied,
    /// Bytes that were asked of the allocator.
    BytesAllocated,
}

impl Unit {
    /// As it is written in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::BytesCopied => "bytes-copied",
            Self::BytesAllocated => "bytes-allocated",
        }
    }

    /// The tool of valgrind that counts it.
    fn tool(self) -> &'static [&'static str] {
        match self {
            Self::Instructions => &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
            Self::BytesCopied => &["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"],
            Self::BytesAllocated => &["--tool=dhat", "--dhat-out-file=/dev/null"],
        }
    }

    /// What stands before the count in what the tool says.
    fn word(self) -> &'static str {
        match self {
            Self::Instructions => "Collected :",
            Self::BytesCopied | Self::BytesAllocated => "Total:",
        }
    }
}

/// A count as it was recorded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The part.
    pub part: String,
    /// What it worked on.
    pub input: String,
    /// What was counted.
    pub unit: Unit,
    /// How much of it for one time.
    pub count: u64,
    /// When, as YYYY-MM-DD.
    pub date: String,
    /// Why it became what it is.
    pub reason: String,
    /// The compiler that made the program.
    pub compiler: String,
}

impl Recorded {
    /// Whether it is the count of this.
    pub fn is_of(&self, counted: &Counted) -> bool {
        (&*self.part, &*self.input, self.unit) == (counted.part, counted.input, counted.unit)
    }
}

/// Everything that is counted.
pub fn all() -> Vec<Counted> {
    let pure = WORK.iter().map(|Work { part, input, run }| Counted {
        part,
        input,
        unit: Unit::Instructions,
        work: Do::Pure(*run),
    });
    let carried = [Unit::BytesCopied, Unit::BytesAllocated].map(carried);
    pure.chain(called()).chain(carried).collect()
}

/// A call with one request that is answered by about 1 KiB at once: everything but the socket, the guest's own work included.
fn called() -> impl Iterator<Item = Counted> {
    let of = |input, lines| {
        [Unit::Instructions, Unit::BytesCopied, Unit::BytesAllocated].map(|unit| Counted {
            part: "call",
            input,
            unit,
            work: Do::Call(lines),
        })
    };
    of("one request, a fresh instance", "").into_iter().chain(of("one request, a warm instance", WARM))
}

/// A body of 100 KiB on its way from the transport into a guest: what an answer with it takes more than one without.
pub fn carried(unit: Unit) -> Counted {
    Counted { part: "body", input: "100 KiB, from the transport into the guest", unit, work: Do::Carry }
}

/// What is recorded.
///
/// # Errors
/// When the table cannot be read.
pub fn recorded() -> Result<Vec<Recorded>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(default)]
        counted: Vec<Recorded>,
    }
    let text = std::fs::read_to_string(crate::root().join(RECORDED)).unwrap_or_default();
    toml::from_str::<Table>(&text).map(|table| table.counted).map_err(|error| format!("{RECORDED}: {error}"))
}

impl Counted {
    /// What `program` was started to do with these arguments, if that is a piece of work.
    pub fn asked(mut arguments: impl Iterator<Item = String>) -> Option<(Self, usize)> {
        arguments.find(|argument| argument == ARGUMENT)?;
        let wanted = arguments.next()?.parse::<usize>().ok()?;
        Some((*all().get(wanted)?, arguments.next()?.parse().ok()?))
    }

    /// Does it so many times.
    pub fn perform(&self, times: usize) {
        match self.work {
            Do::Pure(run) => run(times),
            Do::Carry => carry(times),
            Do::Call(lines) => call(times, lines),
        }
    }

    /// Whether it can be done without the arguments that a component comes by.
    pub fn is_pure(&self) -> bool {
        matches!(self.work, Do::Pure(_))
    }

    /// How much of it one time takes, counted with this program.
    ///
    /// # Errors
    /// When valgrind is not there or does not count.
    pub fn count(&self, program: &Path) -> Result<u64, String> {
        /// So many times, and so many times more: few, where one time costs much, else many.
        const FEW: [usize; 2] = [10, 50];
        const MANY: [usize; 2] = [100, 1_000];
        const CALLS: [usize; 2] = [20, 200];
        const BODIES: usize = 200;
        const LITTLE: u64 = 50_000;
        let each = |[times, more]: [usize; 2], arguments: &[PathBuf]| -> Result<u64, String> {
            let before = self.total(program, times, arguments)?;
            let after = self.total(program, times + more, arguments)?;
            Ok(after.saturating_sub(before) / more as u64)
        };
        // The first time compiles; after it the code is there. Compiling costs more than what is counted, and never the same.
        match self.work {
            Do::Call(_) => {
                let component = built()?;
                let arguments = [component.path().to_owned()];
                self.total(program, 1, &arguments)?;
                each(CALLS, &arguments)
            }
            Do::Carry => {
                let component = built()?;
                let with = |bytes: usize| [component.path().to_owned(), bytes.to_string().into()];
                self.total(program, 1, &with(0))?;
                // What goes with every answer, which the path's count is about, is no matter of the body.
                let none = self.total(program, BODIES, &with(0))?;
                let bodies = self.total(program, BODIES, &with(BODY_BYTES))?;
                Ok(bodies.saturating_sub(none) / BODIES as u64)
            }
            Do::Pure(_) => match each(FEW, &[])? {
                little if little < LITTLE => each(MANY, &[]),
                much => Ok(much),
            },
        }
    }

    fn total(&self, program: &Path, times: usize, arguments: &[PathBuf]) -> Result<u64, String> {
        let place =
            all().iter().position(|other| (other.part, other.input, other.unit) == (self.part, self.input, self.unit));
        let place = place.ok_or("it is not among what is counted")?;
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(self.unit.tool())
            .arg(program)
            .arg(ARGUMENT)
            .args([place.to_string(), times.to_string()])
            .args(arguments);
        let output = valgrind.output().map_err(|error| format!("valgrind does not start ({error}). {INSTALL}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let count = said.lines().find_map(|line| {
            let digits = line.split_once(self.unit.word())?.1.trim_start().split(' ').next()?.replace(',', "");
            digits.parse().ok()
        });
        match count {
            Some(count) if output.status.success() => Ok(count),
            _ => Err(format!("valgrind did not count {}, {}:\n{said}", self.part, self.input)),
        }
    }
}

/// How to get what counts.
pub const INSTALL: &str = "Install it:   apt-get install valgrind   (or dnf install valgrind)";

/// The component that is called, in a file: a process that counts must not make it.
fn built() -> Result<tempfile::NamedTempFile, String> {
    // Of its own, for whoever asks may be inside of a runtime.
    let component = std::thread::spawn(|| runtime().block_on(measured::component())).join();
    let component = component.map_err(|_| "the component cannot be built".to_owned())?;
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    std::fs::write(file.path(), &*component).map_err(|error| error.to_string())?;
    Ok(file)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// What stands after the number: the plugin's file, and what else there is.
fn arguments() -> impl Iterator<Item = String> {
    std::env::args().skip_while(|argument| argument != ARGUMENT).skip(3)
}

/// That plugin, whose every request is answered by this body.
async fn answered(body: Vec<u8>, lines: &str) -> wharfage::Plugin {
    let path = arguments().next().expect("the component's file");
    let component = std::fs::read(path).expect("the component");
    let host = wharfage::Host::builder().transport(Memory(body.into())).code_dir(crate::compiled_code());
    measured::connect(host, &component, measured::NOWHERE, lines).await
}

/// So many calls, one after another, each with one request whose answer the guest parses.
fn call(times: usize, lines: &str) {
    runtime().block_on(async {
        let plugin = answered(Size::Small.json().into(), lines).await;
        let input = serde_json::json!({ "url": "{api}/small" });
        for _ in 0..times {
            let answer = plugin.call::<usize>("parse", &input).await.unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!(answer.output, Size::Small.orders());
        }
    });
}

/// One call of a plugin that sends so many requests, each of which is answered by a body of so many bytes.
fn carry(times: usize) {
    let bytes: usize = arguments().nth(1).and_then(|bytes| bytes.parse().ok()).expect("the bytes of a body");
    runtime().block_on(async {
        let plugin = answered(vec![b' '; bytes], "").await;
        let input = serde_json::json!({ "url": "{api}/large", "times": times });
        let answer = plugin.call::<usize>("send", &input).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(answer.output, times * bytes);
    });
}
