use std::process::Command;

use super::*;

/// What OpenSSL says of `pem`, given as a file, to `arguments`.
fn openssl(arguments: &[&str], authority: &Authority, pem: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca.crt"), authority.certificate()).unwrap();
    std::fs::write(directory.path().join("it.crt"), pem).unwrap();
    let output =
        Command::new("openssl").args(arguments).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn openssl_accepts_a_serving_certificate_for_each_name() {
    let authority = Authority::new().unwrap();
    let addresses = ["10.0.0.11".parse().unwrap(), "fd00::64".parse().unwrap()];
    let serving = authority.serving("kube-apiserver-1", &addresses).unwrap();
    let verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.crt"];
    for name in ["localhost", "kubernetes", "kubernetes.default.svc.cluster.local"] {
        let arguments = [&verify[..], &["-verify_hostname", name, "it.crt"]].concat();
        assert_eq!(openssl(&arguments, &authority, &serving.certificate), "it.crt: OK\n");
    }
    for address in ["127.0.0.1", "10.96.0.1", "10.0.0.11", "fd00::64"] {
        let arguments = [&verify[..], &["-verify_ip", address, "it.crt"]].concat();
        assert_eq!(openssl(&arguments, &authority, &serving.certificate), "it.crt: OK\n");
    }
    let subject = openssl(
        &["x509", "-noout", "-subject", "-checkend", "500000", "-in", "it.crt"],
        &authority,
        &serving.certificate,
    );
    assert_eq!(subject, "subject=CN = kube-apiserver-1\nCertificate will not expire\n");
}

#[test]
fn openssl_accepts_an_administrator() {
    let authority = Authority::new().unwrap();
    let admin = authority.client("kubernetes-admin", "system:masters").unwrap();
    let arguments =
        ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.crt", "it.crt"];
    assert_eq!(openssl(&arguments, &authority, &admin.certificate), "it.crt: OK\n");
    let arguments = ["x509", "-noout", "-subject", "-in", "it.crt"];
    assert_eq!(
        openssl(&arguments, &authority, &admin.certificate),
        "subject=CN = kubernetes-admin, O = system:masters\n"
    );
}
