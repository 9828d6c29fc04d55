//! The root of a container: shared read-only layers below, a private writable layer above.
//!
//! Everything is mounted in the shim's own mount namespace and vanishes with it, so that a thousand containers do not
//! lengthen the node's mount table. A file system that cannot carry a writable layer (an overlay itself, as in a
//! container on a container) is replaced by memory.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, mount_remount, unmount};

use crate::oci::protocol::RootSource;
use crate::runtime::Mount;

/// Top-level directories of the host that `rota.dev/host` shows.
const HOST_DIRS: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt"];
/// What of the host's `/etc` it hides: passwords and keys.
const HOST_SECRETS: [&str; 7] = ["shadow", "shadow-", "gshadow", "gshadow-", "ssh", "rota", "kubernetes"];
/// Empty directories it has, and their modes.
const EMPTY_DIRS: [(&str, u32); 14] = [
    ("proc", 0o755),
    ("sys", 0o755),
    ("dev", 0o755),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("root", 0o700),
    ("home", 0o755),
    ("srv", 0o755),
    ("mnt", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
    ("var/log", 0o755),
    ("var/lib", 0o755),
    ("var/cache", 0o755),
];

/// Puts the root of a container together at `root`; its private layer goes below `private`.
pub(crate) fn assemble(source: &RootSource, private: &Path, root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    match source {
        RootSource::Layers { dir, names } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            overlay(dir, &names, private, root)
        }
        RootSource::Host => assemble_host(private, root),
    }
}

/// Takes a root apart again. Lazy: a file still open in it does not matter, nobody else sees the mount.
pub(crate) fn disassemble(root: &Path) {
    let _ = unmount(root, UnmountFlags::DETACH);
}

/// Parts of volumes, held where no container can put a link in their place until they have been mounted.
pub(crate) struct HeldParts {
    /// All mounts, with the parts where they are held.
    pub(super) mounts: Vec<Mount>,
    places: Vec<PathBuf>,
}

impl HeldParts {
    /// Binds each part by a handle to a place below `dir`.
    ///
    /// Errors: a link is on the way to it by now, or it cannot be mounted.
    pub(super) fn of(mounts: &[Mount], dir: &Path) -> io::Result<Self> {
        let mut held = Self {
            mounts: mounts.to_vec(),
            places: Vec::new(),
        };
        for (index, part) in held.mounts.iter_mut().enumerate().filter(|(_, mount)| mount.is_part) {
            // The agent named it without links.
            let found = openat2(
                CWD,
                &part.source,
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::NO_SYMLINKS,
            )?;
            fs::create_dir_all(dir)?;
            let place = dir.join(index.to_string());
            if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory {
                fs::create_dir(&place)?;
            } else {
                fs::File::create_new(&place)?;
            }
            held.places.push(place.clone());
            mount_bind_recursive(format!("/proc/self/fd/{}", found.as_raw_fd()), &place)?;
            part.source = place;
        }
        Ok(held)
    }
}

impl Drop for HeldParts {
    /// The container has them by now, or never will. They are let go of before anything is deleted around them.
    fn drop(&mut self) {
        for place in &self.places {
            let _ = unmount(place, UnmountFlags::DETACH);
        }
    }
}

/// Makes a directory in a root, with its parents; links in the root never lead out of it.
pub(crate) fn make_dir(root: &Path, path: &Path) -> io::Result<()> {
    let mut parent = openat2(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )?;
    let mut walked = PathBuf::new();
    let top = parent.try_clone()?;
    for component in path.components() {
        let std::path::Component::Normal(name) = component else {
            continue;
        };
        walked.push(name);
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        parent = openat2(
            &top,
            &walked,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )?;
    }
    Ok(())
}

fn overlay(lower_dir: &Path, lower: &[&str], private: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(private)?;
    match overlay_on(lower_dir, lower, private, target) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            mount("tmpfs", private, "tmpfs", MountFlags::empty(), None)?;
            overlay_on(lower_dir, lower, private, target)
        }
        other => other,
    }
}

fn overlay_on(lower_dir: &Path, lower: &[&str], private: &Path, target: &Path) -> io::Result<()> {
    for name in ["upper", "work"] {
        fs::create_dir_all(private.join(name))?;
    }
    // The options must fit a page: layers are named relative to the working directory, the private layer through a
    // descriptor, whose path also contains nothing that would need escaping.
    let private_dir = fs::File::open(private)?;
    let fd = private_dir.as_raw_fd();
    let lower = lower.join(":");
    let options = |extra: &str| {
        CString::new(format!(
            "lowerdir={lower},upperdir=/proc/self/fd/{fd}/upper,workdir=/proc/self/fd/{fd}/work{extra}"
        ))
    };
    std::env::set_current_dir(lower_dir)?;
    // Volatile: the private layer ends with the container, so nothing of it is worth a flush to the disk.
    let mut outcome = mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        Some(&*options(",volatile")?),
    );
    if outcome.is_err() {
        outcome = mount("overlay", target, "overlay", MountFlags::empty(), Some(&*options("")?));
    }
    std::env::set_current_dir("/")?;
    Ok(outcome?)
}

fn assemble_host(private: &Path, root: &Path) -> io::Result<()> {
    let skeleton = private.join("root");
    for (name, mode) in EMPTY_DIRS {
        let dir = skeleton.join(name);
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
    }
    mount_bind_recursive(&skeleton, root)?;
    for name in HOST_DIRS {
        let host = Path::new("/").join(name);
        let inside = root.join(name);
        match fs::symlink_metadata(&host) {
            Ok(meta) if meta.is_symlink() => std::os::unix::fs::symlink(fs::read_link(&host)?, &inside)?,
            Ok(meta) if meta.is_dir() => {
                fs::create_dir_all(&inside)?;
                show_host_dir(&host, &private.join(name), &inside)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn show_host_dir(host: &Path, private: &Path, inside: &Path) -> io::Result<()> {
    if host == Path::new("/etc") {
        let upper = private.join("upper");
        fs::create_dir_all(&upper)?;
        for name in HOST_SECRETS {
            // A character device 0:0 is how an overlay says that a name is gone.
            match mknodat(CWD, upper.join(name), FileType::CharacterDevice, Mode::empty(), 0) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        return overlay(host, &["."], private, inside);
    }
    if overlay(host, &["."], private, inside).is_err() {
        // A data directory below this one cannot be laid over it; without a writable layer it still can be shown.
        mount_bind_recursive(host, inside)?;
        mount_remount(inside, MountFlags::BIND | MountFlags::RDONLY, "")?;
    }
    Ok(())
}
