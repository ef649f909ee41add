use super::*;

const NOON: Duration = Duration::from_secs(1_800_000_000);

fn noon_plus(seconds: u64) -> SystemTime {
    UNIX_EPOCH + NOON + Duration::from_secs(seconds)
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 6443))
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

#[test]
fn a_lease_lives_fifteen_seconds() {
    let (_directory, store) = store();
    store.renew_lease("one", address(11), noon_plus(0)).unwrap();
    store.renew_lease("two", address(12), noon_plus(10)).unwrap();

    store.publish(noon_plus(14)).unwrap();
    assert_eq!(store.latest().unwrap().unwrap().endpoints, [address(11), address(12)].into());

    store.publish(noon_plus(15)).unwrap();
    let latest = store.latest().unwrap().unwrap();
    assert_eq!(latest.endpoints, [address(12)].into());
    assert_eq!(latest.number, 2);
    assert_eq!(latest.created, 1_800_000_014);
}

#[test]
fn nothing_new_makes_no_revision() {
    let (_directory, store) = store();
    store.renew_lease("one", address(11), noon_plus(0)).unwrap();
    store.publish(noon_plus(0)).unwrap();
    store.renew_lease("one", address(11), noon_plus(2)).unwrap();
    store.publish(noon_plus(2)).unwrap();
    assert_eq!(store.latest_number().unwrap(), 1);
}

#[test]
fn who_leaves_is_gone_at_once() {
    let (_directory, store) = store();
    store.renew_lease("one", address(11), noon_plus(0)).unwrap();
    store.publish(noon_plus(0)).unwrap();
    store.remove_lease("one").unwrap();
    store.publish(noon_plus(0)).unwrap();
    assert_eq!(store.latest().unwrap().unwrap().endpoints, BTreeSet::new());
}

#[test]
fn a_number_is_taken_once() {
    let (_directory, store) = store();
    let revision = Revision { number: 7, created: 1, endpoints: [address(11)].into() };
    assert!(store.try_append(&revision).unwrap());
    let rival = Revision { number: 7, created: 1, endpoints: [address(12)].into() };
    assert!(!store.try_append(&rival).unwrap());
    assert_eq!(store.read(7).unwrap(), revision);
}

#[test]
fn what_was_pruned_is_gone() {
    let (_directory, store) = store();
    for number in 1..=70 {
        store.renew_lease("one", address(number), noon_plus(0)).unwrap();
        store.publish(noon_plus(0)).unwrap();
    }
    assert_eq!(store.latest_number().unwrap(), 70);
    // 64 of 70 are kept: 7 to 70. A watch that has seen 6 misses nothing, one that has seen 5 does.
    assert_eq!(store.after(6).unwrap().unwrap().len(), 64);
    assert_eq!(store.after(5).unwrap(), None);
    assert_eq!(store.after(70).unwrap(), Some(vec![]));
}
