//! Words of keepalived.conf(5).

/// The word as keepalived reads it back: between double quotes unless it is plain.
///
/// Nothing is escaped in there (2.2.7, 2.4.3: `alloc_strvec_r` in lib/parser.c), so what holds
/// a double quote cannot be written at all: [`objection`] tells before.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{word}\"")
}

/// What stands against writing the word into a configuration.
pub(crate) fn objection(word: &str) -> Option<&'static str> {
    if word.contains('"') {
        return Some("a double quote");
    }
    if word.chars().any(char::is_control) {
        return Some("a control character");
    }
    if word.contains("$_") || word.contains("${") {
        return Some("a $ before _ or {, which keepalived replaces");
    }
    if matches!(word, "{" | "}") {
        return Some("a lone brace");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_as_they_are_and_others_are_quoted() {
        assert_eq!(quote("secret12"), "secret12");
        assert_eq!(quote("eth0.100"), "eth0.100");
        assert_eq!(quote("a b#!"), "\"a b#!\"");
        assert_eq!(quote(""), "\"\"");
        assert_eq!(quote("a'{b"), "\"a'{b\"");
    }

    #[test]
    fn what_keepalived_cannot_read_back_is_objected_to() {
        assert_eq!(objection("a b#!'{}\\~@"), None);
        assert_eq!(objection("a$b"), None);
        for word in ["a\"b", "a\nb", "$_PWD", "${_PWD}", "}", "{"] {
            assert!(objection(word).is_some(), "{word:?}");
        }
    }
}
