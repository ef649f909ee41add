//! Kernel parameters, as sysctl(8) reads and writes them. Those below `net/` belong to the network
//! namespace of the calling thread.
//!
//! A name is written with slashes (`net/ipv4/conf/eth0.7/arp_ignore`), since names of interfaces
//! may have dots.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// The value of a parameter; `None` where the kernel has none of this name.
pub fn read(name: &str) -> Result<Option<String>, Error> {
    match path(name).and_then(fs::read_to_string) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system(format_args!("read the kernel parameter {name}"), error)),
    }
}

/// Changes a parameter; `false` where the kernel has none of this name.
pub fn write(name: &str, value: &str) -> Result<bool, Error> {
    match path(name).and_then(|path| fs::write(path, value)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Err(Error::System {
            purpose: format!("set the kernel parameter {name} to {value}"),
            source: io::Error::other(
                "/proc/sys is read-only, as in an unprivileged container; set it on the host",
            ),
        }),
        Err(error) => {
            let purpose = format_args!("set the kernel parameter {name} to {value}");
            Err(Error::system(purpose, error))
        }
    }
}

/// Below /proc/sys, and nowhere else whatever the name.
fn path(name: &str) -> io::Result<PathBuf> {
    let relative = Path::new(name);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no kernel parameter"));
    }
    Ok(Path::new("/proc/sys").join(relative))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::netns::Namespace;

    /// The value by the word of another program.
    fn cat(path: &str) -> String {
        let output = Command::new("cat").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_parameter_is_that_of_the_threads_network_namespace() {
        let outside = cat("/proc/sys/net/ipv4/conf/lo/arp_ignore");
        let namespace = Namespace::new().expect("needs root");
        namespace
            .run(|| {
                let name = "net/ipv4/conf/lo/arp_ignore";
                assert!(write(name, "8").unwrap());
                assert_eq!(read(name).unwrap().as_deref(), Some("8"));
                assert_eq!(cat("/proc/sys/net/ipv4/conf/lo/arp_ignore"), "8");
            })
            .unwrap();
        assert_eq!(cat("/proc/sys/net/ipv4/conf/lo/arp_ignore"), outside);
    }

    #[test]
    fn a_parameter_that_the_kernel_lacks_is_no_error() {
        assert_eq!(read("net/ipv4/conf/nosuchlink/arp_ignore").unwrap(), None);
        assert!(!write("net/ipv4/conf/nosuchlink/arp_ignore", "1").unwrap());
    }

    #[test]
    fn a_refused_value_is_an_error_that_names_it() {
        let namespace = Namespace::new().expect("needs root");
        let error = namespace.run(|| write("net/ipv4/conf/lo/arp_ignore", "high").unwrap_err());
        let text = error.unwrap().to_string();
        assert!(
            text.contains("set the kernel parameter net/ipv4/conf/lo/arp_ignore to high"),
            "{text}"
        );
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        assert!(read("../self/environ").is_err());
        assert!(read("/etc/hostname").is_err());
        assert!(write("net/../../sys/kernel/panic", "1").is_err());
    }
}
