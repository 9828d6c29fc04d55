//! Unpacking a layer: a tar archive, perhaps compressed, into a directory an overlay can use as a lower layer.
//!
//! An archive is a stranger's: nothing in it may touch anything outside the directory. Each entry's parent is opened
//! below the directory with links resolved as if the directory were the root, and the entry itself is made relative to
//! that descriptor without following links. Deletions (`.wh.` names) become what the overlay file system knows.
//! Source: image specification `layer.md`; kernel `Documentation/filesystems/overlayfs.rst` (whiteouts, opaque).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fsetxattr, linkat, makedev, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use crate::oci::hex;

/// Marks a name deleted by a layer.
const WHITEOUT: &str = ".wh.";
/// Marks a directory whose content of lower layers is hidden.
const OPAQUE: &str = ".wh..wh..opq";
/// Prefix of the archive's extended attribute records.
const XATTR_RECORD: &str = "SCHILY.xattr.";
/// Directories kept open while unpacking; more are reopened when needed.
const OPEN_DIRS_MAX: usize = 64;

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// An entry could not be made.
    #[error("unpacking {path:?}")]
    Entry {
        /// The entry.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// An entry leads out of the layer.
    #[error("entry {0:?} leads out of the layer")]
    Escapes(PathBuf),
    /// The archive cannot be read.
    #[error("reading the layer")]
    Read(#[source] io::Error),
    /// The content is not what the image says.
    #[error("the layer's digest is {found}, not {expected}")]
    Digest {
        /// As the image says.
        expected: String,
        /// As it is.
        found: String,
    },
}

/// Unpacks a layer into an empty directory; returns the bytes of its files.
///
/// `diff_id` is the digest of the uncompressed archive, which is checked at the end: on an error the directory holds
/// rubbish and must be removed.
pub(super) fn unpack(compressed: impl Read, dir: &Path, diff_id: &str) -> Result<u64, LayerError> {
    let mut bytes = Hashing {
        inner: decompress(compressed).map_err(LayerError::Read)?,
        hash: Sha256::new(),
    };
    let mut unpacker = Unpacker::new(dir).map_err(LayerError::Read)?;
    let mut archive = Archive::new(&mut bytes);
    for entry in archive.entries().map_err(LayerError::Read)? {
        unpacker.entry(entry.map_err(LayerError::Read)?)?;
    }
    unpacker.finish()?;
    // Behind the last entry there is padding, which counts for the digest.
    io::copy(&mut bytes, &mut io::sink()).map_err(LayerError::Read)?;
    let found = format!("sha256:{}", hex(&bytes.hash.finalize()));
    if found != diff_id {
        return Err(LayerError::Digest {
            expected: diff_id.to_owned(),
            found,
        });
    }
    Ok(unpacker.size_bytes)
}

/// Decompresses by what the first bytes say.
pub(super) fn decompress<'a>(mut compressed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    compressed.by_ref().take(4).read_to_end(&mut magic)?;
    let kind = magic.clone();
    let whole = io::Cursor::new(magic).chain(compressed);
    Ok(match kind.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(ruzstd::decoding::StreamingDecoder::new(whole).map_err(io::Error::other)?),
        _ => Box::new(whole),
    })
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

struct Unpacker {
    root: OwnedFd,
    /// Parents of recent entries, by their path in the layer.
    open: HashMap<PathBuf, OwnedFd>,
    /// Directories get their times last: making what is in them changes them.
    dir_times: Vec<(PathBuf, Timestamps)>,
    size_bytes: u64,
}

impl Unpacker {
    fn new(dir: &Path) -> io::Result<Self> {
        let root = openat2(
            CWD,
            dir,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::empty(),
        )?;
        Ok(Self {
            root,
            open: HashMap::new(),
            dir_times: Vec::new(),
            size_bytes: 0,
        })
    }

    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), LayerError> {
        let raw = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let path = inside(&raw)?;
        let made = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let (parent, name) = (parent.to_owned(), name.to_owned());
                self.make(&mut entry, &path, &parent, &name)
            }
            _ => set_owner_and_mode(&self.root, &entry).map_err(Into::into),
        };
        made.map_err(|fault| match fault {
            Fault::Io(source) => LayerError::Entry { path: raw, source },
            Fault::Escapes => LayerError::Escapes(raw),
        })
    }

    fn make(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &Path,
        parent: &Path,
        name: &OsStr,
    ) -> Result<(), Fault> {
        if name == OPAQUE {
            let dir = self.dir(parent)?;
            return Ok(fsetxattr(dir, c"trusted.overlay.opaque", b"y", XattrFlags::empty())?);
        }
        if let Some(deleted) = name.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
            let dir = self.dir(parent)?;
            remove(dir, OsStr::from_bytes(deleted))?;
            return Ok(mknodat(
                dir,
                OsStr::from_bytes(deleted),
                FileType::CharacterDevice,
                Mode::empty(),
                0,
            )?);
        }
        let kind = entry.header().entry_type();
        let link = entry
            .link_name_bytes()
            .map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes)));
        let source = match (&link, kind) {
            (Some(link), EntryType::Link) => Some(self.hard_link_source(link)?),
            _ => None,
        };
        let dir = self.dir(parent)?;
        match kind {
            EntryType::Directory => {
                let made = mkdirat(dir, name, Mode::from_raw_mode(0o755));
                if made == Err(Errno::EXIST) && !is_dir(dir, name) {
                    remove(dir, name)?;
                    mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
                } else if made != Err(Errno::EXIST) {
                    made?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = openat(dir, name, flags, Mode::empty())?;
                set_xattrs(&made, entry)?;
                set_owner_and_mode(&made, entry)?;
                self.dir_times.push((path.to_owned(), times(entry)));
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                remove(dir, name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(dir, name, flags, Mode::from_raw_mode(0o600))?);
                let copied = io::copy(entry, &mut file)?;
                file.flush()?;
                set_owner_and_mode(&file, entry)?;
                set_xattrs(&file, entry)?;
                utimensat(dir, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
                self.size_bytes += copied;
                return Ok(());
            }
            EntryType::Link => {
                remove(dir, name)?;
                let (source_dir, source_name) = source.ok_or(Fault::Escapes)?;
                return Ok(linkat(&source_dir, &source_name, dir, name, AtFlags::empty())?);
            }
            EntryType::Symlink => {
                remove(dir, name)?;
                symlinkat(link.unwrap_or_default(), dir, name)?;
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                remove(dir, name)?;
                let header = entry.header();
                let number = |field: io::Result<Option<u32>>| field.ok().flatten().unwrap_or(0);
                let device = makedev(number(header.device_major()), number(header.device_minor()));
                let kind = match kind {
                    EntryType::Char => FileType::CharacterDevice,
                    EntryType::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                mknodat(dir, name, kind, Mode::from_raw_mode(header.mode()? & 0o7777), device)?;
            }
            // Records about other entries, which the archive reader has applied.
            _ => return Ok(()),
        }
        let (uid, gid) = owner(entry)?;
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        utimensat(dir, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        for (path, times) in std::mem::take(&mut self.dir_times).into_iter().rev() {
            let dir = openat2(
                &self.root,
                &path,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT,
            );
            // One that a later entry replaced has no time to set.
            if let Ok(dir) = dir {
                rustix::fs::futimens(dir, &times).map_err(|e| LayerError::Entry { path, source: e.into() })?;
            }
        }
        Ok(())
    }

    fn hard_link_source(&mut self, link: &Path) -> Result<(OwnedFd, std::ffi::OsString), Fault> {
        let path = inside(link).map_err(|_| Fault::Escapes)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Fault::Escapes);
        };
        Ok((self.dir(parent)?.try_clone_to_owned()?, name.to_owned()))
    }

    /// A directory of the layer, made where it is missing.
    fn dir(&mut self, path: &Path) -> Result<std::os::fd::BorrowedFd<'_>, Fault> {
        if path.as_os_str().is_empty() {
            return Ok(self.root.as_fd());
        }
        if !self.open.contains_key(path) {
            let dir = self.open_dir(path)?;
            if self.open.len() >= OPEN_DIRS_MAX {
                self.open.clear();
            }
            self.open.insert(path.to_owned(), dir);
        }
        self.open
            .get(path)
            .map(AsFd::as_fd)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        match open(path) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let mut parent = self.root.try_clone()?;
        let mut walked = PathBuf::new();
        for component in path.components() {
            walked.push(component);
            match mkdirat(&parent, component.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            parent = open(&walked)?;
        }
        Ok(parent)
    }
}

enum Fault {
    Io(io::Error),
    Escapes,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A path relative to the layer, without `.` and `/`; `..` leads out.
fn inside(path: &Path) -> Result<PathBuf, LayerError> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(LayerError::Escapes(path.to_owned())),
        }
    }
    Ok(clean)
}

fn is_dir(dir: impl AsFd, name: &OsStr) -> bool {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Removes what an entry replaces; a directory only when it is empty, which the kernel checks.
fn remove(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Ok(unlinkat(&dir, name, AtFlags::REMOVEDIR)?),
        Err(e) => Err(e.into()),
    }
}

fn owner(entry: &Entry<'_, impl Read>) -> io::Result<(Uid, Gid)> {
    let header = entry.header();
    // Archives written by hand may leave the fields empty, which every reader takes for root.
    let blank = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
    let fields = header.as_old();
    let uid = if blank(&fields.uid) { 0 } else { header.uid()? };
    let gid = if blank(&fields.gid) { 0 } else { header.gid()? };
    let number = |id: u64| u32::try_from(id).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    Ok((Uid::from_raw(number(uid)?), Gid::from_raw(number(gid)?)))
}

/// The owner first: changing it takes the set-user-id bit away.
fn set_owner_and_mode(file: impl AsFd, entry: &Entry<'_, impl Read>) -> io::Result<()> {
    let (uid, gid) = owner(entry)?;
    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    Ok(fchmod(file, Mode::from_raw_mode(entry.header().mode()? & 0o7777))?)
}

fn set_xattrs(file: impl AsFd, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
    let Some(records) = entry.pax_extensions()? else {
        return Ok(());
    };
    for record in records {
        let record = record?;
        let Some(name) = record.key().ok().and_then(|key| key.strip_prefix(XATTR_RECORD)) else {
            continue;
        };
        // Our own marks must come from whiteouts only.
        if name.starts_with("trusted.overlay.") {
            continue;
        }
        match fsetxattr(&file, name, record.value_bytes(), XattrFlags::empty()) {
            // Labels of a security module or file system this host does not have.
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn times(entry: &Entry<'_, impl Read>) -> Timestamps {
    let seconds = entry
        .header()
        .mtime()
        .ok()
        .and_then(|seconds| i64::try_from(seconds).ok())
        .unwrap_or(0);
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    use super::*;

    enum Item<'a> {
        File(&'a str, &'a str),
        Link(&'a str, &'a str),
        Symlink(&'a str, &'a str),
        Dir(&'a str),
    }

    fn archive(items: &[Item<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for item in items {
            let (path, kind, target, content) = match item {
                Item::File(path, content) => (*path, EntryType::Regular, "", *content),
                Item::Link(path, target) => (*path, EntryType::Link, *target, ""),
                Item::Symlink(path, target) => (*path, EntryType::Symlink, *target, ""),
                Item::Dir(path) => (*path, EntryType::Directory, "", ""),
            };
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o4755);
            header.set_size(content.len() as u64);
            header.set_mtime(1000);
            // Written raw: the library refuses the very paths these tests are about.
            let bytes = header.as_mut_bytes();
            bytes[..path.len()].copy_from_slice(path.as_bytes());
            bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).expect("append");
        }
        builder.into_inner().expect("finish")
    }

    fn unpack_into(dir: &Path, items: &[Item<'_>]) -> Result<u64, LayerError> {
        let bytes = archive(items);
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        unpack(bytes.as_slice(), dir, &digest)
    }

    #[test]
    fn files_links_and_directories_are_unpacked() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let items = [
            Item::Dir("etc"),
            Item::File("etc/motd", "hello"),
            Item::File("bin/deep/tool", "#!"),
            Item::Link("bin/same", "bin/deep/tool"),
            Item::Symlink("sbin", "bin"),
            Item::File("sbin/through", "x"),
        ];
        assert_eq!(unpack_into(dir.path(), &items).expect("unpack"), 8);
        let meta = |path: &str| std::fs::symlink_metadata(dir.path().join(path)).expect(path);
        assert_eq!(meta("etc/motd").permissions().mode() & 0o7777, 0o4755);
        assert_eq!(meta("etc").mtime(), 1000);
        assert_eq!(meta("bin/same").ino(), meta("bin/deep/tool").ino());
        assert!(meta("sbin").is_symlink());
        assert!(meta("bin/through").is_file());
    }

    #[test]
    fn deletions_become_whiteouts() {
        let dir = tempfile::tempdir().expect("temporary directory");
        unpack_into(
            dir.path(),
            &[Item::File("a/.wh.gone", ""), Item::File("b/.wh..wh..opq", "")],
        )
        .expect("unpack");
        let whiteout = std::fs::symlink_metadata(dir.path().join("a/gone")).expect("whiteout");
        assert!(whiteout.file_type().is_char_device());
        assert_eq!(whiteout.rdev(), 0);
        let mut value = [0; 8];
        let found = rustix::fs::getxattr(dir.path().join("b"), c"trusted.overlay.opaque", &mut value).expect("opaque");
        assert_eq!(&value[..found], b"y");
    }

    #[test]
    fn nothing_leads_out_of_the_layer() {
        let outside = tempfile::tempdir().expect("temporary directory");
        let target = outside.path().join("victim");
        std::fs::write(&target, "untouched").expect("write");
        let check = |items: &[Item<'_>]| {
            let dir = tempfile::tempdir().expect("temporary directory");
            let _ = unpack_into(dir.path(), items);
            assert_eq!(std::fs::read_to_string(&target).expect("read"), "untouched");
            assert_eq!(std::fs::read_dir(outside.path()).expect("list").count(), 1);
        };
        let out = outside.path().to_str().expect("path");
        let victim = target.to_str().expect("path");
        check(&[Item::File("../victim", "x")]);
        check(&[
            Item::Symlink("door", out),
            Item::File("door/victim", "x"),
            Item::File("door/new", "x"),
        ]);
        check(&[Item::Symlink("victim", victim), Item::File("victim", "x")]);
        check(&[Item::Link("mine", victim), Item::File("mine", "x")]);
        check(&[Item::Symlink("door", out), Item::File("door/.wh.victim", "")]);
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(matches!(
            unpack_into(dir.path(), &[Item::File("a/../../x", "")]),
            Err(LayerError::Escapes(_))
        ));
    }

    #[test]
    fn a_layer_that_is_not_what_it_should_be_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let bytes = archive(&[Item::File("a", "b")]);
        let error = unpack(bytes.as_slice(), dir.path(), "sha256:00").expect_err("wrong digest");
        assert!(matches!(error, LayerError::Digest { .. }));
    }
}
