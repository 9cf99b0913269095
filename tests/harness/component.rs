//! Components taken apart and put together by hand, as an attacker would.
//!
//! The binary format is simple enough to write sections without a library: an id, a length, and what is inside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wharfage::Host;

/// The section that holds the manifest.
pub const MANIFEST: &str = "wharfage:manifest";
/// The section that holds the operations.
pub const OPERATIONS: &str = "wharfage:operations";

/// Two components joined inside a third (`joined.wat`): valid, and no plugin.
pub const JOINED: &[u8] = include_bytes!("joined.wasm");

/// `bytes` with a custom section at its end.
pub fn with_custom(mut bytes: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    bytes.extend(section(0, &[&length(name.len()), name.as_bytes(), data].concat()));
    bytes
}

/// `bytes` with a core module nested at its end, which holds nothing but a custom section.
pub fn with_hidden_module(mut bytes: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let module = with_custom(CORE_MODULE.to_vec(), name, data);
    bytes.extend(section(1, &module));
    bytes
}

/// `bytes` with a component nested at its end, which holds nothing but a custom section.
pub fn with_hidden_component(mut bytes: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let component = with_custom(EMPTY_COMPONENT.to_vec(), name, data);
    bytes.extend(section(4, &component));
    bytes
}

/// `bytes` with a core module nested at its end, and so many instances of it: they are made before any export can be called.
pub fn with_instances(mut bytes: Vec<u8>, module: &[u8], count: usize) -> Vec<u8> {
    let instance = [&[0][..], &length(modules(&bytes)), &[0]].concat();
    bytes.extend(section(1, module));
    bytes.extend(section(2, &[length(count), instance.repeat(count)].concat()));
    bytes
}

/// A core module with memories of so many pages, tables of so many elements, and this code run at its start.
pub fn module(memories: &[usize], tables: &[usize], start: &[u8]) -> Vec<u8> {
    let sized = |kind: &[u8], sizes: &[usize]| -> Vec<u8> {
        let each = sizes.iter().flat_map(|size| [kind, &[0], &length(*size)].concat());
        [length(sizes.len()), each.collect()].concat()
    };
    let body = [&[0][..], start, &[0x0b]].concat();
    let code = [&[1][..], &length(body.len()), &body].concat();
    [
        CORE_MODULE.to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(4, &sized(&[0x70], tables)),
        section(5, &sized(&[], memories)),
        section(8, &[0]),
        section(10, &code),
    ]
    .concat()
}

/// How many core modules a component holds at its top level.
fn modules(component: &[u8]) -> usize {
    let (mut at, mut count) = (EMPTY_COMPONENT.len(), 0);
    while let Some(id) = component.get(at) {
        count += usize::from(*id == 1);
        at += 1;
        let (mut size, mut shift) = (0, 0);
        loop {
            let byte = component[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += size;
    }
    count
}

/// `bytes` with every `from` replaced by `to`; both have the same length, so that no length inside changes.
pub fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "lengths are written into a component");
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from.as_bytes()) {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// An empty core module.
pub const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// An empty component.
pub const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// `bytes` with another module in place of its first one, which is where a compiler puts the plugin's own code.
pub fn with_module(bytes: &[u8], module: &[u8]) -> Vec<u8> {
    const MODULE: u8 = 1;
    let mut at = EMPTY_COMPONENT.len();
    while bytes[at] != MODULE {
        at = content(bytes, at).1;
    }
    [&bytes[..at], &section(MODULE, module), &bytes[content(bytes, at).1..]].concat()
}

/// Where the content of the section at this place begins, and where it ends.
fn content(bytes: &[u8], section: usize) -> (usize, usize) {
    let (mut at, mut length, mut shift) = (section + 1, 0, 0);
    loop {
        length |= usize::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] < 0x80 {
            return (at, at + length);
        }
        shift += 7;
    }
}

pub(crate) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &length(content.len()), content].concat()
}

/// LEB128.
pub(crate) fn length(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// Built components, by name and manifest.
type Components = HashMap<(String, String), Arc<Vec<u8>>>;

/// A component with its manifest and operations inside, made by the public function that `wharfage build` uses. Made once
/// per process, for describing compiles. What is compiled is a component, and the same one that describes itself where it
/// does not.
///
/// # Panics
/// When it cannot be built.
pub async fn built(name: &str, compiled: impl FnOnce() -> (Vec<u8>, Option<Vec<u8>>), manifest: &str) -> Arc<Vec<u8>> {
    static BUILT: OnceLock<Mutex<Components>> = OnceLock::new();
    let kept = || BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (name.to_owned(), manifest.to_owned());
    if let Some(bytes) = kept().get(&key) {
        return bytes.clone();
    }
    let bytes = match compiled() {
        (component, None) => builder().build(&component, manifest).await,
        (component, Some(described)) => builder().build_as_described(&component, &described, manifest).await,
    }
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    kept().entry(key).or_insert(Arc::new(bytes)).clone()
}

/// A host that is good for building and describing.
pub fn builder() -> Host {
    static BUILDER: OnceLock<Host> = OnceLock::new();
    let made = || Host::builder().code_dir(crate::compiled_code()).build().expect("a host starts");
    BUILDER.get_or_init(made).clone()
}
