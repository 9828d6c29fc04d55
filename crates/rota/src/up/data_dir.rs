//! The data directory: what is in it, which version wrote it, and that only one process uses it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The layout that this program writes. Raised when an older program could no longer read it.
const LAYOUT: u32 = 1;

/// A data directory in use by this process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held as long as the directory is used.
    _lock: File,
    is_temporary: bool,
}

impl DataDir {
    /// Opens or creates the directory.
    ///
    /// Errors: another process uses it, or a newer version wrote it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("creating the data directory {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("finding the data directory {}", path.display()))?;
        let lock = lock(&path)?;
        check_layout(&path)?;
        Ok(Self {
            path,
            _lock: lock,
            is_temporary: false,
        })
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

impl Drop for DataDir {
    /// Removes the directory, if it was only for now.
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the temporary directory could not be removed");
        }
    }
}

/// True while a process uses the directory.
pub(crate) fn is_in_use(path: &Path) -> bool {
    path.is_dir() && lock(path).is_err()
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
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
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
    lock.set_len(0).with_context(|| format!("writing {}", file.display()))?;
    writeln!(lock, "{}", std::process::id()).with_context(|| format!("writing {}", file.display()))?;
    Ok(lock)
}

fn check_layout(path: &Path) -> Result<()> {
    let file = path.join("version");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let layout: u32 = text
                .trim()
                .parse()
                .with_context(|| format!("{} does not hold a version: {:?}", file.display(), text.trim()))?;
            if layout > LAYOUT {
                bail!(
                    "the data directory {} was written by a newer version of rota (layout {layout}, this one knows {LAYOUT}); use that version, or another directory",
                    path.display()
                );
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::write(&file, format!("{LAYOUT}\n")).with_context(|| format!("writing {}", file.display()))
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
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
        assert!(is_in_use(&path));
        drop(first);
        assert!(!is_in_use(&path));
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
    fn a_temporary_directory_is_gone_when_closed() {
        let dir = DataDir::temporary().unwrap();
        let path = dir.path().to_owned();
        assert!(path.exists());
        drop(dir);
        assert!(!path.exists());
    }
}
