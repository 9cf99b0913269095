//! `files`: what a caller hands over with a call, in pieces, and nothing else.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wharfage::{Error, Files, Kind};
use wharfage_tests::{Open, Scene, guests};

use crate::assert_exists;

wharfage_tests::foreach_files!(assert_exists);

/// What was written.
#[derive(Clone, Default)]
pub(crate) struct Taken(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn open() -> Open {
    Scene::of(guests::FILES_ROUNDTRIP).open().await
}

async fn with(open: &Open, files: &Files, operation: &str, input: Value) -> Result<Value, Error> {
    open.plugin.with_files(files.clone()).call(operation, &input).await.map(|answer| answer.output)
}

fn given(bytes: &[u8]) -> Files {
    Files::default().give("a", Cursor::new(bytes.to_vec())).unwrap()
}

/// A connection grants nothing for it: what is handed over comes with the call.
#[tokio::test]
async fn files_roundtrip() {
    let open = open().await;
    assert!(!open.plugin.grant().missing().iter().any(|missing| missing.what.contains("files")));
    let taken = Taken::default();
    let files = given(b"hello").take("b", taken.clone());
    assert_eq!(with(&open, &files, "length", json!({"name": "a"})).await.unwrap(), json!(5));
    for (offset, most, read) in [(0, 2, "he"), (3, 99, "lo"), (5, 1, ""), (u64::MAX, 1, ""), (1, 0, "")] {
        let input = json!({"name": "a", "offset": offset, "most": most});
        assert_eq!(with(&open, &files, "read", input).await.unwrap(), json!(read), "{offset}");
    }
    assert_eq!(with(&open, &files, "copy", json!({"name": "a", "to": "b", "most": 2})).await.unwrap(), json!(5));
    assert_eq!(*taken.0.lock().unwrap(), b"hello");
}

/// Neither a file of another call nor one of the disk, and each only the way it was handed over.
#[tokio::test]
async fn nothing_else_is_reached() {
    let open = open().await;
    let files = given(b"hello").take("b", Taken::default());
    with(&open, &files, "length", json!({"name": "a"})).await.unwrap();
    for (files, operation, name, flag) in [
        (Files::default(), "length", "a", "--file a=PATH"),
        (Files::default(), "write", "b", "--save b=PATH"),
        (files.clone(), "read", "b", "--file b=PATH"),
        (files.clone(), "write", "a", "--save a=PATH"),
        (files.clone(), "read", "/etc/hostname", "--file"),
        (files.clone(), "read", "../a", "--file"),
        (files, "read", "", "--file"),
    ] {
        let error = with(&open, &files, operation, json!({"name": name, "text": "x"})).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::InvalidRequest(_)), "{error:?}");
        assert!(error.details().unwrap().contains(flag), "{error}");
    }
}

#[tokio::test]
async fn files_have_limits() {
    let scene = Scene::of(guests::FILES_ROUNDTRIP);
    let open = scene
        .grant(|connection| {
            connection.limits.upload_bytes = 4;
            connection.limits.stream_bytes = 5;
        })
        .open()
        .await;
    let taken = Taken::default();
    let files = given(b"hello").take("b", taken.clone());
    for operation in ["length", "read"] {
        let error = with(&open, &files, operation, json!({"name": "a"})).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::LimitExceeded("upload_bytes".to_owned()));
        assert!(error.details().unwrap().contains("limits.upload_bytes"), "{error}");
    }
    with(&open, &files, "write", json!({"name": "b", "text": "abc"})).await.unwrap();
    let error = with(&open, &files, "write", json!({"name": "b", "text": "def"})).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::LimitExceeded("stream_bytes".to_owned()));
    assert_eq!(*taken.0.lock().unwrap(), b"abc");
}

/// A file that cannot be read or written is no defect of the plugin's that it could hide.
#[tokio::test]
async fn a_file_that_fails_is_told() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is full"))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let open = open().await;
    let files = Files::default().take("b", Broken);
    let error = with(&open, &files, "write", json!({"name": "b", "text": "x"})).await.unwrap_err();
    assert!(error.message().contains("the disk is full"), "{error:?}");
}
