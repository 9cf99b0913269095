//! Asks for permits without end, whatever it is told.

use wharfage_guests::rate_limit::acquire;

wharfage_guests::attack!(_input => loop {
    let _ = acquire("credits", 1);
});
