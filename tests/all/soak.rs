//! Nothing grows and nothing is left: `tests/soak` for a minute's worth of it. It is a process of its own, for memory and
//! descriptors are of a process, and other tests run beside this one.

use std::process::Command;

#[test]
fn loading_and_mixed_work_leave_nothing_behind() {
    let (code, told) = soak(["--loads", "400", "--rounds", "48"]);
    println!("{told}");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("nothing grows and nothing is left"), "{told}");
}

#[test]
fn too_few_readings_say_nothing() {
    let (code, told) = soak(["--loads", "3", "--rounds", "3"]);
    assert_eq!(code, Some(1), "{told}");
    for part in ["loads", "rounds"] {
        assert!(told.contains(&format!("{part}: 3 readings are too few")), "{told}");
    }
}

fn soak(arguments: [&str; 4]) -> (Option<i32>, String) {
    let program = crate::cli::program().with_file_name("soak");
    let output = Command::new(&program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}
