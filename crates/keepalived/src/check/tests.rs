use std::os::unix::fs::PermissionsExt;

use kernel::netns::{Namespace, create_veth};
use vrrp::Version;

use super::*;
use crate::settings::{Instance, VirtualServer};

/// In a network namespace that has the interface. Needs root.
fn check(settings: &Settings) -> Result<Checked, Error> {
    let namespace = Namespace::new().unwrap();
    let run = || {
        create_veth("eth0", "peer", &namespace).unwrap();
        super::check(settings)
    };
    namespace.run(run).unwrap()
}

fn settings() -> Settings {
    let instance = Instance {
        name: "cplb-vip-0".into(),
        interface: "eth0".into(),
        virtual_router_id: 51,
        version: Version::V2,
        priority: 200,
        advert_interval: Duration::from_secs(1),
        preempt: true,
        auth_pass: "secret".into(),
        unicast_source: None,
        unicast_peers: Vec::new(),
        address_label: 10_000,
        addresses: vec!["10.0.0.100/24".parse().unwrap()],
    };
    Settings {
        program: None,
        watchdog: None,
        run_dir: "/run/no such directory".into(),
        instances: vec![instance],
        virtual_servers: Vec::new(),
        api_server_port: 6443,
        vrrp_template: None,
        virtual_servers_template: None,
    }
}

fn with(change: impl FnOnce(&mut Instance)) -> Settings {
    let mut settings = settings();
    change(&mut settings.instances[0]);
    settings
}

fn template(directory: &Path, text: &str) -> Settings {
    let path = directory.join("mine.conf");
    fs::write(&path, text).unwrap();
    Settings { vrrp_template: Some(path), ..settings() }
}

#[test]
fn keepalived_accepts_everything_that_we_render() {
    let v4 = || "10.0.0.100/24".parse().unwrap();
    let v6 = || "fd00::100/64".parse().unwrap();
    for settings in [
        settings(),
        with(|it| it.version = Version::V3),
        with(|it| it.addresses = vec![v6()]),
        with(|it| it.addresses = vec![v4(), v6()]),
        with(|it| {
            it.version = Version::V3;
            it.advert_interval = Duration::from_millis(10);
        }),
        with(|it| it.preempt = false),
        with(|it| it.priority = 1),
        with(|it| {
            it.unicast_source = Some([10, 0, 0, 1].into());
            it.unicast_peers = vec![[10, 0, 0, 2].into()];
        }),
        with(|it| it.auth_pass = "a b'#!{}".into()),
    ] {
        let checked = check(&settings).unwrap_or_else(|error| panic!("{error}\n{settings:?}"));
        assert_eq!(checked.warnings(), [""; 0]);
        assert!(!settings.run_dir.exists(), "nothing was changed");
    }
}

#[test]
fn keepalived_accepts_virtual_servers_of_both_families() {
    let server = |address: &str| VirtualServer {
        address: address.parse().unwrap(),
        lb_algo: "wlc".into(),
        lb_kind: "NAT".into(),
        delay_loop: Duration::from_millis(1_500),
        persistence_timeout: Duration::from_secs(360),
    };
    let addresses = ["10.0.0.100/24", "fd00::100/64"].map(|it| it.parse().unwrap());
    let settings = Settings {
        virtual_servers: vec![server("10.0.0.100"), server("fd00::100")],
        ..with(|it| it.addresses = addresses.to_vec())
    };
    // The kernel is asked last.
    match check(&settings) {
        Ok(_) => assert!(has_ipvs()),
        Err(Error::NoIpvs) => assert!(!has_ipvs()),
        Err(error) => panic!("{error}"),
    }
    let wrong = VirtualServer { lb_algo: "frobnicate".into(), ..server("10.0.0.100") };
    let error = check(&Settings { virtual_servers: vec![wrong], ..settings }).unwrap_err();
    assert!(matches!(&error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains("frobnicate"), "{error}");
}

#[test]
fn what_keepalived_refuses_is_shown_with_the_statement() {
    let directory = tempfile::tempdir().unwrap();
    let text = "vrrp_instance a {\n  interface eth0\n  frobnicate 7\n  virtual_router_id 51\n  virtual_ipaddress {\n    10.0.0.100\n  }\n}\n";
    let error = check(&template(directory.path(), text)).unwrap_err();
    let Error::Refused { findings } = error else { panic!("{error}") };
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].ends_with(": `frobnicate 7`: Unknown keyword 'frobnicate'"),
        "{findings:?}"
    );
}

#[test]
fn an_address_that_keepalived_would_drop_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let text = "vrrp_instance a {\n  interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {\n    10.0.0.100\n    fd00::1\n  }\n}\n";
    let error = check(&template(directory.path(), text)).unwrap_err().to_string();
    assert!(error.contains("address family must match"), "{error}");
}

#[test]
fn an_interface_that_does_not_exist_is_an_error() {
    let error = check(&with(|it| it.interface = "nosuch0".into())).unwrap_err().to_string();
    assert!(error.contains("nosuch0"), "{error}");
}

/// Such as k0s' template makes them.
#[test]
fn passwords_beside_version_3_and_notify_scripts_are_accepted_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let text = "vrrp_instance a {\n  interface eth0\n  version 3\n  virtual_router_id 51\n  \
        notify_master \"'/bin/true' keepalived-setstate -r '{{ .RunDir }}' -s MASTER\"\n  \
        authentication {\n    auth_type PASS\n    auth_pass x\n  }\n  virtual_ipaddress {\n    10.0.0.100\n  }\n}\n\
        include keepalived-virtualservers-consumed.conf\n";
    let checked = check(&template(directory.path(), text)).unwrap();
    assert_eq!(checked.warnings().len(), 2, "{:?}", checked.warnings());
}

#[test]
fn findings_show_no_password() {
    let text = "a\nauth_pass \"sec\"ret\"\n";
    let line = "(keepalived.conf: Line 2) Unmatched quote: 'auth_pass \"sec\"ret\"'";
    assert_eq!(explain(line, text), "keepalived.conf:2: `auth_pass ...");
    assert_eq!(explain("(Line 1) Odd", text), "keepalived.conf:1: `a`: Odd");
    assert_eq!(explain("(Line 9) Odd", text), "keepalived.conf:9: ``: Odd");
    assert_eq!(explain("There are 1 missing", text), "There are 1 missing");
}

#[test]
fn versions_are_read() {
    assert_eq!(version("Keepalived v2.2.7 (01/16,2022)\n\nCopyright"), Some([2, 2, 7]));
    assert_eq!(version("\nKeepalived v2.4.3-rc1 (x)"), Some([2, 4, 3]));
    assert_eq!(version("Keepalived v2.4"), Some([2, 4, 0]));
    assert_eq!(version("bash: keepalived: not found"), None);
}

#[test]
fn a_program_that_is_none_is_told_apart() {
    let program = |path: &str| Settings { program: Some(path.into()), ..settings() };
    let said = |settings: &Settings| check(settings).unwrap_err().to_string();
    let missing = said(&program("/no/such/keepalived"));
    assert!(missing.starts_with("cannot start /no/such/keepalived: "), "{missing}");
    assert!(missing.contains("type: Builtin"), "{missing}");
    let other = said(&program("/bin/true"));
    assert!(other.starts_with("/bin/true is not keepalived"), "{other}");

    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("keepalived");
    fs::write(&old, "#!/bin/sh\necho 'Keepalived v2.0.19 (10/19,2019)'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let old = said(&program(old.to_str().unwrap()));
    assert!(old.starts_with("keepalived 2.0.19 is too old"), "{old}");
}
