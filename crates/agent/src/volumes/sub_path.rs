//! A part of a volume: found or made without ever leaving the volume, whatever links a container left in it.
//!
//! Source: kubernetes `pkg/kubelet/kubelet_pods.go` (`makeMounts`), `pkg/volume/util/subpath/subpath_linux.go`.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// The path of `sub_path` in `volume`, as a real path without links. Directories that are missing are made, with the mode
/// of the volume itself: whoever may write to the volume may write to them.
///
/// Errors: the disk failed, or the path leads out of the volume.
pub(crate) fn resolve(volume: &Path, sub_path: &str) -> io::Result<PathBuf> {
    let root = fs::canonicalize(volume)?;
    let mode = root.metadata()?.permissions().mode() & 0o7777;
    let mut resolved = root.clone();
    for component in Path::new(sub_path).components() {
        match component {
            Component::CurDir => continue,
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside(sub_path)),
        }
        match resolved.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&resolved, mode)?,
            Err(error) => return Err(error),
        }
        resolved = fs::canonicalize(&resolved)?;
        if !resolved.starts_with(&root) {
            return Err(outside(sub_path));
        }
    }
    Ok(resolved)
}

fn make(directory: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(directory)?;
    // By its handle, and where it was made: a container may have put a link in its place, or in that of a directory above.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let made = options.open(directory)?;
    if fs::read_link(format!("/proc/self/fd/{}", made.as_raw_fd()))? != directory {
        let why = format!("{} was replaced while it was made", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    made.set_permissions(Permissions::from_mode(mode))
}

fn outside(sub_path: &str) -> io::Error {
    let why = format!("subPath {sub_path:?} leads out of its volume");
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_and_what_leads_out_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("v");
        fs::create_dir(&volume).unwrap();
        assert!(resolve(&volume, "a/b").unwrap().is_dir());
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("a", volume.join("in")).unwrap();
        assert!(resolve(&volume, "out").is_err());
        assert!(resolve(&volume, "../x").is_err());
        assert!(resolve(&volume, "in/b").unwrap().ends_with("v/a/b"));
    }

    #[test]
    fn what_is_made_has_the_mode_of_the_volume() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("v");
        fs::create_dir(&volume).unwrap();
        for mode in [0o755, 0o777, 0o2777] {
            fs::set_permissions(&volume, Permissions::from_mode(mode)).unwrap();
            let made = resolve(&volume, &format!("{mode:o}/b")).unwrap();
            for directory in [made.parent().unwrap(), &*made] {
                assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o7777, mode);
            }
        }
    }
}
