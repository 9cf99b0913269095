//! Names a hundred thousand operations.

use wharfage_guests::read;

wharfage_guests::describes!((0..100_000).map(|number| read(&format!("n{number}"))).collect());
