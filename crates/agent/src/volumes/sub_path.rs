//! A part of a volume: found or made without ever leaving the volume, whatever links a container left in it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The path of `sub_path` in `volume`, as a real path without links. Directories that are missing are made.
///
/// Errors: the disk failed, or the path leads out of the volume.
pub(crate) fn resolve(volume: &Path, sub_path: &str) -> io::Result<PathBuf> {
    let root = fs::canonicalize(volume)?;
    let mut resolved = root.clone();
    for component in Path::new(sub_path).components() {
        match component {
            Component::CurDir => continue,
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside(sub_path)),
        }
        match resolved.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&resolved)?,
            Err(error) => return Err(error),
        }
        resolved = fs::canonicalize(&resolved)?;
        if !resolved.starts_with(&root) {
            return Err(outside(sub_path));
        }
    }
    Ok(resolved)
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
}
