//! Files that somebody else reads while they are replaced.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, open};
use rustix::io::Errno;

use crate::error::Error;

/// By this label SELinux lets containers read (container-selinux).
const LABEL: &str = "system_u:object_r:container_file_t:s0";
/// Only kernels with SELinux have it.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// How a file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) mode: u32,
    /// Whether containers are to read it.
    pub(crate) labelled: bool,
}

/// Whether files need a label here.
pub(crate) fn has_selinux() -> bool {
    Path::new(SELINUX).exists()
}

/// Puts `text` at `path` for its owner to write and its group to read, in one step.
///
/// # Errors
/// What the system says. The old file is there then.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    put(path, text, Form { mode: 0o640, labelled: false })
}

/// Makes the directory if there is none, and gives it its mode and label in any case.
pub(crate) fn make_folder(path: &Path, form: Form) -> Result<(), Error> {
    let make = || -> io::Result<()> {
        match DirBuilder::new().mode(form.mode).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        // Where something else has its name, this fails with ENOTDIR.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = File::from(open(path, flags, Mode::empty())?);
        folder.set_permissions(Permissions::from_mode(form.mode))?;
        label(&folder, form)
    };
    make().map_err(Error::write(path))
}

/// Puts `text` at `path` in one step: whoever reads finds the old text or the new one, also after
/// a loss of power.
pub(crate) fn put(path: &Path, text: &str, form: Form) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = temporary(path);
    let put = || -> io::Result<()> {
        let written = write(&temporary, text, form).and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
            // The error to report is the first one.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(folder)?.sync_all()
    };
    put().map_err(Error::write(path))
}

/// The same, unless it is there already: whoever watches the file is not woken for nothing.
pub(crate) fn put_changed(path: &Path, text: &str, form: Form) -> Result<(), Error> {
    // A label may be wrong although the text is right.
    if !form.labelled && is_there(path, text, form.mode) {
        return Ok(());
    }
    put(path, text, form)
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Removes a directory if nothing is in it.
pub(crate) fn remove_empty(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir(directory) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(Error::Remove { path: directory.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn is_there(path: &Path, text: &str, mode: u32) -> bool {
    let same_mode = fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o7777 == mode);
    same_mode && fs::read_to_string(path).is_ok_and(|there| there == text)
}

fn write(path: &Path, text: &str, form: Form) -> io::Result<()> {
    // One that a crash left may be read-only.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(form.mode))?;
    label(&file, form)?;
    file.sync_all()
}

fn label(file: &impl AsFd, form: Form) -> io::Result<()> {
    if !form.labelled {
        return Ok(());
    }
    // The kernel's own labels end with a zero byte.
    let value = [LABEL.as_bytes(), &[0]].concat();
    match fsetxattr(file, "security.selinux", &value, XattrFlags::empty()) {
        // A file system without labels.
        Err(Errno::NOTSUP) => Ok(()),
        other => Ok(other?),
    }
}

/// Beside the file, and hidden: the kubelet reads every other file of its directory.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
