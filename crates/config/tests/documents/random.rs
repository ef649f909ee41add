//! Whatever the text, reading it ends without a panic and with findings that make sense.

use config::{Severity, load, render};
use proptest::prelude::*;

use crate::examples::ALL;

/// Pieces that turn YAML into something else.
const PIECES: &[&str] = &[
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    ":",
    ": ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "#",
    " # ",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "!x ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "~",
    "null",
    "yes",
    "-1",
    "0",
    "300",
    "99999999999999999999",
    "1e400",
    ".nan",
    "0x1f",
    "051",
    "1_0",
    "10.0.0.0/24",
    "::1/128",
    "fd00::1/64",
    "ä",
    "\u{1F600}",
    "\u{feff}",
    "\u{0}",
    "\u{1b}[2J",
    "\\",
    "spec:",
    "network:",
    "enabled: true",
    "keepalived:",
    "vrrpInstances: []",
    "virtualServers: [{ipAddress: 10.0.0.7}]",
    "authPass: BuyK0s",
    "advertInterval: 1ns",
    "nodeLocalLoadBalancing: {enabled: true}",
];

#[derive(Clone, Debug)]
struct Mutation {
    at: prop::sample::Index,
    removed: usize,
    inserted: &'static str,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let removed = prop_oneof![Just(0_usize), 0..4_usize, 0..80_usize];
    (any::<prop::sample::Index>(), removed, prop::sample::select(PIECES))
        .prop_map(|(at, removed, inserted)| Mutation { at, removed, inserted })
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for Mutation { at, removed, inserted } in mutations {
        let start = at.index(characters.len() + 1);
        let end = (start + removed).min(characters.len());
        characters.splice(start..end, inserted.chars());
    }
    characters.into_iter().collect()
}

fn assert_sound(text: &str) -> Result<(), TestCaseError> {
    let loaded = load("k0s.yaml", text);
    let refused = loaded.findings.iter().any(|finding| finding.severity == Severity::Error);
    prop_assert_eq!(loaded.settings.is_none(), refused);
    prop_assert!(loaded.findings.is_sorted_by_key(|finding| finding.position));
    let last_line = text.split('\n').count();
    for finding in &loaded.findings {
        prop_assert!((1..=last_line).contains(&finding.position.line), "{}", finding);
        prop_assert!(finding.position.column >= 1, "{}", finding);
        prop_assert!(!finding.message.contains(char::is_control), "{}", finding);
    }
    let shown = render(&loaded.findings, text, false);
    prop_assert!(!shown.contains("BuyK0s"), "{}", shown);
    prop_assert!(!shown.contains('\u{1b}'), "{}", shown);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_examples(
        example in prop::sample::select(ALL.to_vec()),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        // A secret whose key was cut off is no secret to anybody.
        let text = mutate(example, &mutations);
        prop_assume!(text.matches("BuyK0s").count() == text.matches("authPass: BuyK0s").count());
        assert_sound(&text)?;
    }

    #[test]
    fn assembled_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let text = pieces.concat();
        prop_assume!(text.matches("BuyK0s").count() == text.matches("authPass: BuyK0s").count());
        assert_sound(&text)?;
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        assert_sound(&text)?;
    }
}
