use std::fmt;

use serde::Serialize;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The check's name.
    pub(crate) check: &'static str,
    /// What was seen.
    pub(crate) seen: String,
    /// Why it matters.
    pub(crate) why: Option<String>,
    /// What to do.
    pub(crate) advice: Option<String>,
}

/// How bad a finding is. The worst come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It does not work, or will not at the next failover.
    Error,
    /// It works, but something can go wrong.
    Warning,
    /// It could not be checked, or there was nothing to check.
    Skipped,
    /// It is as it should be.
    Ok,
}

impl Finding {
    pub(crate) fn error(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Error, check, seen)
    }

    pub(crate) fn warning(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, seen)
    }

    pub(crate) fn skipped(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Skipped, check, seen)
    }

    pub(crate) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, seen)
    }

    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn new(severity: Severity, check: &'static str, seen: impl Into<String>) -> Self {
        Self { severity, check, seen: seen.into(), why: None, advice: None }
    }
}

/// All findings, the worst first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.severity);
        let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
        Self { errors: count(Severity::Error), warnings: count(Severity::Warning), findings }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let counted = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let (errors, warnings) = (counted(self.errors, "error"), counted(self.warnings, "warning"));
        writeln!(f, "{errors}, {warnings}")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Skipped => "skipped",
            Severity::Ok => "ok",
        };
        write!(f, "{severity:<8} {}: {}", self.check, self.seen)?;
        if let Some(why) = &self.why {
            write!(f, "\n         why: {why}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n         do:  {advice}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_with_its_reason_and_advice() {
        let report = Report::new(vec![
            Finding::ok("ports", "6444 is free"),
            Finding::warning("limits", "few descriptors"),
            Finding::error("certificate", "no 10.0.0.100 in it")
                .because("clients refuse it")
                .advise("issue another"),
        ]);
        assert_eq!(
            report.to_string(),
            "ERROR    certificate: no 10.0.0.100 in it\n         \
             why: clients refuse it\n         \
             do:  issue another\n\
             WARNING  limits: few descriptors\n\
             ok       ports: 6444 is free\n\
             1 error, 1 warning\n"
        );
    }
}
