use super::super::testing::report;
use super::*;

#[test]
fn what_is_shown_cannot_become_markup() {
    let mut report = report();
    report.virtual_routers[0].reason = "<script>alert('x')</script> & \"more\"".to_owned();
    let page = page(&report);
    assert!(
        page.contains(
            "is HERE since 1m1s: &#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62; &#38; &#34;more&#34;"
        ),
        "{page}"
    );
    assert!(!page.contains("alert('x')"));
}

#[test]
fn nothing_of_the_page_comes_from_elsewhere() {
    for outside in ["http:", "https:", "src=", "<link", "@import", "url("] {
        assert!(!PAGE.contains(outside), "{outside}");
    }
    // What a browser is told is text stays text.
    for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!PAGE.contains(unsafe_way), "{unsafe_way}");
    }
    assert_eq!(PAGE.matches(SNAPSHOT).count(), 1);
}
