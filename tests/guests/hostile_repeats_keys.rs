//! Answers an object that says the same thing fifty thousand times, differently.

use wharfage_guests::page;

wharfage_guests::attack!(_input => {
    let fields: Vec<String> = (0..50_000).map(|number| format!("\"a\":{number}")).collect();
    Ok(page(format!("{{{}}}", fields.join(","))))
});
