//! Names an operation with a megabyte of slashes and escapes.

use wharfage_guests::read;

wharfage_guests::describes!(vec![read(&"../\u{1b}[2J".repeat(1 << 17))]);
