//! Answers a number of a million digits, and one whose exponent is as long.

use wharfage_guests::page;

wharfage_guests::attack!(input => {
    let digits = "9".repeat(1_000_000);
    Ok(page(if input.contains("exponent") { format!("1e{digits}") } else { digits }))
});
