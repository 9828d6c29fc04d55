//! Room that lives and ends with its pod, on disk or in memory.
//!
//! Source: kubernetes `pkg/volume/emptydir/empty_dir.go`.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rota_api::k8s::api::core::v1::EmptyDirVolumeSource;
use rota_api::quantity::Quantity;
use rustix::mount::{MountFlags, UnmountFlags};

/// Makes the directory, unless it is there already: what it holds survives restarts of containers and of the agent.
///
/// Errors: the disk failed, or memory cannot be mounted.
pub(super) fn ensure(directory: &Path, source: &EmptyDirVolumeSource, fs_group: Option<u32>) -> io::Result<()> {
    let is_new = !directory.exists();
    fs::create_dir_all(directory)?;
    let in_memory = source.medium.as_deref() == Some("Memory");
    if in_memory && !is_mounted(directory)? {
        let size = source.size_limit.as_ref().and_then(|q| Quantity::parse(&q.0).ok());
        let size = size.map(|size| format!("size={}", size.units())).unwrap_or_default();
        let options = CString::new(size).map_err(io::Error::other)?;
        rustix::mount::mount("tmpfs", directory, "tmpfs", MountFlags::empty(), options.as_c_str())?;
    } else if !is_new {
        return Ok(());
    }
    if fs_group.is_some() {
        chown(directory, None, fs_group)?;
    }
    fs::set_permissions(directory, Permissions::from_mode(mode(in_memory, fs_group)))
}

/// Any user of the pod may write; with a group of its own, what is made inside belongs to that group. In memory a user
/// may not remove what is another's: a tmpfs is made so, and upstream leaves it so.
fn mode(in_memory: bool, fs_group: Option<u32>) -> u32 {
    let sticky = if in_memory { 0o1000 } else { 0 };
    let inherits_group = if fs_group.is_some() { 0o2000 } else { 0 };
    0o777 | sticky | inherits_group
}

/// Unmounts a directory if something is mounted on it; says whether it was.
pub(super) fn unmount(directory: &Path) -> io::Result<bool> {
    let is_mounted = is_mounted(directory)?;
    if is_mounted {
        rustix::mount::unmount(directory, UnmountFlags::DETACH)?;
    }
    Ok(is_mounted)
}

/// True when the directory is the root of a file system of its own.
fn is_mounted(directory: &Path) -> io::Result<bool> {
    let Some(parent) = directory.parent() else {
        return Ok(true);
    };
    let is_link = directory.symlink_metadata()?.is_symlink();
    Ok(!is_link && directory.metadata()?.dev() != parent.metadata()?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_sticky_and_a_group_is_inherited() {
        assert_eq!(mode(false, None), 0o777);
        assert_eq!(mode(false, Some(123)), 0o2777);
        assert_eq!(mode(true, None), 0o1777);
        assert_eq!(mode(true, Some(123)), 0o3777);
    }

    #[test]
    fn any_user_may_write_and_what_was_written_stays() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("volumes/data");
        let source = EmptyDirVolumeSource::default();
        ensure(&directory, &source, None).unwrap();
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o7777, 0o777);
        fs::write(directory.join("f"), "x").unwrap();
        ensure(&directory, &source, None).unwrap();
        assert_eq!(fs::read(directory.join("f")).unwrap(), b"x");
    }
}
