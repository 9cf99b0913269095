//! Prints without end.

wharfage_guests::attack!(_input => loop {
    println!("{:1000}", "on and on");
});
