//! Small secret files: read whole, written whole, for the owner only.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::PkiError;

/// The directory, closed to everyone but its owner, with its parents.
pub(super) fn create_directory(path: &Path) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("create", path))
}

/// The text of a file, `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a file that is there whole or not at all, readable by its owner only.
pub(super) fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    write_private(path, text).map_err(failed("write", path))
}

/// Writes a file that is there whole or not at all, also after a power failure, and readable by its owner only, whatever the
/// mode of an older one was. Makes its directory. One that holds the text already is not written again: that would fail where a
/// disk is full.
///
/// Errors: what the disk says.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return fs::set_permissions(path, Permissions::from_mode(0o600));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_private_file_is_the_owners_alone_whatever_was_there_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/kubeconfig.yaml");
        write_private(&path, "one").unwrap();
        let left_over = directory.path().join("below/kubeconfig.yaml.new");
        for open in [&path, &left_over] {
            fs::write(open, "half").unwrap();
            fs::set_permissions(open, Permissions::from_mode(0o666)).unwrap();
        }
        write_private(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left_over.exists());
    }

    #[test]
    fn a_private_file_is_written_when_its_text_changes_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        let written = |text: &str| {
            write_private(&path, text).unwrap();
            path.metadata().unwrap().ino()
        };
        let first = written("one");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        // An inode that was given back may be given out again.
        let held = File::open(&path).unwrap();
        assert_eq!(written("one"), first);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_ne!(written("two"), first);
        drop(held);
    }
}
