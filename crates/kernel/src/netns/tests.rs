use std::env;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::test_cable::{Cable, give, run, wait_for};

/// What tells this thread's network namespace from any other.
fn identity() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

#[test]
fn a_new_namespace_is_another_one_with_loopback_up() {
    let outside = identity();
    let namespace = Namespace::new().unwrap();
    assert_eq!(identity(), outside);
    let (inside, links) = namespace.run(|| (identity(), run("ip", &["-oneline", "link"]))).unwrap();
    assert_ne!(inside, outside);
    assert!(links.starts_with("1: lo: <LOOPBACK,UP,LOWER_UP>"), "{links}");
    assert_eq!(links.lines().count(), 1);
    assert_eq!(identity(), outside);
}

#[test]
fn a_thread_that_enters_stays_inside() {
    let namespace = Namespace::new().unwrap();
    let inside = namespace.run(identity).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            namespace.enter().unwrap();
            assert_eq!(identity(), inside);
            assert_eq!(thread::spawn(identity).join().unwrap(), inside);
            assert_eq!(Namespace::current().unwrap().run(identity).unwrap(), inside);
        });
    });
}

/// A namespace ends with its last descriptor, and takes its interfaces along: the other end of the
/// cable disappears. The kernel clears up in its own time, and after many namespaces that is long.
#[test]
fn a_dropped_namespace_leaves_nothing_behind() {
    let Cable { here, there } = Cable::new();
    drop(there);
    here.run(|| {
        let gone = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(20));
            !run("ip", &["link"]).contains("eth0")
        });
        assert!(gone, "the cable is still there");
    })
    .unwrap();
}

#[test]
fn what_happens_inside_is_handed_out_panics_too() {
    let namespace = Namespace::new().unwrap();
    let name = String::from("borrowed");
    assert_eq!(namespace.run(|| name.len()).unwrap(), 8);
    let panic = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        namespace.run(|| panic!("inside {name}")).unwrap()
    }));
    assert_eq!(*panic.unwrap_err().downcast::<String>().unwrap(), "inside borrowed");
}

#[test]
fn a_program_runs_inside_and_ends_with_the_thread_that_started_it() {
    let namespace = Namespace::new().unwrap();
    let inside = namespace.run(identity).unwrap();
    let mut command = Command::new("readlink");
    command.arg("/proc/self/ns/net").stdout(Stdio::piped());
    let output = namespace.spawn(command).unwrap().wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("net:[{inside}]"));

    let mut command = Command::new("sleep");
    command.arg("60");
    let mut child = thread::spawn(move || namespace.spawn(command).unwrap()).join().unwrap();
    let status = wait_for("the program to end", || child.try_wait().unwrap());
    assert_eq!(status.signal(), Some(libc::SIGKILL));
}

#[test]
fn hosts_on_a_bridge_reach_one_another() {
    let switch = Namespace::new().unwrap();
    let hosts = [Namespace::new().unwrap(), Namespace::new().unwrap()];
    switch
        .run(|| {
            create_bridge("br0").unwrap();
            set_up("br0").unwrap();
            for (number, host) in hosts.iter().enumerate() {
                let port = format!("port{number}");
                create_veth(&port, "eth0", host).unwrap();
                set_master(&port, "br0").unwrap();
                set_up(&port).unwrap();
            }
        })
        .unwrap();
    for (number, host) in hosts.iter().enumerate() {
        host.run(|| {
            disable_duplicate_address_detection().unwrap();
            set_up("eth0").unwrap();
            give(&format!("10.9.0.{}/24", number + 1));
            give(&format!("fd09::{}/64", number + 1));
        })
        .unwrap();
    }
    let listener = hosts[1].run(|| std::net::TcpListener::bind("[::]:80").unwrap()).unwrap();
    for address in ["10.9.0.2:80", "[fd09::2]:80"] {
        let connected = hosts[0].run(|| {
            let timeout = Duration::from_secs(3);
            std::net::TcpStream::connect_timeout(&address.parse().unwrap(), timeout)
        });
        connected.unwrap().unwrap_or_else(|error| panic!("{address}: {error}"));
    }
    drop(listener);

    switch
        .run(|| {
            set_down("port1").unwrap();
            assert!(run("ip", &["link", "show", "port1"]).contains("state DOWN"));
            delete_link("port1").unwrap();
            assert!(!run("ip", &["link"]).contains("port1"));
        })
        .unwrap();
}

#[test]
fn a_default_route_goes_by_its_gateway() {
    Cable::new().here(|| {
        add_default_route([10, 9, 0, 2].into()).unwrap();
        add_default_route("fd09::2".parse().unwrap()).unwrap();
        assert_eq!(
            run("ip", &["route", "show", "default"]).trim(),
            "default via 10.9.0.2 dev eth0 proto static"
        );
        assert_eq!(
            run("ip", &["-6", "route", "show", "default"]).trim(),
            "default via fd09::2 dev eth0 proto static metric 1024 pref medium"
        );
    });
}

#[test]
fn wiring_what_is_not_there_says_so() {
    Namespace::new()
        .unwrap()
        .run(|| {
            assert_eq!(
                set_up("eth7").unwrap_err().to_string(),
                "there is no interface eth7; this host has lo"
            );
            create_bridge("br0").unwrap();
            assert_eq!(
                create_bridge("br0").unwrap_err().to_string(),
                "the kernel refused to make the bridge br0: File exists (os error 17)"
            );
        })
        .unwrap();
}

/// Whether this is a process that a test has started for the sake of being another user; those
/// start the test of the same name.
const ROLE: &str = "CPLB_TEST_ISOLATE";

/// Starts the named test of this file as another process, as root or as nobody. That runs through
/// the system's own file descriptor of the program, since nobody may not reach its path.
fn again(test: &str, user: u32) -> Output {
    let program = File::open(env::current_exe().unwrap()).unwrap();
    rustix::io::fcntl_setfd(&program, rustix::io::FdFlags::empty()).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&program);
    let mut command = Command::new(format!("/proc/self/fd/{descriptor}"));
    command.env(ROLE, "1").current_dir("/").uid(user).gid(user);
    command.args(["--exact", &format!("netns::tests::{test}"), "--nocapture"]);
    command.output().unwrap()
}

/// Runs `work` before there is a second thread, which the test harness always has: in a child made
/// by fork, whose exit status tells whether it panicked.
fn single_threaded(work: impl FnOnce()) -> bool {
    // SAFETY: the child of a process with threads; glibc keeps malloc usable in it, and it ends
    // without running anything of the harness.
    #[allow(unsafe_code)]
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let outcome = panic::catch_unwind(panic::AssertUnwindSafe(work));
            libc::_exit(outcome.is_err().into());
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        status == 0
    }
}

fn assert_isolated() {
    let outside = identity();
    let mounts = fs::metadata("/proc/self/ns/mnt").unwrap().ino();
    isolate().unwrap();
    assert_ne!(identity(), outside);
    assert_ne!(fs::metadata("/proc/self/ns/mnt").unwrap().ino(), mounts);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("shared:"), "{mounts}");
    assert_eq!(getuid().as_raw(), 0);

    // It can do all that a laboratory needs.
    let cable = Cable::new();
    cable.here(|| {
        let reached = std::net::TcpStream::connect("10.9.0.2:9");
        assert_eq!(reached.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn root_is_isolated() {
    if env::var_os(ROLE).is_some() {
        assert!(single_threaded(assert_isolated));
        return;
    }
    let output = again("root_is_isolated", 0);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_ordinary_user_is_isolated_as_root_of_its_own() {
    if env::var_os(ROLE).is_some() {
        assert!(single_threaded(|| {
            assert_eq!(getuid().as_raw(), 65534);
            assert_isolated();
        }));
        return;
    }
    let output = again("an_ordinary_user_is_isolated_as_root_of_its_own", 65534);
    assert!(output.status.success(), "{output:?}");
}

/// Inside a user namespace of its own a test may forbid itself further ones.
#[test]
fn a_system_that_forbids_user_namespaces_is_told_of_with_its_sysctls() {
    if env::var_os(ROLE).is_some() {
        assert!(single_threaded(|| {
            isolate().unwrap();
            fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
            let mut kept = capabilities(None).unwrap();
            kept.effective.remove(CapabilitySet::SYS_ADMIN);
            set_capabilities(None, kept).unwrap();
            assert_eq!(
                isolate().unwrap_err().to_string(),
                "this system does not let an ordinary user make network namespaces (No space left \
                 on device (os error 28)): run as root, or check the sysctls \
                 kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0 and \
                 kernel.apparmor_restrict_unprivileged_userns=0"
            );
        }));
        return;
    }
    let output = again("a_system_that_forbids_user_namespaces_is_told_of_with_its_sysctls", 65534);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_user_without_the_right_is_told_so() {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = capabilities(None).unwrap();
        kept.effective.remove(CapabilitySet::SYS_ADMIN);
        set_capabilities(None, kept).unwrap();
        sender.send(Namespace::new().unwrap_err().to_string()).unwrap();
    });
    assert_eq!(
        receiver.recv().unwrap(),
        "not permitted to make a network namespace: run as root, or grant CAP_SYS_ADMIN"
    );
}
