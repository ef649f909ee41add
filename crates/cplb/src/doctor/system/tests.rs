use super::super::finding::Severity;
use super::*;

/// Lines of /proc/PID/limits.
const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
Max realtime priority     0                    0
";

fn judged(version: Version, ipvs: bool, missing: &[&str]) -> Vec<(Severity, String)> {
    let findings = check_kernel(Some(version), ipvs, |module| Some(!missing.contains(&module)));
    findings.into_iter().map(|it| (it.severity, it.seen)).collect()
}

#[test]
fn kernels_are_judged_by_their_age() {
    assert_eq!(judged((5, 18), false, &[]), [(Severity::Ok, "it has all that is needed".into())]);
    assert_eq!(
        judged((5, 15), false, &[]),
        [(Severity::Warning, "Linux 5.15 cannot mark addresses (IFA_PROTO)".into())]
    );
    assert_eq!(judged((4, 18), false, &[]).len(), 2);
}

#[test]
fn missing_modules_are_told_where_they_matter() {
    assert_eq!(
        judged((6, 1), false, &["nft_redir", "ip_vs"]),
        [(Severity::Warning, "the module nft_redir is neither loaded nor installed".into())]
    );
    assert_eq!(
        judged((6, 1), true, &["ip_vs"]),
        [(Severity::Error, "the module ip_vs is neither loaded nor installed".into())]
    );
}

#[test]
fn what_cannot_be_known_is_no_fault() {
    let findings = check_kernel(None, true, |_| None);
    assert_eq!(findings, [Finding::ok("kernel", "it has all that is needed")]);
}

#[test]
fn releases_of_distributions_are_read() {
    assert_eq!(parse_version("6.1.0-18-amd64"), Some((6, 1)));
    assert_eq!(parse_version("5.14.0-427.el9.x86_64"), Some((5, 14)));
    assert_eq!(parse_version("6.18-rc1"), Some((6, 18)));
    assert_eq!(parse_version("unknown"), None);
}

#[test]
fn modules_are_found_by_their_files() {
    let list = "kernel/net/netfilter/nft_redir.ko.zst: kernel/net/netfilter/nf_nat.ko.zst\n";
    assert!(names_module(list, "nft_redir"));
    assert!(!names_module(list, "nf_nat"), "a dependency is named beside its own line");
    assert!(!names_module(list, "nft_red"));
}

#[test]
fn the_hard_limit_counts_for_descriptors() {
    assert_eq!(
        check_limits(LIMITS, true, "the daemon"),
        [Finding::ok("limits", "the daemon may run in real time and open enough descriptors")]
    );
    let few = LIMITS.replace("524288", "4096");
    let findings = check_limits(&few, false, "the daemon");
    let seen: Vec<&str> = findings.iter().map(|it| it.seen.as_str()).collect();
    assert_eq!(
        seen,
        ["the daemon may open 4096 descriptors", "the daemon has no real-time priority"]
    );
}

#[test]
fn the_soft_limit_counts_for_real_time() {
    let limit = |text: &str| limit(text, "Max realtime priority", Column::Soft);
    assert_eq!(limit(LIMITS), Some(0));
    let line = "Max realtime priority     50                   60";
    assert_eq!(limit(line), Some(50));
}
