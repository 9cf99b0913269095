//! Sleeps for an hour, again and again.

wharfage_guests::attack!(_input => loop {
    std::thread::sleep(std::time::Duration::from_secs(3_600));
});
