use super::*;

#[test]
fn the_first_has_the_plain_name() {
    for (number, name) in [(1, "nllb"), (2, "nllb-2"), (10, "nllb-10")] {
        assert_eq!(numbered("nllb", number), name);
        assert_eq!(number_of(name, "nllb"), Some(number));
    }
    for other in ["nllb-", "nllb-1", "nllb-0", "nllb2", "nllb-x", "cplb", "nllb-2-3"] {
        assert_eq!(number_of(other, "nllb"), None, "{other}");
    }
}

#[test]
fn a_damaged_record_is_left_aside() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Record::all(&folder.path().join("nowhere")).unwrap(), []);
    fs::write(folder.path().join("envoy.json"), "{\"number\": 1").unwrap();
    assert_eq!(Record::all(folder.path()).unwrap(), []);
}
