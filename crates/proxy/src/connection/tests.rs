use super::{CLIENT, Connection, Key};

#[test]
fn an_idle_connection_is_small() {
    // Thousands of them are silent most of the time. With a slot of the slab, which adds 8 bytes.
    assert!(size_of::<Connection>() <= 88, "{} bytes", size_of::<Connection>());
}

#[test]
fn an_event_finds_its_connection_and_side() {
    for (slot, generation, side) in [(0, 0, CLIENT), (9_000, 1, 7), (1 << 30, (1 << 24) - 1, 200)] {
        let key = Key::new(slot, generation);
        let (found, found_side) = Key::of_event(key.event_data(side).u64());
        assert_eq!((found, found_side, found.slot()), (key, side, slot));
    }
    assert_ne!(Key::new(3, 1), Key::new(3, 2));
}
