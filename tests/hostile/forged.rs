//! Components that no compiler makes: an honest one in which the plugin's own module is another, or that was changed after it
//! was built.
//!
//! Everything around the module stays: the types, what is lifted and lowered, and how the parts are joined. So the module may
//! do at the border what it likes, and the host meets it where it meets every plugin.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemorySection, MemoryType, Module, RefType,
    StartSection, TableSection, TableType, TypeSection, ValType,
};

use crate::component::{
    CORE_MODULE, MANIFEST, replaced, with_custom, with_hidden_component, with_instances, with_module,
};

/// The forged ones by name, each a test as well.
macro_rules! forged {
    ($dollar:tt $($name:ident)*) => {
        /// Calls a macro with the name of every forged component.
        #[macro_export]
        macro_rules! foreach_forged {
            ($dollar call:ident) => { $($dollar call!($name);)* };
        }

        /// The names.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

forged! { $
    hostile_start_traps hostile_start_spins hostile_realloc_spins hostile_realloc_outside hostile_realloc_reenters
    hostile_post_traps hostile_post_spins hostile_answer_outside hostile_answer_not_utf8 hostile_answer_no_case
    hostile_list_lies hostile_arguments_outside hostile_lengths_lie hostile_no_such_handle hostile_memory_at_start
    hostile_memory_grows hostile_table_at_start hostile_table_grows hostile_memory_64 hostile_memory_shared
    hostile_gc hostile_many_instances hostile_some_instances hostile_data_outside hostile_deep_frames
    hostile_long_function hostile_many_functions hostile_leftovers hostile_two_manifests hostile_hidden_manifest
    hostile_other_operations hostile_stranger hostile_ungranted
}

type Code = fn(&mut InstructionSink<'_>);

/// A module that stands in a plugin's place. It describes one operation, `attack`, and answers `null`.
struct Forgery {
    describe: Code,
    call: Code,
    post: Code,
    realloc: Code,
    start: Option<Code>,
    /// A function of its own, called [`OWN`], from one number to another.
    own: Option<Function>,
    /// As many more that do nothing.
    more: u32,
    memory: MemoryType,
    table: TableType,
    data: Vec<(i32, Vec<u8>)>,
    is_new: bool,
}

// What it imports, and its functions.
const SEND: u32 = 0;
const READ: u32 = 1;
const LOG: u32 = 2;
const OWN: u32 = 8;

// Where things lie in its memory, all on the first page.
const DESCRIBED: i32 = 1024;
const ANSWERED: i32 = 2048;
const ANSWERED_OTHERWISE: i32 = 2304;
const HEAP: i32 = 4096;
/// The second page.
const BEYOND: i32 = 65_536;

/// A page of its memory.
const PAGES: MemoryType =
    MemoryType { minimum: 4, maximum: None, memory64: false, shared: false, page_size_log2: None };
const TABLE: TableType =
    TableType { element_type: RefType::FUNCREF, table64: false, minimum: 1, maximum: None, shared: false };

impl Default for Forgery {
    fn default() -> Self {
        Self {
            describe: |code| {
                code.i32_const(DESCRIBED);
            },
            call: |code| {
                code.i32_const(ANSWERED);
            },
            post: |_| {},
            realloc: give,
            start: None,
            own: None,
            more: 0,
            memory: PAGES,
            table: TABLE,
            data: Vec::new(),
            is_new: false,
        }
    }
}

/// The next free place, and never one twice.
fn give(code: &mut InstructionSink<'_>) {
    // A multiple of 16 is aligned for everything.
    code.local_get(3).i32_const(31).i32_add().i32_const(-16).i32_and().global_get(0).i32_add();
    code.global_set(0).global_get(0).local_get(3).i32_const(31).i32_add().i32_const(-16).i32_and().i32_sub();
}

fn for_ever(code: &mut InstructionSink<'_>) {
    code.loop_(BlockType::Empty).br(0).end();
}

fn fail(code: &mut InstructionSink<'_>) {
    code.unreachable();
}

impl Forgery {
    fn module(&self) -> Vec<u8> {
        let mut types = TypeSection::new();
        for (parameters, results) in [(0, 1), (7, 1), (12, 1), (1, 0), (4, 1), (0, 0), (2, 0), (3, 0), (5, 0), (1, 1)] {
            types.ty().function(vec![ValType::I32; parameters], vec![ValType::I32; results]);
        }
        if self.is_new {
            types.ty().struct_([]);
        }
        let mut imports = ImportSection::new();
        imports.import("wharfage:plugin/http@0.1.0", "send", EntityType::Function(6));
        imports.import("wharfage:plugin/http@0.1.0", "[method]body.read", EntityType::Function(7));
        imports.import("wharfage:plugin/log@0.1.0", "write", EntityType::Function(8));
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        let handle: Code = fail;
        let own = |write: Code| {
            let mut function = Function::new([(1, ValType::I32)]);
            write(&mut function.instructions());
            function.instructions().end();
            function
        };
        for (kind, write) in [(0, self.describe), (1, self.call), (2, handle), (3, self.post), (4, self.realloc)] {
            functions.function(kind);
            code.function(&own(write));
        }
        functions.function(9);
        code.function(self.own.as_ref().unwrap_or(&own(|code| {
            code.local_get(0);
        })));
        if let Some(start) = self.start {
            functions.function(5);
            code.function(&own(start));
        }
        for _ in 0..self.more {
            functions.function(9);
            code.function(&own(|code| {
                code.local_get(0).i32_const(7).i32_mul();
            }));
        }
        let mut tables = TableSection::new();
        tables.table(self.table);
        let mut memories = MemorySection::new();
        memories.memory(self.memory);
        let mut globals = GlobalSection::new();
        let heap = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(heap, &ConstExpr::i32_const(HEAP));
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        for (name, function) in [
            ("wharfage:plugin/operations@0.1.0#describe", 3),
            ("wharfage:plugin/operations@0.1.0#call", 4),
            ("wharfage:plugin/events@0.1.0#handle", 5),
            ("cabi_post_wharfage:plugin/operations@0.1.0#describe", 6),
            ("cabi_post_wharfage:plugin/operations@0.1.0#call", 6),
            ("cabi_post_wharfage:plugin/events@0.1.0#handle", 6),
            ("cabi_realloc", 7),
        ] {
            exports.export(name, ExportKind::Func, function);
        }
        let mut data = DataSection::new();
        for (at, bytes) in self.words().into_iter().chain(self.data.iter().cloned()) {
            data.active(0, &ConstExpr::i32_const(at), bytes);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables).section(&memories);
        module.section(&globals).section(&exports);
        if self.start.is_some() {
            module.section(&StartSection { function_index: OWN + 1 });
        }
        module.section(&code).section(&data);
        module.finish()
    }

    /// What it says, as the border wants it: one operation, and two answers.
    fn words(&self) -> Vec<(i32, Vec<u8>)> {
        let words = |words: &[i32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let text = |at: i32, text: &str| (at, text.as_bytes().to_vec());
        vec![
            (DESCRIBED, words(&[DESCRIBED + 16, 1])),
            (DESCRIBED + 16, words(&[1100, 6, 1110, 1, 1120, 17, 1140, 2, 0])),
            text(1100, "attack"),
            text(1110, "x"),
            text(1120, "{\"type\":\"object\"}"),
            text(1140, "{}"),
            (ANSWERED, words(&[0, 0, ANSWERED + 64, 4, 0, 0, 0])),
            text(ANSWERED + 64, "null"),
            (ANSWERED_OTHERWISE, words(&[0, 0, ANSWERED_OTHERWISE + 64, 11, 0, 0, 0])),
            text(ANSWERED_OTHERWISE + 64, "\"otherwise\""),
        ]
    }

    fn inside(&self, honest: &[u8]) -> Vec<u8> {
        with_module(honest, &self.module())
    }
}

const PLAIN: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };

/// Answers an output of this place and length.
fn answering(output: [i32; 2]) -> Forgery {
    let bytes = output.iter().flat_map(|word| word.to_le_bytes()).collect();
    Forgery { data: vec![(ANSWERED + 8, bytes)], ..Forgery::default() }
}

/// A module that fails when it starts.
pub fn start_traps(honest: Vec<u8>) -> Vec<u8> {
    Forgery { start: Some(fail), ..Forgery::default() }.inside(&honest)
}

/// A module whose start does not end.
pub fn start_spins(honest: Vec<u8>) -> Vec<u8> {
    Forgery { start: Some(for_ever), ..Forgery::default() }.inside(&honest)
}

/// Does not come back when the host asks for a place for an argument.
pub fn realloc_spins(honest: Vec<u8>) -> Vec<u8> {
    let realloc: Code = |code| {
        for_ever(code);
        code.unreachable();
    };
    Forgery { realloc, ..Forgery::default() }.inside(&honest)
}

/// Gives the host a place outside of its memory.
pub fn realloc_outside(honest: Vec<u8>) -> Vec<u8> {
    Forgery {
        realloc: |code| {
            code.i32_const(-16);
        },
        ..Forgery::default()
    }
    .inside(&honest)
}

/// Calls the host while the host is handing it an argument.
pub fn realloc_reenters(honest: Vec<u8>) -> Vec<u8> {
    let realloc: Code = |code| {
        code.i32_const(0).i32_const(DESCRIBED).i32_const(4).i32_const(DESCRIBED).i32_const(0).call(LOG);
        give(code);
    };
    Forgery { realloc, ..Forgery::default() }.inside(&honest)
}

/// Fails when the host has its answer and says so.
pub fn post_traps(honest: Vec<u8>) -> Vec<u8> {
    Forgery { post: fail, ..Forgery::default() }.inside(&honest)
}

/// Does not come back when the host has its answer and says so.
pub fn post_spins(honest: Vec<u8>) -> Vec<u8> {
    Forgery { post: for_ever, ..Forgery::default() }.inside(&honest)
}

/// Answers a text that lies outside of its memory.
pub fn answer_outside(honest: Vec<u8>) -> Vec<u8> {
    answering([BEYOND, i32::MAX]).inside(&honest)
}

/// Answers bytes that are no text.
pub fn answer_not_utf8(honest: Vec<u8>) -> Vec<u8> {
    let mut forgery = answering([3000, 4]);
    forgery.data.push((3000, vec![b'"', 0xff, 0xfe, b'"']));
    forgery.inside(&honest)
}

/// Answers neither a page nor an error but a third thing.
pub fn answer_no_case(honest: Vec<u8>) -> Vec<u8> {
    Forgery { data: vec![(ANSWERED, vec![7])], ..Forgery::default() }.inside(&honest)
}

/// Describes a hundred million operations, all in the same few bytes.
pub fn list_lies(honest: Vec<u8>) -> Vec<u8> {
    Forgery { data: vec![(DESCRIBED + 4, 100_000_000_i32.to_le_bytes().to_vec())], ..Forgery::default() }
        .inside(&honest)
}

/// Hands a request over that lies outside of its memory.
pub fn arguments_outside(honest: Vec<u8>) -> Vec<u8> {
    let call: Code = |code| {
        code.i32_const(-64).i32_const(HEAP).call(SEND).i32_const(ANSWERED);
    };
    Forgery { call, ..Forgery::default() }.inside(&honest)
}

/// Logs a line with a hundred million fields that are not there.
pub fn lengths_lie(honest: Vec<u8>) -> Vec<u8> {
    let call: Code = |code| {
        code.i32_const(0).i32_const(DESCRIBED).i32_const(4).i32_const(DESCRIBED).i32_const(100_000_000).call(LOG);
        code.i32_const(ANSWERED);
    };
    Forgery { call, ..Forgery::default() }.inside(&honest)
}

/// Reads from an answer that it was never given.
pub fn no_such_handle(honest: Vec<u8>) -> Vec<u8> {
    let call: Code = |code| {
        code.i32_const(1).i32_const(16).i32_const(HEAP).call(READ).i32_const(ANSWERED);
    };
    Forgery { call, ..Forgery::default() }.inside(&honest)
}

/// Wants 125 MiB before it does anything.
pub fn memory_at_start(honest: Vec<u8>) -> Vec<u8> {
    Forgery { memory: MemoryType { minimum: 2_000, ..PAGES }, ..Forgery::default() }.inside(&honest)
}

/// Takes memory page by page until it gets no more, and answers as if nothing had been.
pub fn memory_grows(honest: Vec<u8>) -> Vec<u8> {
    let call: Code = |code| {
        code.loop_(BlockType::Empty).i32_const(1).memory_grow(0).i32_const(-1).i32_ne().br_if(0).end();
        code.i32_const(ANSWERED);
    };
    Forgery { call, ..Forgery::default() }.inside(&honest)
}

/// Wants a table of ninety thousand before it does anything.
pub fn table_at_start(honest: Vec<u8>) -> Vec<u8> {
    Forgery { table: TableType { minimum: 90_000, ..TABLE }, ..Forgery::default() }.inside(&honest)
}

/// Makes its table larger until it may not, and answers as if nothing had been.
pub fn table_grows(honest: Vec<u8>) -> Vec<u8> {
    let call: Code = |code| {
        code.loop_(BlockType::Empty).ref_null(wasm_encoder::HeapType::FUNC).i32_const(100).table_grow(0);
        code.i32_const(-1).i32_ne().br_if(0).end().i32_const(ANSWERED);
    };
    Forgery { call, ..Forgery::default() }.inside(&honest)
}

/// Has a memory of 64 bits.
pub fn memory_64(honest: Vec<u8>) -> Vec<u8> {
    Forgery { memory: MemoryType { memory64: true, ..PAGES }, ..Forgery::default() }.inside(&honest)
}

/// Has a memory that several threads share.
pub fn memory_shared(honest: Vec<u8>) -> Vec<u8> {
    Forgery { memory: MemoryType { shared: true, maximum: Some(4), ..PAGES }, ..Forgery::default() }.inside(&honest)
}

/// Has a type of the garbage collector's.
pub fn gc(honest: Vec<u8>) -> Vec<u8> {
    Forgery { is_new: true, ..Forgery::default() }.inside(&honest)
}

/// Two thousand instances of a module with nothing in it.
pub fn many_instances(honest: Vec<u8>) -> Vec<u8> {
    with_instances(honest, CORE_MODULE, 2_000)
}

/// As many as pass for few: sixty.
pub fn some_instances(honest: Vec<u8>) -> Vec<u8> {
    with_instances(honest, CORE_MODULE, 60)
}

/// Brings data for where it has no memory.
pub fn data_outside(honest: Vec<u8>) -> Vec<u8> {
    Forgery { data: vec![(-8, vec![1; 16])], ..Forgery::default() }.inside(&honest)
}

/// A function with five hundred variables, all of them needed after it has called itself.
fn large_frame() -> Function {
    const VARIABLES: u32 = 500;
    let mut function = Function::new([(VARIABLES, ValType::I32)]);
    let mut code = function.instructions();
    for variable in 1..=VARIABLES {
        code.local_get(0).i32_const(i32::try_from(variable).unwrap_or_default()).i32_mul().local_set(variable);
    }
    code.local_get(0).i32_const(1).i32_add().call(OWN);
    for variable in 1..=VARIABLES {
        code.local_get(variable).i32_add();
    }
    code.end();
    function
}

/// Calls itself with large frames.
pub fn deep_frames(honest: Vec<u8>) -> Vec<u8> {
    let call: Code = |code| {
        code.i32_const(1).call(OWN);
    };
    Forgery { call, own: Some(large_frame()), ..Forgery::default() }.inside(&honest)
}

/// One function of a hundred thousand steps, each of which may go elsewhere.
pub fn long_function(honest: Vec<u8>) -> Vec<u8> {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for step in 0..25_000 {
        code.block(BlockType::Empty).local_get(0).i32_const(step).i32_eq().br_if(0);
        code.local_get(0).i32_const(step).i32_add().local_set(0).end();
    }
    code.local_get(0).end();
    Forgery { own: Some(function), ..Forgery::default() }.inside(&honest)
}

/// Thirty thousand functions.
pub fn many_functions(honest: Vec<u8>) -> Vec<u8> {
    Forgery { more: 30_000, ..Forgery::default() }.inside(&honest)
}

/// Looks for what another left in its memory, and leaves something in all of it.
pub fn leftovers(honest: Vec<u8>) -> Vec<u8> {
    const PLACES: u64 = 64;
    let call: Code = |code| {
        const AT: u32 = 7;
        code.i32_const(BEYOND)
            .local_set(AT)
            .loop_(BlockType::Empty)
            .local_get(AT)
            .i64_load(PLAIN)
            .i64_const(0)
            .i64_ne();
        code.if_(BlockType::Empty).i32_const(ANSWERED_OTHERWISE).return_().end();
        code.local_get(AT).i64_const(0x5a5a_5a5a_5a5a_5a5a).i64_store(PLAIN);
        code.local_get(AT).i32_const(8).i32_add().local_tee(AT).i32_const(64 << 16).i32_lt_u().br_if(0).end();
        code.i32_const(ANSWERED);
    };
    Forgery { call, memory: MemoryType { minimum: PLACES, ..PAGES }, ..Forgery::default() }.inside(&honest)
}

/// A second manifest, which asks for less than the first.
pub fn two_manifests(built: Vec<u8>) -> Vec<u8> {
    with_custom(built, MANIFEST, b"[plugin]\nname = \"harmless\"\nversion = \"0.1.0\"\ncontract = \"0.1.0\"\n")
}

/// A manifest inside a component inside.
pub fn hidden_manifest(built: Vec<u8>) -> Vec<u8> {
    with_hidden_component(built, MANIFEST, b"[plugin]\nname = \"harmless\"\n")
}

/// Operations beside the code that the code does not name.
pub fn other_operations(mut built: Vec<u8>) -> Vec<u8> {
    // What is carried stands behind the code.
    let carried = built.len() - 1 - built.iter().rev().position(|byte| *byte == 0).unwrap_or_default();
    let changed = replaced(built.split_off(carried), "echo.strict", "echo.harmed");
    [built, changed].concat()
}

/// An import that belongs to nobody.
pub fn stranger(compiled: Vec<u8>) -> Vec<u8> {
    let renamed = replaced(compiled, "wasi:cli/stdin@0.2.0", "evil:cli/stdin@0.2.0");
    replaced(renamed, "wasi:cli/stdin@0.2.6", "evil:cli/stdin@0.2.6")
}

/// As it was compiled.
pub fn ungranted(honest: Vec<u8>) -> Vec<u8> {
    honest
}
