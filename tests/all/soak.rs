//! Nothing grows and nothing is left: `tests/soak` for a minute's worth of it. It is a process of its own, for memory and
//! descriptors are of a process, and other tests run beside this one.

use std::process::Command;

#[test]
fn loading_and_mixed_work_leave_nothing_behind() {
    let program = crate::cli::program().with_file_name("soak");
    let output = Command::new(&program).args(["--loads", "400", "--rounds", "48"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("nothing grows and nothing is left"), "{out}");
}
