use super::*;

const TEXT: &str = "{
  \"version\": 1,
  \"apiservers\": [
    \"10.0.0.1:6443\",
    \"10.0.0.2:6443\",
    \"[fd00::3]:6443\"
  ]
}
";

fn list() -> BTreeSet<SocketAddr> {
    ["10.0.0.2:6443", "[fd00::3]:6443", "10.0.0.1:6443"].map(|it| it.parse().unwrap()).into()
}

#[test]
fn file_is_what_it_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/apiservers.json");
    write(&path, &list()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left");
}

#[test]
fn list_is_read_with_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apiservers.json");
    fs::write(&path, TEXT).unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&path).unwrap().set_modified(an_hour_ago).unwrap();
    let cached = read(&path).unwrap();
    assert_eq!(cached.addresses, list());
    assert!((3600..3660).contains(&cached.age.as_secs()), "{:?}", cached.age);
}

#[test]
fn failed_write_keeps_the_old_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apiservers.json");
    fs::write(&path, TEXT).unwrap();
    // A folder is where the temporary file should be.
    fs::create_dir(folder.path().join("apiservers.json.new")).unwrap();
    assert!(write(&path, &["10.0.0.9:6443".parse().unwrap()].into()).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
}

#[test]
fn damaged_and_foreign_files_are_left_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apiservers.json");
    assert_eq!(read(&path), None, "there is none");
    let large = format!("{TEXT}{}", " ".repeat(64 * 1024));
    let cases: [&[u8]; 9] = [
        b"",
        &TEXT.as_bytes()[..TEXT.len() / 2],
        b"\0\0\0\0",
        b"\xff\xfe",
        b"[\"10.0.0.1:6443\"]",
        b"{\"version\": 2, \"apiservers\": [\"10.0.0.1:6443\"]}",
        b"{\"version\": 1, \"apiservers\": []}",
        b"{\"version\": 1, \"apiservers\": [\"apiserver:6443\"]}",
        large.as_bytes(),
    ];
    for case in cases {
        fs::write(&path, case).unwrap();
        assert_eq!(read(&path), None, "{:?}", String::from_utf8_lossy(case));
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(read(&path), None, "a folder");
}

/// Told to the run under strace where it writes.
const WRITE_AT: &str = "CPLB_TEST_WRITE_CACHE_AT";

/// Not a test of its own: what [`power_may_be_lost_at_any_moment`] traces.
#[test]
fn a_list_is_written_where_the_environment_says() {
    let Some(path) = std::env::var_os(WRITE_AT) else { return };
    write(Path::new(&path), &list()).unwrap();
}

/// Only what is synced outlives a loss of power: the text before the name leads to it, then the name. The
/// kernel's view, by strace.
#[test]
fn power_may_be_lost_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("apiservers.json"), folder.path().join("trace"));
    let calls = "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat";
    let traced = std::process::Command::new("strace")
        .args(["-f", "-y", "-qq", "-s", "256"])
        .args(["-P", &folder.path().display().to_string()])
        .args(["-P", &path.display().to_string()])
        .args(["-P", &temporary(&path).display().to_string()])
        .args(["-e", calls, "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "cache::tests::a_list_is_written_where_the_environment_says"])
        .env(WRITE_AT, &path)
        .output();
    let Ok(traced) = traced else {
        println!("skipped: no strace (Debian: strace)");
        return;
    };
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);

    let new = temporary(&path).display().to_string();
    let (folder, path) = (folder.path().display().to_string(), path.display().to_string());
    let trace = fs::read_to_string(&trace).unwrap();
    let what = |line: &str| {
        let name = line.split('(').next()?.split_whitespace().last()?.to_owned();
        let about = |file: &str| {
            line.contains(&format!("<{file}>")) || line.contains(&format!("\"{file}\""))
        };
        let files = [(&new, "new"), (&path, "list"), (&folder, "folder")];
        let files: Vec<_> = files.iter().filter(|it| about(it.0)).map(|it| it.1).collect();
        Some(format!("{name} {}", files.join(" ")))
    };
    let mut seen: Vec<String> =
        trace.lines().filter(|it| it.contains(" = ")).filter_map(what).collect();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "openat new",
            "write new",
            "fsync new",
            "rename new list",
            "openat folder",
            "fsync folder",
        ],
        "{trace}"
    );
}
