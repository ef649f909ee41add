use super::super::finding::Severity;
use super::*;

#[test]
fn a_clock_that_nobody_keeps_is_a_warning() {
    assert_eq!(check(Ok(true)), Finding::ok("clock", "it is synchronised"));
    let finding = check(Ok(false));
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.seen, "nobody keeps the clock of this host in step");
}
