//! `http`: the whole outbound path, through a guest, against a provider made of a plain socket.
use crate::assert_exists;
wharfage_tests::foreach_http!(assert_exists);
fn http_send() {}
fn http_send_all() {}
