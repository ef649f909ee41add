use std::process::Command;

use kernel::netns::Namespace;

use super::*;

const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x101);

/// The labels within fd00::/64, by the word of `ip addrlabel`.
fn listed() -> Vec<String> {
    let output = Command::new("ip").args(["addrlabel", "list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ours = text.lines().filter(|line| line.contains("fd00::"));
    ours.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn in_a_namespace(story: impl FnOnce(&Path) + Send) {
    let directory = tempfile::tempdir().unwrap();
    let namespace = Namespace::new().expect("needs root");
    namespace.run(|| story(directory.path())).unwrap();
}

#[test]
fn the_file_is_there_as_long_as_the_labels() {
    in_a_namespace(|run_dir| {
        let text = || fs::read_to_string(run_dir.join("address-labels")).ok();
        let mut labels = Labels::open(run_dir).unwrap();
        assert_eq!(text(), None);
        labels.apply(&BTreeMap::from([(VIP, 10_000), (OTHER, 7)])).unwrap();
        assert_eq!(text().as_deref(), Some("fd00::100 10000\nfd00::101 7\n"));
        labels.apply(&BTreeMap::from([(VIP, 10_000)])).unwrap();
        assert_eq!(text().as_deref(), Some("fd00::100 10000\n"));
        drop(labels);
        assert_eq!((listed(), text()), (vec![], None));
    });
}

#[test]
fn what_a_killed_daemon_left_is_found_and_removed() {
    in_a_namespace(|run_dir| {
        let mut killed = Labels::open(run_dir).unwrap();
        killed.apply(&BTreeMap::from([(VIP, 10_000), (OTHER, 10_000)])).unwrap();
        std::mem::forget(killed);
        // Since then somebody has given one of the addresses another label.
        AddressLabels::open().unwrap().remove(OTHER).unwrap();
        let add = "addrlabel add prefix fd00::101/128 label 5";
        assert!(Command::new("ip").args(add.split(' ')).status().unwrap().success());

        assert_eq!(leftovers(run_dir).unwrap(), [VIP]);
        let labels = Labels::open(run_dir).unwrap();
        assert_eq!(listed(), ["prefix fd00::101/128 label 5"]);
        drop(labels);
        assert_eq!(leftovers(run_dir).unwrap(), [VIP; 0]);
        assert_eq!(remove_leftovers(run_dir).unwrap(), [VIP; 0]);
        assert_eq!(listed(), ["prefix fd00::101/128 label 5"]);
    });
}

#[test]
fn a_file_that_is_none_of_ours_says_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(file(directory.path()), "fd00::100\n\u{fffd}\n10.0.0.1 5\nfd00::101 8\n").unwrap();
    assert_eq!(read(&file(directory.path())).unwrap(), BTreeMap::from([(OTHER, 8)]));
}
