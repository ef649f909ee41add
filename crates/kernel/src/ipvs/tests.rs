use super::*;
use crate::Error as KernelError;
use crate::error::Explanation;

fn refused(errno: Errno) -> KernelError {
    KernelError::Refused { purpose: "test".into(), errno, explanation: Explanation(None) }
}

fn service() -> Service {
    Service {
        address: "10.0.0.100:6443".parse().unwrap(),
        scheduler: "nosuch".into(),
        flags: 0,
        persistence: None,
    }
}

/// Whatever kernel the tests run on: IPVS is found, or the error says what to do.
#[test]
fn a_kernel_without_ipvs_is_told_with_the_way_out() {
    match Ipvs::open() {
        Ok(_) => {}
        Err(error) => {
            assert!(matches!(error, Error::NoIpvs), "{error:?}");
            assert!(error.to_string().contains("modprobe ip_vs"), "{error}");
        }
    }
}

#[test]
fn an_unknown_scheduler_is_named_with_its_module() {
    let error = Error::of_change(&[Change::AddService(service())], refused(Errno::NOENT));
    assert!(matches!(&error, Error::NoScheduler { scheduler } if scheduler == "nosuch"));
    assert!(error.to_string().contains("modprobe ip_vs_nosuch"), "{error}");
    assert!(error.to_string().contains("CONFIG_IP_VS_NOSUCH"), "{error}");
}

/// ENOENT about a real server that is gone is no missing scheduler.
#[test]
fn a_missing_real_server_is_not_taken_for_a_missing_scheduler() {
    let address = service().address;
    let error =
        Error::of_change(&[Change::RemoveDestination(address, address)], refused(Errno::NOENT));
    assert!(matches!(error, Error::Kernel(_)), "{error:?}");
}

#[test]
fn a_rootless_container_is_told_why_it_cannot() {
    let error = Error::of_command(KernelError::NotPermitted {
        purpose: "test".into(),
        capability: "CAP_NET_ADMIN",
    });
    assert!(error.to_string().contains("initial user namespace"), "{error}");
}
