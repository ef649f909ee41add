//! The kube-apiserver, which does not come with the tests.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a kube-apiserver, or an .xz of one.
pub(crate) const VARIABLE: &str = "KUBE_APISERVER";

/// The program to run; `None` when none is given.
pub(crate) fn kube_apiserver() -> Option<PathBuf> {
    let given = std::env::var_os(VARIABLE).filter(|given| !given.is_empty())?;
    let given = PathBuf::from(given);
    let given = given
        .canonicalize()
        .unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", given.display()));
    if given.extension().is_none_or(|extension| extension != "xz") {
        return Some(given);
    }
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join(given.file_stem().unwrap());
    if !is_current(&unpacked, &given) {
        unpack(&given, &unpacked);
    }
    Some(unpacked)
}

fn is_current(unpacked: &Path, packed: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    changed(unpacked).is_ok_and(|unpacked| unpacked >= changed(packed).unwrap())
}

/// Into place only when whole.
fn unpack(packed: &Path, unpacked: &Path) {
    let directory = unpacked.parent().unwrap();
    let part = tempfile::NamedTempFile::new_in(directory).unwrap().into_temp_path();
    let status = Command::new("xz")
        .arg("-dc")
        .arg(packed)
        .stdout(File::create(&part).unwrap())
        .status()
        .expect("xz runs (Debian: xz-utils)");
    assert!(status.success(), "xz cannot unpack {}", packed.display());
    std::fs::set_permissions(&part, Permissions::from_mode(0o755)).unwrap();
    part.persist(unpacked).unwrap();
}
