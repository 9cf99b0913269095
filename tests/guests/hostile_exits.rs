//! Ends the process that it runs in.

wharfage_guests::attack!(_input => std::process::exit(0));
