use std::os::unix::fs::MetadataExt;

use super::*;

const PLAIN: Form = Form { mode: 0o444, labelled: false };

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cds.yaml");
    put(&path, "old", PLAIN).unwrap();
    assert_eq!(mode(&path), 0o444);
    let before = fs::metadata(&path).unwrap().ino();
    // Open as Envoy might have it.
    let mut reader = File::open(&path).unwrap();
    put(&path, "new", PLAIN).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), before, "another file, moved to its name");
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    let mut text = String::new();
    io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert_eq!(text, "old");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["cds.yaml"], "nothing else is left");
}

#[test]
fn only_what_differs_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cds.yaml");
    let inode = || fs::metadata(&path).unwrap().ino();
    put_changed(&path, "text", PLAIN).unwrap();
    let first = inode();
    put_changed(&path, "text", PLAIN).unwrap();
    assert_eq!(inode(), first);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    put_changed(&path, "text", PLAIN).unwrap();
    assert_eq!(mode(&path), 0o444);
    let second = inode();
    put_changed(&path, "other", PLAIN).unwrap();
    assert_ne!(inode(), second);
    assert_eq!(fs::read_to_string(&path).unwrap(), "other");
}

#[test]
fn what_a_crash_left_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nllb.json");
    let left = folder.path().join(".nllb.json.new");
    fs::write(&left, "half").unwrap();
    fs::set_permissions(&left, Permissions::from_mode(0o400)).unwrap();
    put(&path, "whole", PLAIN).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    assert!(!left.exists());
}

#[test]
fn a_kubeconfig_is_for_its_owner_and_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig.yaml");
    write_private(&path, "text").unwrap();
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn a_folder_gets_its_mode_although_it_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nllb");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    make_folder(&path, Form { mode: 0o700, labelled: false }).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_file_in_the_place_of_a_folder_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nllb");
    fs::write(&path, "something").unwrap();
    let error = make_folder(&path, Form { mode: 0o700, labelled: false }).unwrap_err();
    let expected = format!("cannot write {}: Not a directory (os error 20)", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read_to_string(&path).unwrap(), "something");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/cds.yaml");
    let error = put(&path, "new", PLAIN).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot write {}: ", path.display())),
        "{error}"
    );
}

/// Needs root; without, the kernel refuses this attribute.
#[test]
fn files_and_folders_carry_the_label_of_container_selinux() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may set security.selinux");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("envoy"), folder.path().join("envoy/cds.yaml"));
    make_folder(&path, Form { mode: 0o755, labelled: true }).unwrap();
    put(&file, "text", Form { mode: 0o444, labelled: true }).unwrap();
    for path in [path, file] {
        let mut value = [0; 128];
        let length = rustix::fs::getxattr(&path, "security.selinux", &mut value).unwrap();
        assert_eq!(&value[..length], b"system_u:object_r:container_file_t:s0\0");
    }
}
