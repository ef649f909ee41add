use super::*;
use crate::announce::Announcer;
use crate::test_cable::{Cable, eth0, run, wait_for};

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn witness(watched: &[&str]) -> Witness {
    let link = eth0();
    Witness::open(link.index, link.mac.unwrap(), &addresses(watched)).unwrap()
}

fn announce(announced: &[&str]) -> Mac {
    let link = eth0();
    let mac = link.mac.unwrap();
    let announcer = Announcer::open(link.index, mac).unwrap();
    addresses(announced).into_iter().for_each(|address| announcer.announce(address).unwrap());
    mac
}

#[test]
fn hears_another_host_announce_an_address_of_either_family_and_nothing_else() {
    let cable = Cable::new();
    let witness = cable.here(|| witness(&["10.9.0.100", "fd09::100", "fd09::101"]));
    let mac = cable.there(|| {
        // Another address, other packets, another one that ends alike, then those that are meant.
        run("ping", &["-c", "1", "10.9.0.1"]);
        run("ping", &["-c", "1", "fd09::1"]);
        announce(&["10.9.0.99", "fd09:1::100", "10.9.0.100", "fd09::100", "fd09::101"])
    });
    let mut heard = vec![];
    wait_for("three announcements", || {
        heard.extend(witness.heard().unwrap());
        (heard.len() >= 3).then_some(())
    });
    heard.sort_by_key(|it| it.address);
    assert_eq!(heard, said_by(mac, &["10.9.0.100", "fd09::100", "fd09::101"]));
}

#[test]
fn what_this_host_announces_is_no_news() {
    let cable = Cable::new();
    let witness = cable.here(|| witness(&["10.9.0.100", "fd09::100"]));
    cable.here(|| announce(&["10.9.0.100", "fd09::100"]));
    let mac = cable.there(|| announce(&["10.9.0.100"]));
    let heard = wait_for("the other's announcement", || {
        Some(witness.heard().unwrap()).filter(|heard| !heard.is_empty())
    });
    assert_eq!(heard, said_by(mac, &["10.9.0.100"]));
}

#[test]
fn watches_255_addresses() {
    let cable = Cable::new();
    let many: Vec<IpAddr> = (0..255).map(|last| IpAddr::from([10, 9, 1, last])).collect();
    let witness = cable.here(|| {
        let link = eth0();
        Witness::open(link.index, link.mac.unwrap(), &many).unwrap()
    });
    let mac = cable.there(|| announce(&["10.9.1.254"]));
    let heard = wait_for("the announcement of the last", || {
        Some(witness.heard().unwrap()).filter(|heard| !heard.is_empty())
    });
    assert_eq!(heard, said_by(mac, &["10.9.1.254"]));
}

fn said_by(mac: Mac, texts: &[&str]) -> Vec<Answer> {
    addresses(texts).into_iter().map(|address| Answer { address, mac }).collect()
}
