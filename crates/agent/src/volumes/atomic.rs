//! Files that change all at once: readers see either all old or all new ones.
//!
//! ```text
//! <dir>/key        -> ..data/key
//! <dir>/..data     -> ..<generation>
//! <dir>/..<generation>/key
//! ```
//!
//! A new generation is written beside the old one, then `..data` is renamed over in one step. A crash before leaves the old
//! files in place and a generation nobody points to, which the next write removes.
//!
//! Source: kubernetes `pkg/volume/util/atomic_writer.go`.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path};

use super::payload::{File, Payload};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_next";

/// Makes `directory` hold exactly `payload`. Does nothing when it does already.
///
/// Errors: the disk failed, or a path of the payload leads out of the directory.
pub(super) fn write(directory: &Path, payload: &Payload, fs_group: Option<u32>) -> io::Result<()> {
    for path in payload.files.keys() {
        let is_plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        if !is_plain || path.is_empty() || path.starts_with("..") {
            let why = format!("{path:?} is not a path below the volume");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    let data = directory.join(DATA);
    let current = fs::read_link(&data).ok();
    if current.is_some() && holds(&data, payload)? {
        return Ok(());
    }
    let generation = next_generation(directory)?;
    let fresh = directory.join(&generation);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o755))?;
    for (path, file) in &payload.files {
        write_file(&fresh, path, file, fs_group)?;
    }
    let next = directory.join(DATA_NEXT);
    remove_if_there(&next)?;
    symlink(&generation, &next)?;
    fs::rename(&next, &data)?;
    link_names(directory, payload)?;
    remove_stale(directory, &generation)
}

/// True when the files below `data` are those of the payload, no more and no less.
fn holds(data: &Path, payload: &Payload) -> io::Result<bool> {
    let mut found = 0;
    for (path, file) in &payload.files {
        match fs::read(data.join(path)) {
            Ok(content) if content == file.content => found += 1,
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(count_files(data)? == found)
}

fn count_files(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    // Depth is bounded by the paths written here.
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    Ok(count)
}

/// A name no generation in the directory has.
fn next_generation(directory: &Path) -> io::Result<String> {
    let mut latest = 0;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(".."))
            .and_then(|n| n.parse::<u64>().ok());
        latest = latest.max(number.unwrap_or(0));
    }
    Ok(format!("..{}", latest + 1))
}

fn write_file(root: &Path, path: &str, file: &File, fs_group: Option<u32>) -> io::Result<()> {
    let target = root.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&target, &file.content)?;
    let mode = match fs_group {
        Some(_) => file.mode | 0o440,
        None => file.mode,
    };
    if file.user.is_some() || fs_group.is_some() {
        chown(&target, file.user, fs_group)?;
    }
    fs::set_permissions(&target, Permissions::from_mode(mode))
}

/// Makes the first part of each path a link into `..data`, and removes links to what is no longer there.
fn link_names(directory: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = payload.files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = directory.join(name);
        let target = Path::new(DATA).join(name);
        if fs::read_link(&link).ok().as_deref() != Some(&target) {
            remove_if_there(&link)?;
            symlink(&target, &link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_wanted = name
            .to_str()
            .is_some_and(|name| names.contains(name) || name.starts_with(".."));
        // What is no link is a place on which something else is mounted.
        if !is_wanted && entry.file_type()?.is_symlink() {
            remove_if_there(&directory.join(name))?;
        }
    }
    Ok(())
}

fn remove_stale(directory: &Path, generation: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_generation = name.to_str().is_some_and(|name| name.starts_with(".."));
        let is_stale = is_generation && entry.file_type()?.is_dir() && name != generation;
        if is_stale {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let files = files.iter().map(|(path, content)| {
            let file = File {
                content: content.as_bytes().to_vec(),
                mode: 0o644,
                user: None,
            };
            ((*path).to_owned(), file)
        });
        Payload { files: files.collect() }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_all_at_once_and_nothing_old_stays() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("v");
        write(&directory, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(names(&directory), ["..1", "..data", "a", "sub"]);
        assert_eq!(fs::read_to_string(directory.join("sub/b")).unwrap(), "2");
        write(&directory, &payload(&[("a", "3"), ("c", "4")]), None).unwrap();
        assert_eq!(names(&directory), ["..2", "..data", "a", "c"]);
        assert_eq!(fs::read_to_string(directory.join("a")).unwrap(), "3");
    }

    #[test]
    fn a_place_on_which_something_else_is_mounted_stays() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("v");
        write(&directory, &payload(&[("a", "1")]), None).unwrap();
        for (place, is_directory) in [("deep/er", true), ("file", false), ("a", false), ("../out", true)] {
            crate::volumes::make_place(&directory, Path::new(place), is_directory).unwrap();
        }
        write(&directory, &payload(&[("b", "2")]), None).unwrap();
        assert_eq!(names(&directory), ["..2", "..data", "b", "deep", "file"]);
        assert!(directory.join("deep/er").is_dir() && !root.path().join("out").exists());
    }

    #[test]
    fn the_same_files_are_not_written_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("v");
        write(&directory, &payload(&[("a", "1")]), None).unwrap();
        write(&directory, &payload(&[("a", "1")]), None).unwrap();
        assert_eq!(names(&directory), ["..1", "..data", "a"]);
    }

    #[test]
    fn a_path_out_of_the_volume_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../a", "/a", "..a", "", "a/../b"] {
            assert!(
                write(&root.path().join("v"), &payload(&[(path, "")]), None).is_err(),
                "{path}"
            );
        }
    }
}
