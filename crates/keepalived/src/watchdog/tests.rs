use std::fs;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::files::Readiness;

/// Long enough for every patience, on a slow machine as well.
const SILENCE: Duration = Duration::from_millis(2_300);

/// A watchdog on a thread of its own: our end of the socket, and its files.
fn watched(readiness: Readiness) -> (OwnedFd, Files, thread::JoinHandle<()>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    files.write_readiness(readiness).unwrap();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let run_dir = directory.path().to_owned();
    let watchdog = thread::spawn(move || watch(theirs, &run_dir).unwrap());
    (ours, files, watchdog, directory)
}

fn word(files: &Files) -> String {
    fs::read_to_string(files.readiness()).unwrap()
}

/// A heartbeat that tells so many hundredths of a second.
fn beat(socket: &OwnedFd, patience: u8) {
    send(socket, &[patience], SendFlags::empty()).unwrap();
}

#[test]
fn its_patience_is_shorter_the_longer_the_heirs_wait() {
    for (advert_interval, patience_ms) in
        [(10, 1_480), (100, 1_300), (500, 500), (550, 400), (1_000, 400), (40_950, 400)]
    {
        let advert_interval = Duration::from_millis(advert_interval);
        assert_eq!(patience(advert_interval), Duration::from_millis(patience_ms));
    }
}

#[test]
fn a_silent_daemon_is_not_ready_and_hears_of_it() {
    let (socket, files, watchdog, _directory) = watched(Readiness::Ready);
    beat(&socket, 250);
    thread::sleep(Duration::from_millis(1_000));
    assert_eq!(word(&files), "0\n");
    let begin = Instant::now();
    beat(&socket, 40);
    while word(&files) == "0\n" {
        assert!(begin.elapsed() < SILENCE);
        thread::sleep(Duration::from_millis(5));
    }
    assert!(begin.elapsed() >= Duration::from_millis(400));
    assert_eq!(word(&files), "1\n");
    assert_eq!(recv(&socket, &mut [0; 64], RecvFlags::empty()).unwrap().1, 1);

    // It goes on and writes its own word, which stands.
    beat(&socket, 250);
    files.write_readiness(Readiness::Ready).unwrap();
    thread::sleep(Duration::from_millis(1_000));
    assert_eq!(word(&files), "0\n");
    assert!(recv(&socket, &mut [0; 64], RecvFlags::DONTWAIT).is_err());

    drop(socket);
    watchdog.join().unwrap();
}

#[test]
fn a_daemon_that_leaves_or_is_not_ready_is_left_alone() {
    for (readiness, expected) in [(Readiness::NotReady, "1\n"), (Readiness::Leaving, "2\n")] {
        let (socket, files, watchdog, _directory) = watched(readiness);
        thread::sleep(SILENCE);
        assert_eq!(word(&files), expected);
        assert!(recv(&socket, &mut [0; 64], RecvFlags::DONTWAIT).is_err());
        drop(socket);
        watchdog.join().unwrap();
    }
}

#[test]
fn what_the_daemon_writes_while_it_is_silent_does_not_stand() {
    let (socket, files, watchdog, _directory) = watched(Readiness::Ready);
    thread::sleep(SILENCE);
    files.write_readiness(Readiness::Ready).unwrap();
    thread::sleep(SILENCE);
    assert_eq!(word(&files), "1\n");
    drop(socket);
    watchdog.join().unwrap();
}

#[test]
fn a_run_directory_without_readiness_is_left_empty() {
    let (socket, files, watchdog, directory) = watched(Readiness::Ready);
    files.remove_all().unwrap();
    thread::sleep(SILENCE);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    drop(socket);
    watchdog.join().unwrap();
}
