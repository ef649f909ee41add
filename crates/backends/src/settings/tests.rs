use std::fs;

use super::*;
use crate::testing::{ALWAYS, Cluster};

/// 2026-11-23T00:00:00Z.
const NOW: u64 = 1_795_392_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn with_kubeconfig(path: PathBuf) -> Settings {
    Settings { kubeconfig: Some(path), ..Settings::default() }
}

/// What is said about a kubeconfig, with the test's folder taken out of it.
fn complaint(cluster: &Cluster, path: PathBuf) -> String {
    let error = check_at(&with_kubeconfig(path), now()).expect_err("it is not usable");
    error
        .to_string()
        .replace(&format!("{}/", cluster.path("").display()), "")
        .replace(&format!("{}", cluster.path("").display()), "")
}

#[test]
fn good_kubeconfig_is_accepted() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    let checked = check_at(&with_kubeconfig(path), now()).unwrap();
    assert_eq!(checked.credentials.unwrap().server(), ("10.0.0.1", 6443));
}

#[test]
fn missing_kubeconfig_is_named() {
    let cluster = Cluster::new();
    assert_eq!(
        complaint(&cluster, cluster.path("none.conf")),
        "the kubeconfig none.conf does not exist; start the cluster first (`kubeadm init`, \
         `k0s kubeconfig admin`), or name the right file by --kubeconfig"
    );
}

#[test]
fn missing_kubeconfig_is_waited_for_if_told() {
    let cluster = Cluster::new();
    let mut settings = with_kubeconfig(cluster.path("none.conf"));
    settings.kubeconfig_may_appear = true;
    assert!(check_at(&settings, now()).unwrap().credentials.is_none());
}

#[test]
fn unreadable_files_are_named() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    fs::create_dir(cluster.path("folder.conf")).unwrap();
    assert_eq!(
        complaint(&cluster, cluster.path("folder.conf")),
        "folder.conf cannot be read: Is a directory (os error 21); run as a user who may read it"
    );
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    for file in ["ca.crt", "admin.crt", "admin.key"] {
        let content = fs::read(cluster.path(file)).unwrap();
        fs::remove_file(cluster.path(file)).unwrap();
        assert_eq!(
            complaint(&cluster, path.clone()),
            format!(
                "{file} cannot be read: No such file or directory (os error 2); run as a user who may read it"
            )
        );
        fs::write(cluster.path(file), content).unwrap();
    }
    assert!(check_at(&with_kubeconfig(path), now()).is_ok(), "all are back");
}

#[test]
fn what_is_no_kubeconfig_is_said_to_be_none() {
    let cluster = Cluster::new();
    let path = cluster.path("admin.conf");
    for (text, reason) in [
        ("", "failed to determine current context"),
        ("current-context: c", "failed to load current context: c"),
        ("clusters: 7", "failed to parse kubeconfig YAML"),
        ("a: [", "failed to parse kubeconfig YAML"),
    ] {
        fs::write(&path, text).unwrap();
        let complaint = complaint(&cluster, path.clone());
        let expected = format!("the kubeconfig admin.conf cannot be used: {reason}");
        assert!(complaint.starts_with(&expected), "{text:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}

#[test]
fn server_must_be_https() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    let path = cluster.kubeconfig("http://10.0.0.1:8080", None);
    assert_eq!(
        complaint(&cluster, path),
        "the kubeconfig admin.conf names the server \"http://10.0.0.1:8080/\"; it must be of the \
         form https://HOST:PORT"
    );
}

#[test]
fn expired_client_certificate_is_named_with_its_date() {
    let cluster = Cluster::new();
    cluster.issue_client((2024, 2025));
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    assert_eq!(
        complaint(&cluster, path),
        "the client certificate in admin.crt expired at 2025-01-01T00:00:00Z; renew it where it \
         was issued (kubeadm: `kubeadm certs renew admin.conf`; k0s: `k0s kubeconfig admin`), or \
         name another file by --kubeconfig"
    );
}

#[test]
fn certificate_of_the_future_points_at_the_clock() {
    let cluster = Cluster::new();
    cluster.issue_client((2027, 2028));
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    assert_eq!(
        complaint(&cluster, path),
        "the client certificate in admin.crt is not valid before 2027-01-01T00:00:00Z, and this \
         machine's clock says 2026-11-23T00:00:00Z; set the clock (`timedatectl`)"
    );
}

#[test]
fn expired_ca_is_named() {
    let cluster = Cluster::with_ca((2016, 2026));
    cluster.issue_client(ALWAYS);
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    let complaint = complaint(&cluster, path);
    assert!(
        complaint.starts_with("the CA certificate in admin.conf expired at 2026-01-01T00:00:00Z;"),
        "{complaint}"
    );
}

#[test]
fn one_valid_ca_of_several_suffices() {
    let cluster = Cluster::with_ca((2016, 2026));
    cluster.issue_client(ALWAYS);
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    let both = crate::testing::text(&cluster.path("ca.crt"))
        + &crate::testing::text(&Cluster::new().path("ca.crt"));
    fs::write(cluster.path("ca.crt"), both).unwrap();
    assert!(check_at(&with_kubeconfig(path), now()).is_ok());
}

#[test]
fn certificates_and_keys_that_are_none_are_refused() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    let path = cluster.kubeconfig("https://10.0.0.1:6443", None);
    let begin = |what: &str| {
        format!("the client certificate, its key or the token in admin.conf cannot be used: {what}")
    };

    let key = fs::read(cluster.path("admin.key")).unwrap();
    fs::write(cluster.path("admin.key"), "garbage").unwrap();
    let said = complaint(&cluster, path.clone());
    assert!(said.starts_with(&begin("")), "{said}");

    cluster.issue_client(ALWAYS);
    fs::write(cluster.path("admin.key"), key).unwrap();
    let said = complaint(&cluster, path.clone());
    assert!(said.starts_with(&begin("rustls tls error: invalid private key")), "{said}");

    cluster.issue_client(ALWAYS);
    fs::write(cluster.path("ca.crt"), "garbage").unwrap();
    let said = complaint(&cluster, path);
    assert!(
        said.starts_with(
            "the CA certificate in admin.conf cannot be used: it holds no certificate"
        ),
        "{said}"
    );
}

#[test]
fn missing_token_file_is_named() {
    let cluster = Cluster::new();
    let path = cluster.kubeconfig("https://10.0.0.1:6443", Some("{tokenFile: token}"));
    let said = complaint(&cluster, path.clone());
    assert!(said.contains("failed to read token file"), "{said}");
    fs::write(cluster.path("token"), "secret").unwrap();
    assert!(check_at(&with_kubeconfig(path), now()).is_ok());
}

#[test]
fn proxy_of_the_kubeconfig_is_ignored() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    let path = cluster.kubeconfig("https://10.0.0.1:6443', proxy-url: 'socks5://10.0.0.9:1", None);
    assert!(crate::testing::text(&path).contains("proxy-url"));
    let checked = check_at(&with_kubeconfig(path), now()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _context = runtime.enter();
    // kube would refuse to make a client for a proxy it was not built for.
    let address = "10.0.0.1:6443".parse().unwrap();
    assert!(checked.credentials.unwrap().client(address).is_ok());
}

#[test]
fn static_server_at_a_virtual_address_is_refused() {
    let settings = Settings {
        static_servers: vec!["[::ffff:10.0.0.100]:6443".parse().unwrap()],
        virtual_addresses: vec!["10.0.0.100".parse().unwrap()],
        ..Settings::default()
    };
    assert_eq!(
        check(&settings).unwrap_err().to_string(),
        "[::ffff:10.0.0.100]:6443 cannot be used as an apiserver: it is a virtual IP, so \
         connections to it come back to this proxy; name the apiserver's own address"
    );
}

#[test]
fn virtual_address_alone_leads_nowhere() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    let settings = Settings {
        virtual_addresses: vec!["10.0.0.100".parse().unwrap()],
        ..with_kubeconfig(cluster.kubeconfig("https://10.0.0.100:6443", None))
    };
    let error = check_at(&settings, now()).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "names the server 10.0.0.100:6443, which cannot be used: it is a virtual IP, so \
             connections to it come back to this proxy; give an apiserver's own address by \
             --apiserver HOST:PORT"
        ),
        "{error}"
    );
    let static_servers = vec!["10.0.0.1:6443".parse().unwrap()];
    assert!(check_at(&Settings { static_servers, ..settings }, now()).is_ok());
}

#[test]
fn own_proxy_is_no_apiserver() {
    let settings = Settings { proxy_port: 6444, ..Settings::default() };
    for address in ["127.0.0.1:6444", "[::1]:6444", "0.0.0.0:6444", "0.0.0.0:6443", "10.0.0.1:0"] {
        assert!(settings.refusal(address.parse().unwrap()).is_some(), "{address}");
    }
    for address in ["127.0.0.1:6443", "10.0.0.1:6444"] {
        assert_eq!(settings.refusal(address.parse().unwrap()), None, "{address}");
    }
}

#[test]
fn something_must_lead_to_an_apiserver() {
    assert_eq!(
        check(&Settings::default()).unwrap_err().to_string(),
        "no apiserver is known: give --kubeconfig, or --apiserver HOST:PORT at least once"
    );
    let local = Some("127.0.0.1:6443".parse().unwrap());
    assert!(check(&Settings { local, ..Settings::default() }).is_ok());
}

#[test]
fn checks_without_time_or_count_are_refused() {
    for change in [
        |it: &mut HealthSettings| it.interval = Duration::ZERO,
        |it: &mut HealthSettings| it.timeout = Duration::ZERO,
        |it: &mut HealthSettings| it.fall = 0,
        |it: &mut HealthSettings| it.rise = 0,
    ] {
        let local = Some("127.0.0.1:6443".parse().unwrap());
        let mut settings = Settings { local, ..Settings::default() };
        change(&mut settings.health);
        assert!(matches!(check(&settings), Err(Error::Health)));
    }
}

#[test]
fn a_worker_whose_certificate_has_expired_starts_where_something_else_leads_to_an_apiserver() {
    let cluster = Cluster::new();
    cluster.issue_client((2000, 2001));
    let settings = with_kubeconfig(cluster.kubeconfig("https://10.0.0.1:6443", None));
    let settings = Settings { kubeconfig_may_fail: true, ..settings };
    assert!(check(&settings).is_err(), "nothing else does");
    let static_servers = vec!["10.0.0.2:6443".parse().unwrap()];
    let checked = check(&Settings { static_servers, ..settings }).unwrap();
    assert!(checked.credentials.is_none());
}
