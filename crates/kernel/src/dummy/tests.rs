//! What a kernel without dummy links can be asked; the rest is tested in the virtual machine of
//! crate `ipvs`.

use super::*;
use crate::netns::Namespace;
use crate::test_cable::run;

const NAME: &str = "dummyvip0";

fn addresses(wanted: &[&str]) -> BTreeSet<IpAddr> {
    wanted.iter().map(|address| address.parse().unwrap()).collect()
}

fn inside(work: impl FnOnce() + Send) {
    Namespace::new().expect("needs root").run(work).unwrap();
}

#[test]
fn an_interface_of_another_kind_is_not_touched() {
    inside(|| {
        run("ip", &["link", "add", NAME, "type", "bridge"]);
        let mut dummy = Dummy::open(NAME).unwrap();
        let error = dummy.reconcile(&addresses(&["10.0.0.100"])).unwrap_err();
        assert!(matches!(&error, Error::NotADummy { kind: Some(kind), .. } if kind == "bridge"));
        assert!(error.to_string().contains("ip link del dummyvip0"), "{error}");
        run("ip", &["link", "set", NAME, "alias", ALIAS]);
        assert!(!dummy.remove().unwrap());
        assert!(run("ip", &["link"]).contains(NAME));
    });
}

/// Whatever kernel the tests run on: the link is made, or the error says what to do.
#[test]
fn a_kernel_without_dummy_links_is_told_with_the_way_out() {
    inside(|| match Dummy::open(NAME).unwrap().reconcile(&addresses(&["10.0.0.100"])) {
        Ok(changed) => assert!(changed),
        Err(error) => {
            assert!(matches!(error, Error::NoDummyLinks { .. }), "{error:?}");
            assert!(error.to_string().contains("modprobe dummy"), "{error}");
            assert!(!run("ip", &["link"]).contains(NAME));
        }
    });
}
