use super::*;

const KUBELET: &str = r#"apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t
    server: https://10.0.0.11:6443
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {}
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
"#;

fn door() -> SocketAddr {
    "127.0.0.1:7443".parse().unwrap()
}

fn rewritten(text: &str, server_name: Option<&str>) -> String {
    through_balancer(Path::new("/etc/kubernetes/kubelet.conf"), text, door(), server_name).unwrap()
}

fn refused(text: &str) -> String {
    let path = Path::new("/etc/kubernetes/kubelet.conf");
    through_balancer(path, text, door(), None).unwrap_err().to_string()
}

#[test]
fn a_kubelets_kubeconfig_leads_through_the_balancer_and_is_the_same_otherwise() {
    let expected = r#"# Written by cplb worker from "/etc/kubernetes/kubelet.conf", and again when that changes
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t
    server: https://127.0.0.1:7443
    tls-server-name: kubernetes.default.svc
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {}
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
"#;
    assert_eq!(rewritten(KUBELET, None), expected);
}

#[test]
fn over_ipv6_the_door_stands_in_brackets() {
    let path = Path::new("kubelet.conf");
    let text = through_balancer(path, KUBELET, "[::1]:7443".parse().unwrap(), None).unwrap();
    assert!(text.contains("    server: https://[::1]:7443\n"), "{text}");
}

#[test]
fn the_expected_name_is_the_one_asked_for_then_the_one_that_is_there() {
    let named = KUBELET.replace("    server:", "    tls-server-name: api.example.org\n    server:");
    assert!(rewritten(&named, None).contains("tls-server-name: api.example.org\n"));
    assert!(rewritten(&named, Some("other.example.org")).contains("-name: other.example.org\n"));
}

#[test]
fn who_verifies_nothing_expects_no_name() {
    let insecure = KUBELET.replace(
        "    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\n",
        "    insecure-skip-tls-verify: true\n",
    );
    assert!(!rewritten(&insecure, None).contains("tls-server-name"));
}

#[test]
fn file_names_become_absolute_and_a_proxy_is_left_out() {
    let text = r#"apiVersion: v1
kind: Config
clusters:
- {name: a, cluster: {server: "https://10.0.0.1:6443", certificate-authority: ca.crt, proxy-url: "http://proxy:3128"}}
- {name: b, cluster: {server: "https://other:6443", certificate-authority: /other/ca.crt, proxy-url: "http://proxy:3128"}}
contexts: [{name: x, context: {cluster: a, user: u}}]
current-context: x
users:
- {name: u, user: {client-certificate: pki/a.crt, client-key: ../a.key, tokenFile: token}}
- {name: v, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}}}
- {name: w, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}}}
"#;
    let text = rewritten(text, None);
    for line in [
        "    certificate-authority: /etc/kubernetes/ca.crt\n",
        "    certificate-authority: /other/ca.crt\n",
        "    server: https://127.0.0.1:7443\n",
        "    server: https://other:6443\n",
        "    client-certificate: /etc/kubernetes/pki/a.crt\n",
        "    client-key: /etc/kubernetes/../a.key\n",
        "    tokenFile: /etc/kubernetes/token\n",
        "      command: /etc/kubernetes/./plugin\n",
        "      command: plugin\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert_eq!(text.matches("proxy-url").count(), 1, "only the cluster in use is changed: {text}");
}

#[test]
fn long_keys_and_odd_strings_stay_what_they_are() {
    let long = "QUJD".repeat(1_000);
    let text = KUBELET.replace("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t", &long);
    let text = text.replace("namespace: default", "namespace: \"0123\"");
    let text = rewritten(&text, None);
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(document["clusters"][0]["cluster"]["certificate-authority-data"], long.as_str());
    assert_eq!(document["contexts"][0]["context"]["namespace"], "0123");
}

#[test]
fn what_leads_nowhere_is_refused_with_the_reason() {
    let advice = "; `kubectl --kubeconfig /etc/kubernetes/kubelet.conf config view --minify` should \
                  show one cluster and one user";
    let no_context = KUBELET.replace("current-context: default-context\n", "");
    let reason = "/etc/kubernetes/kubelet.conf: it names no current-context";
    assert_eq!(refused(&no_context), format!("{reason}{advice}"));

    let no_cluster = KUBELET.replace("  name: default-cluster\n", "  name: other\n");
    let reason = "/etc/kubernetes/kubelet.conf: there is no cluster \"default-cluster\" in it";
    assert_eq!(refused(&no_cluster), format!("{reason}{advice}"));

    let elsewhere = KUBELET.replace("current-context: default-", "current-context: other-");
    let reason = "/etc/kubernetes/kubelet.conf: there is no context \"other-context\" in it";
    assert_eq!(refused(&elsewhere), format!("{reason}{advice}"));
}

#[test]
fn an_error_shows_nothing_of_the_text() {
    let text = refused("users: [{user: {token: top-secret}");
    assert!(!text.contains("top-secret"), "{text}");
    assert!(refused("just a string").contains("it names no current-context"));
}
