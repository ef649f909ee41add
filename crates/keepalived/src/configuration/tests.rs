use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::settings::Instance;

/// Written by hand from keepalived.conf(5).
const PREAMBLE: &str = "\
# Written by cplb: changes are lost.
global_defs {
    vrrp_version 2
    vrrp_notify_fifo /run/cplb/keepalived.fifo root
    fifo_write_vrrp_states_on_reload
    # cplb has it run in real time, where that is permitted.
    max_auto_priority -1
    vrrp_no_swap
    # Equal heirs claim in the same moment. The one that stays shall be heard last: it announces
    # over 10 ms, the other one stops within, and again a second later.
    vrrp_garp_interval 0.002
    vrrp_gna_interval 0.002
    vrrp_garp_master_delay 1
}
# 0: ready; 1: not ready; 2: leaving.
track_file cplb_readiness {
    file /run/cplb/keepalived-readiness
}
";

/// Behind it, where the template makes use of it.
const RANK: &str = "\
track_file cplb_rank_cplb-vip-0 {
    file /run/cplb/keepalived-rank-cplb-vip-0
}
";

const CURRENT: [u32; 3] = [2, 2, 7];

fn instance() -> Instance {
    Instance {
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
    }
}

fn settings(instances: Vec<Instance>) -> Settings {
    Settings {
        program: None,
        watchdog: None,
        run_dir: "/run/cplb".into(),
        instances,
        virtual_servers: Vec::new(),
        api_server_port: 6443,
        vrrp_template: None,
        virtual_servers_template: None,
    }
}

fn server(address: &str) -> VirtualServer {
    VirtualServer {
        address: address.parse().unwrap(),
        lb_algo: "rr".into(),
        lb_kind: "DR".into(),
        delay_loop: Duration::from_millis(1_500),
        persistence_timeout: Duration::from_secs(360),
    }
}

fn rendered(settings: &Settings) -> String {
    let main = Configuration::new(settings, CURRENT).unwrap().main;
    let text = main.strip_prefix(PREAMBLE).unwrap_or(&main);
    text.strip_prefix(RANK).unwrap_or(text).to_owned()
}

/// Without comments and blank lines.
fn statements(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn an_instance_of_version_2_is_as_k0s_has_it_and_tracks_readiness() {
    let text = rendered(&settings(vec![instance()]));
    assert_eq!(
        text,
        "
vrrp_instance cplb-vip-0 {
    # All nodes start as backups of the same priority, so that one that comes back takes nothing over.
    state BACKUP
    interface eth0
    version 2
    virtual_router_id 51
    priority 200
    advert_int 1
    # For hosts and switches that missed the announcement.
    garp_master_refresh 60
    # A node that is not ready yields to one that is.
    track_file {
        cplb_readiness weight -100
        # Of equal heirs one goes first. A holder has rank 0, so that none of them takes over from it.
        cplb_rank_cplb-vip-0 weight -2
    }
    authentication {
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        10.0.0.100/24
    }
}

"
    );
}

#[test]
fn unicast_sub_second_no_preemption_and_odd_words_are_rendered() {
    let text = rendered(&settings(vec![Instance {
        version: Version::V3,
        interface: "br#0".into(),
        advert_interval: Duration::from_millis(100),
        preempt: false,
        priority: 150,
        unicast_source: Some([10, 0, 0, 1].into()),
        unicast_peers: vec![[10, 0, 0, 2].into(), [10, 0, 0, 3].into()],
        ..instance()
    }]));
    let at = text.find("vrrp_instance").unwrap();
    assert_eq!(
        statements(&text[at..]),
        [
            "vrrp_instance cplb-vip-0 {",
            "state BACKUP",
            "interface \"br#0\"",
            "version 3",
            "virtual_router_id 51",
            "priority 150",
            "advert_int 0.1",
            "nopreempt",
            "garp_master_refresh 60",
            "track_file {",
            "cplb_readiness weight -75",
            "cplb_rank_cplb-vip-0 weight -2",
            "}",
            "unicast_src_ip 10.0.0.1",
            "unicast_peer {",
            "10.0.0.2",
            "10.0.0.3",
            "}",
            "virtual_ipaddress {",
            "10.0.0.100/24",
            "}",
            "}",
        ]
    );
    // For instances of templates that name no version.
    assert!(text.contains("\n    vrrp_version 3\n"));
}

#[test]
fn addresses_of_the_second_family_go_with_those_of_the_first() {
    let both = vec!["fd00::100/64".parse().unwrap(), "10.0.0.100/24".parse().unwrap()];
    let text = rendered(&settings(vec![Instance { addresses: both, ..instance() }]));
    let statements = statements(&text);
    assert_eq!(
        statements[statements.len() - 7..],
        [
            "virtual_ipaddress {",
            "10.0.0.100/24",
            "}",
            "virtual_ipaddress_excluded {",
            "fd00::100/64",
            "}",
            "}",
        ]
    );
    assert_eq!(text.matches("vrrp_instance cplb-vip-0 {").count(), 1);
}

#[test]
fn a_template_that_forgets_an_address_is_an_error() {
    let both = vec!["fd00::100/64".parse().unwrap(), "10.0.0.100/24".parse().unwrap()];
    let forgetful = VRRP_TEMPLATE.replace(".ExcludedIPs", ".VirtualIPs");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vrrp.conf");
    fs::write(&path, forgetful).unwrap();
    let settings = Settings {
        vrrp_template: Some(path.clone()),
        ..settings(vec![Instance { addresses: both, ..instance() }])
    };
    assert_eq!(
        Configuration::new(&settings, [2, 2, 7]).unwrap_err().to_string(),
        format!(
            "{}: fd00::100 of cplb-vip-0 is nowhere in what it makes: VRRP advertises one family, \
             put .ExcludedIPs into virtual_ipaddress_excluded",
            path.display()
        )
    );
}

#[test]
fn passwords_are_quoted_where_they_must_be() {
    for (password, expected) in [
        ("secret12", "auth_pass secret12\n"),
        ("a b#c!", "auth_pass \"a b#c!\"\n"),
        ("it's{}", "auth_pass \"it's{}\"\n"),
    ] {
        let text = rendered(&settings(vec![Instance { auth_pass: password.into(), ..instance() }]));
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_keepalived_cannot_express_is_an_error_that_names_no_password() {
    for password in ["a\"b", "a\nb", "}", "$_PWD"] {
        let settings = settings(vec![Instance { auth_pass: password.into(), ..instance() }]);
        let error = Configuration::new(&settings, CURRENT).unwrap_err().to_string();
        assert!(error.starts_with("cplb-vip-0: authPass contains "), "{error}");
        assert!(!error.contains(password) || password == "}", "{error}");
        assert!(error.contains("type: Builtin"), "{error}");
    }
}

#[test]
fn virtual_servers_are_those_whose_address_is_here() {
    let settings = Settings {
        virtual_servers: vec![server("10.0.0.100"), server("192.0.2.7")],
        ..settings(vec![instance()])
    };
    let configuration = Configuration::new(&settings, CURRENT).unwrap();
    assert!(configuration.main.contains("\ninclude keepalived-virtualservers-generated.conf\n"));
    let servers = [
        "10.0.0.1:6443".parse().unwrap(),
        "10.0.0.2:7443".parse().unwrap(),
        "[fd00::1]:6443".parse().unwrap(),
    ];
    let text = |holds| configuration.virtual_servers(&settings, &servers, |_| holds).unwrap();
    assert_eq!(text(true).matches("virtual_server ").count(), 2);
    let text = text(false);
    assert_eq!(
        statements(&text),
        [
            "virtual_server 192.0.2.7 6443 {",
            "delay_loop 1.5",
            "lb_algo rr",
            "lb_kind DR",
            "persistence_timeout 360",
            "protocol TCP",
            "real_server 10.0.0.1 6443 {",
            "weight 1",
            "TCP_CHECK {",
            "connect_timeout 3",
            "retry 1",
            "warmup 0",
            "}",
            "}",
            "real_server 10.0.0.2 7443 {",
            "weight 1",
            "TCP_CHECK {",
            "connect_timeout 3",
            "retry 1",
            "warmup 0",
            "}",
            "}",
            "}",
        ]
    );
    assert_eq!(configuration.virtual_servers(&settings, &[], |_| true).unwrap().trim(), "");
}

#[test]
fn a_users_template_gets_what_we_need_and_keeps_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vrrp.conf");
    fs::write(
        &path,
        "# mine\n{{ range $i, $it := .VRRPInstances }}vrrp_instance k0s-vip-{{ $i }} {\n  interface {{ .Interface }}\n  \
        priority 100\n  advert_int {{ $it.AdvertIntervalSeconds }}\n  virtual_ipaddress {\n{{ range .VirtualIPs }}{{ . }}\n{{ end }}  }\n}\n{{ end }}",
    )
    .unwrap();
    let settings = Settings { vrrp_template: Some(path), ..settings(vec![instance()]) };
    assert_eq!(
        rendered(&settings),
        "# mine\nvrrp_instance k0s-vip-0 {\n    track_file {\n        cplb_readiness weight -50\n    }\n\n  interface eth0\n  \
        priority 100\n  advert_int 1\n  virtual_ipaddress {\n10.0.0.100/24\n  }\n}\n"
    );
    let outlines = Configuration::new(&settings, CURRENT).unwrap().outlines;
    assert_eq!((outlines[0].name.as_str(), outlines[0].weight), ("k0s-vip-0", -50));
    // Its priorities are the user's own: they may tell the heirs apart.
    assert!(!outlines[0].ranked);
}

#[test]
fn errors_of_templates_name_the_file_and_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.conf");
    fs::write(&path, "a\n{{ .RunDri }}").unwrap();
    let wrong = Settings { vrrp_template: Some(path.clone()), ..settings(vec![instance()]) };
    let error = Configuration::new(&wrong, CURRENT).unwrap_err().to_string();
    assert_eq!(error, format!("{}:2:1: there is no variable .RunDri", path.display()));
    let missing = PathBuf::from("/does/not/exist");
    let absent = Settings { vrrp_template: Some(missing), ..settings(vec![instance()]) };
    let error = Configuration::new(&absent, CURRENT).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the template /does/not/exist: "), "{error}");
}

/// fifo_write_vrrp_states_on_reload came with keepalived 2.2.5.
#[test]
fn an_older_keepalived_is_spared_what_it_does_not_know() {
    let text = |version| Configuration::new(&settings(vec![instance()]), version).unwrap().main;
    assert!(!text([2, 2, 4]).contains("fifo_write"));
    assert!(text([2, 3, 0]).contains("fifo_write"));
}

/// The names are those of k0s' documentation ("Keepalived template variables").
#[test]
fn every_variable_of_k0s_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let vrrp = directory.path().join("vrrp.conf");
    let text = "# {{ .IPVSLoadBalancer }} {{ .RunDir }} {{ len .K0sBin | lt 0 }} {{ .APIServerPort }}\n\
        {{ range .VRRPInstances }}# {{ .AdvertIntervalSeconds }} {{ .AuthPass }} {{ .Interface }} {{ .UnicastPeers }} \
        {{ .UnicastSourceIP }} {{ .VirtualIPs }} {{ .VirtualRouterID }} {{ .AddressLabel }}\n{{ end }}";
    fs::write(&vrrp, text).unwrap();
    let servers = directory.path().join("servers.conf");
    let text = "{{ .APIServerPort }} {{ .RealServers }}\n{{ range .VirtualServers }}{{ .DelayLoop.Seconds }} {{ .IPAddress }} \
        {{ .LBAlgo }} {{ .LBKind }} {{ .PersistenceTimeoutSeconds }}\n{{ end }}";
    fs::write(&servers, text).unwrap();
    let settings = Settings {
        vrrp_template: Some(vrrp),
        virtual_servers_template: Some(servers),
        virtual_servers: vec![server("10.0.0.100")],
        ..settings(vec![Instance {
            unicast_source: Some([10, 0, 0, 1].into()),
            unicast_peers: vec![[10, 0, 0, 2].into(), [10, 0, 0, 3].into()],
            ..instance()
        }])
    };
    let configuration = Configuration::new(&settings, CURRENT).unwrap();
    assert_eq!(
        configuration.main.strip_prefix(PREAMBLE).unwrap(),
        "# true /run/cplb true 6443\n# 1 secret eth0 [10.0.0.2 10.0.0.3] 10.0.0.1 [10.0.0.100/24] 51 10000\n"
    );
    let real_servers = ["10.0.0.1:6443".parse().unwrap(), "10.0.0.2:6443".parse().unwrap()];
    assert_eq!(
        configuration.virtual_servers(&settings, &real_servers, |_| true).unwrap(),
        "6443 [10.0.0.1 10.0.0.2]\n1.5 10.0.0.100 rr DR 360\n"
    );
}
