//! The data directory: what is in it, which version wrote it, and that only one process uses it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rota_apiserver::write_private;

/// The layout that this program writes. Raised when an older program could no longer read it.
const LAYOUT: u32 = 1;
/// Directories for what others have no business with: keys, objects, and what pods are given to read.
const PRIVATE: [&str; 4] = ["images", "nodes", "pki", "store"];
/// The files beside them.
const FILES: [&str; 6] = [
    "identity.json",
    "join-token",
    "kubeconfig",
    "lock",
    "pod-range",
    "version",
];

/// A data directory in use by this process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held as long as the directory is used.
    _lock: File,
    is_temporary: bool,
    novelty: Option<Novelty>,
}

impl DataDir {
    /// Opens or creates the directory.
    ///
    /// Errors: another process uses it, or a newer version wrote it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let novelty = Novelty::of(path);
        let path = prepare(path)?;
        let lock = lock(&path)?;
        Ok(Self {
            path,
            _lock: lock,
            is_temporary: false,
            novelty,
        })
    }

    /// What is to be undone if this directory turns out to have been made in vain; `None` for one that was there before.
    pub(crate) fn novelty(&mut self) -> Option<Novelty> {
        self.novelty.take()
    }

    /// A directory that is removed when the cluster stops.
    ///
    /// Errors: the system's directory for temporary files cannot be written to.
    pub(crate) fn temporary() -> Result<Self> {
        let name = format!("rota-{:08x}", getrandom::u32().context("reading randomness")?);
        let mut dir = Self::open(&std::env::temp_dir().join(name))?;
        dir.is_temporary = true;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The administrator's kubeconfig, where nothing else was asked for.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// What other machines join with.
    pub(crate) fn join_token(&self) -> PathBuf {
        self.path.join("join-token")
    }

    /// Who this machine is in the cluster that it joined.
    pub(crate) fn identity(&self) -> PathBuf {
        self.path.join("identity.json")
    }

    /// Certificates and keys.
    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    /// The objects.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }
}

/// A data directory that is made just now.
#[derive(Debug)]
pub(crate) struct Novelty {
    path: PathBuf,
    /// The directory and those above it that were not there, innermost first.
    made: Vec<PathBuf>,
}

impl Novelty {
    /// To be asked before the directory is made; `None` where there is one.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let missing = path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        let path = path.to_owned();
        (!made.is_empty()).then_some(Self { path, made })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the directory, which is closed by now, and what was made above it, as if it had never been opened.
    ///
    /// Errors: something is mounted below it, or the disk failed.
    pub(crate) fn undo(self) -> Result<()> {
        if is_in_use(&self.path)? {
            return Ok(());
        }
        remove(&self.path)?;
        for above in &self.made {
            // The directory itself is gone; what others have put something into stays.
            let _ = fs::remove_dir(above);
        }
        Ok(())
    }
}

impl Drop for DataDir {
    /// Removes the directory, if it was only for now.
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = remove(&self.path)
        {
            let error = format!("{error:#}");
            tracing::warn!(path = %self.path.display(), error, "the temporary directory could not be removed");
        }
    }
}

/// Makes a data directory, or checks that this version may use the one that is there.
///
/// Errors: it cannot be made, or a newer version wrote it.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("creating the data directory {}", path.display()))?;
    let path = path
        .canonicalize()
        .with_context(|| format!("finding the data directory {}", path.display()))?;
    check_layout(&path)?;
    // The directory itself may be shared with others, such as one that was there before.
    for name in PRIVATE {
        make_private(&path.join(name))?;
    }
    Ok(path)
}

/// What is left of a directory whose cluster was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// The directory, empty: it is a file system of its own.
    Empty,
    /// The directory, with files that are not the cluster's.
    Foreign,
}

/// Deletes the cluster in a data directory that nobody uses and that has nothing in the kernel any more, and the directory if
/// nothing else is in it.
///
/// Errors: something is mounted below it, which is nothing of ours: nothing was deleted. Or the disk failed.
pub(crate) fn remove(path: &Path) -> Result<Left> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading what is mounted")?;
    if let Some(mount) = mounted_below(path, &mounts) {
        bail!(
            "{} is mounted in it: unmount that first; nothing was deleted",
            mount.display()
        );
    }
    let deleting = |path: &Path| {
        format!(
            "deleting {}; what is left of it can be deleted by the same command",
            path.display()
        )
    };
    // What tells that it is a data directory goes last, so that a second attempt finds it.
    let directories = PRIVATE.iter().map(|name| (path.join(name), true));
    let files = FILES.iter().map(|name| (path.join(name), false));
    for (own, is_directory) in directories.chain(files) {
        let gone = if is_directory {
            fs::remove_dir_all(&own)
        } else {
            fs::remove_file(&own)
        };
        match gone {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.with_context(|| deleting(&own))?,
        }
    }
    match fs::remove_dir(path) {
        Ok(()) => Ok(Left::Nothing),
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(Left::Empty),
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(Left::Foreign),
        Err(error) => Err(error).with_context(|| deleting(path)),
    }
}

/// True for a directory that a cluster was opened in.
pub(crate) fn is_data_dir(path: &Path) -> bool {
    path.join("version").is_file()
}

/// Makes a directory that only its owner can look into, or makes it so.
fn make_private(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("keeping {} from others", path.display()))
}

/// Something that is mounted below a directory, by the kernel's list of mounts.
fn mounted_below(path: &Path, mounts: &str) -> Option<PathBuf> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    points
        .into_iter()
        .find(|point| point.starts_with(path) && point != path)
}

/// A path as the kernel's list writes it: blanks and backslashes are three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = after.get(if code.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// What a data directory holds, for people.
pub(crate) fn contents(path: &Path) -> Vec<&'static str> {
    let is_there = |name: &str| path.join(name).exists();
    let is_in_a_node = |name: &str| {
        let nodes = fs::read_dir(path.join("nodes")).into_iter().flatten().flatten();
        nodes.into_iter().any(|node| node.path().join(name).exists())
    };
    let found = [
        ("objects", is_there("store")),
        ("keys", is_there("pki") || is_there("identity.json")),
        ("images", is_there("images")),
        ("logs", is_in_a_node("pods")),
        ("volumes on disk", is_in_a_node("state")),
    ];
    found
        .into_iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(what, _)| what)
        .collect()
}

/// True while a process uses the directory.
///
/// Errors: this user may not know.
pub(crate) fn is_in_use(path: &Path) -> Result<bool> {
    let file = path.join("lock");
    let lock = match OpenOptions::new().read(true).write(true).open(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other.with_context(|| format!("opening {}", file.display()))?,
    };
    Ok(!is_free(&lock))
}

/// Takes the lock if nobody has it, for as long as the file is open.
fn is_free(lock: &File) -> bool {
    rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn lock(path: &Path) -> Result<File> {
    let file = path.join("lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .with_context(|| format!("opening {}", file.display()))?;
    if !is_free(&lock) {
        let mut owner = String::new();
        let _ = lock.read_to_string(&mut owner);
        let owner = owner.trim();
        let by = if owner.is_empty() {
            String::new()
        } else {
            format!(" (process {owner})")
        };
        bail!(
            "the data directory {} is in use by another rota{by}; stop that one, or choose another with --data-dir",
            path.display()
        );
    }
    // Only for the words above: where a disk is full, the lock is held all the same.
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

fn check_layout(path: &Path) -> Result<()> {
    let file = path.join("version");
    let written = match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.with_context(|| format!("reading {}", file.display()))?,
    };
    match written.trim() {
        // Nothing else was made before this was written.
        "" => write_private(&file, &format!("{LAYOUT}\n")).with_context(|| format!("writing {}", file.display())),
        text => {
            let layout: u32 = text
                .parse()
                .with_context(|| format!("{} does not hold a version: {text:?}", file.display()))?;
            if layout > LAYOUT {
                bail!(
                    "the data directory {} was written by a newer version of rota (layout {layout}, this one knows {LAYOUT}); use that version, or another directory",
                    path.display()
                );
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rota-data-dir-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_directory_in_use_is_refused_and_says_by_whom() {
        let path = scratch("lock");
        let first = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(refused.contains("is in use by another rota (process "), "{refused}");
        assert!(is_in_use(&path).unwrap());
        drop(first);
        assert!(!is_in_use(&path).unwrap());
        assert_eq!(remove(&path).unwrap(), Left::Nothing);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_is_no_data_directory_is_not_deleted() {
        let path = scratch("foreign");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("precious"), "").unwrap();
        assert!(!is_data_dir(&path) && !is_in_use(&path).unwrap());
        let mut opened = DataDir::open(&path).unwrap();
        assert!(is_data_dir(&path) && opened.novelty().is_none());
        drop(opened);
        assert_eq!(remove(&path).unwrap(), Left::Foreign);
        assert!(path.join("precious").exists());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing else is left");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_directory_that_was_made_in_vain_is_gone_with_what_was_made_above_it() {
        let root = scratch("vain");
        fs::create_dir_all(root.join("there")).unwrap();
        let novelty = || DataDir::open(&root.join("there/a/b")).unwrap().novelty();
        novelty().unwrap().undo().unwrap();
        assert_eq!(fs::read_dir(root.join("there")).unwrap().count(), 0);
        let made = novelty().unwrap();
        assert!(novelty().is_none(), "it is there by now");
        fs::write(root.join("there/a/other"), "").unwrap();
        made.undo().unwrap();
        assert!(!root.join("there/a/b").exists() && root.join("there/a/other").exists());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn others_cannot_look_into_what_a_cluster_keeps() {
        let path = scratch("private");
        fs::create_dir_all(path.join("store")).unwrap();
        drop(DataDir::open(&path).unwrap());
        for name in PRIVATE {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_directory_of_a_newer_version_is_refused() {
        let path = scratch("version");
        drop(DataDir::open(&path).unwrap());
        fs::write(path.join("version"), "999\n").unwrap();
        assert!(
            DataDir::open(&path)
                .unwrap_err()
                .to_string()
                .contains("newer version of rota (layout 999")
        );
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_directory_whose_first_opening_was_cut_off_is_opened_as_a_new_one() {
        let path = scratch("cut");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("version"), "").unwrap();
        drop(DataDir::open(&path).unwrap());
        assert_eq!(fs::read_to_string(path.join("version")).unwrap(), "1\n");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_is_mounted_below_a_directory_is_found() {
        let line = |point: &str| format!("36 35 98:0 / {point} rw,noatime shared:1 - tmpfs tmpfs rw\n");
        let found = |points: &[&str]| {
            let mounts: String = points.iter().map(|point| line(point)).collect();
            mounted_below(Path::new("/var/lib/ro ta"), &mounts)
        };
        assert_eq!(found(&["/", "/var/lib/ro\\040ta", "/var/lib/ro\\040tax"]), None);
        let below = PathBuf::from("/var/lib/ro ta/nodes/a b");
        assert_eq!(found(&["/", "/var/lib/ro\\040ta/nodes/a\\040b"]), Some(below));
    }

    #[test]
    fn a_directory_with_something_mounted_in_it_is_not_deleted() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let path = scratch("mounted");
        let point = path.join("mine");
        fs::create_dir_all(&point).unwrap();
        fs::write(path.join("version"), "1").unwrap();
        rustix::mount::mount("tmpfs", &point, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        let refused = remove(&path).unwrap_err().to_string();
        assert!(refused.contains("mine is mounted in it"), "{refused}");
        assert!(path.join("version").exists());
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::remove_dir(&point).unwrap();
        assert_eq!(remove(&path).unwrap(), Left::Nothing);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_is_a_file_system_of_its_own_is_emptied() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let path = scratch("own");
        fs::create_dir_all(&path).unwrap();
        rustix::mount::mount("tmpfs", &path, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        fs::create_dir_all(path.join("nodes/n")).unwrap();
        fs::write(path.join("version"), "1").unwrap();
        assert_eq!(remove(&path).unwrap(), Left::Empty);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn what_is_kept_is_what_is_there() {
        let path = scratch("contents");
        fs::create_dir_all(path.join("nodes/n/pods")).unwrap();
        assert_eq!(contents(&path), ["logs"]);
        for name in ["store", "pki", "images", "nodes/n/state"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        assert_eq!(
            contents(&path),
            ["objects", "keys", "images", "logs", "volumes on disk"]
        );
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_temporary_directory_is_gone_when_closed() {
        let dir = DataDir::temporary().unwrap();
        let path = dir.path().to_owned();
        assert!(path.exists());
        drop(dir);
        assert!(!path.exists());
    }
}
