//! Where images are kept, and how their names lead to what a container's root is made of.
//!
//! ```text
//! <dir>/layers/<first 32 digits of the diff id>/   one unpacked layer, shared by every image that has it
//! <dir>/layers/base/                               mount points, below every image's layers
//! <dir>/images/<config digest>.json                one image: its configuration and layers
//! <dir>/names.json                                 name -> config digest
//! <dir>/imported.json                              the names that were imported from archives
//! <dir>/lock                                       held while any of the above changes, by whichever process
//! <dir>/coming                                     locked, shared, while layers come that no image names yet
//! <dir>/tmp/                                       work in progress; emptied when the store is opened and nothing comes
//! ```
//!
//! A layer appears whole, by a rename, and before the image that needs it; an image before its name. So an interrupted
//! import leaves layers nobody names, which the next removal sweeps up, unless something else is coming just then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci_spec::image::ImageConfiguration;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layer::{self, LayerError};
use super::{host, normalize};
use crate::oci::{Durability, RootSource, hex, images_in_use, write_record};
use crate::runtime::Image;

/// Digits of a layer's digest in its directory's name: an overlay's options name up to a hundred of them in one page.
const LAYER_NAME_DIGITS: usize = 32;

/// The lowest layer of every root: the directories that something is mounted on. Without it each container would make
/// them in its private layer, and making and deleting inodes is most of what a short container costs the file system.
const MOUNT_POINTS_LAYER: &str = "base";
/// What is in it.
const MOUNT_POINTS: [&str; 3] = ["dev", "proc", "sys"];

/// The images of a data directory.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    data_dir: PathBuf,
}

/// Where an image came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody imported it.
    Archive,
    /// It was pulled.
    Registry,
}

/// An image and what a root of it is made of.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// What is known of it.
    pub image: Image,
    pub(crate) root: RootSource,
}

/// An image on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    /// `sha256:` and the digest of its configuration.
    id: String,
    /// Directories of its layers, lowest first.
    layers: Vec<String>,
    /// Bytes of its files.
    size_bytes: u64,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<(String, String)>,
    working_dir: String,
    user: String,
    stop_signal: String,
}

type Names = BTreeMap<String, String>;

impl Store {
    /// Opens the images in `dir`, which lies in the data directory; makes it where it is missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        for sub in ["layers", "images", "tmp"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        for name in MOUNT_POINTS {
            fs::create_dir_all(dir.join("layers").join(MOUNT_POINTS_LAYER).join(name))?;
        }
        let dir = fs::canonicalize(dir)?;
        let data_dir = dir.parent().unwrap_or(&dir).to_owned();
        let store = Self { dir, data_dir };
        if let Some(_nothing_comes) = store.nothing_comes()? {
            for entry in fs::read_dir(store.dir.join("tmp"))? {
                remove(&entry?)?;
            }
        }
        Ok(store)
    }

    /// The image under a name, short or full, or under its id.
    pub fn get(&self, name: &str) -> io::Result<Option<StoredImage>> {
        let host = host::image();
        if name == host.id {
            return Ok(Some(StoredImage {
                image: host,
                root: RootSource::Host,
            }));
        }
        let names = self.names()?;
        let id = if name.starts_with("sha256:") {
            name.to_owned()
        } else {
            let Ok(full) = normalize(name) else { return Ok(None) };
            if full == host::NAME {
                return Ok(Some(StoredImage {
                    image: host,
                    root: RootSource::Host,
                }));
            }
            match names.get(&full) {
                Some(id) => id.clone(),
                None => return Ok(None),
            }
        };
        let Some(record) = self.record(&id)? else {
            return Ok(None);
        };
        let lowest = std::iter::once(MOUNT_POINTS_LAYER.to_owned());
        let layers = record.layers.iter().rev().cloned().chain(lowest).collect();
        let root = RootSource::Layers {
            dir: self.layers(),
            names: layers,
        };
        Ok(Some(StoredImage {
            image: record.into_image(&names),
            root,
        }))
    }

    /// All images.
    pub fn list(&self) -> io::Result<Vec<Image>> {
        let names = self.names()?;
        let records = self.records()?;
        let mut images = vec![host::image()];
        images.extend(records.into_iter().map(|record| record.into_image(&names)));
        Ok(images)
    }

    /// Takes a name away, and with its last name the image, and with their last image its layers.
    ///
    /// Returns whether there was such a name.
    ///
    /// Errors: a container still runs from the image (`ResourceBusy`).
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        let mut names = self.names()?;
        let full = normalize(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let Some(id) = names.remove(&full) else {
            return Ok(false);
        };
        let last = !names.values().any(|other| *other == id);
        if last && images_in_use(&self.data_dir).contains(&id) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("a container still runs from image {full}"),
            ));
        }
        self.write_names(&names)?;
        let mut imported = self.imported()?;
        if imported.remove(&full) {
            self.write_imported(&imported)?;
        }
        if last {
            fs::remove_file(self.record_path(&id))?;
            self.sweep()?;
        }
        Ok(true)
    }

    /// An image that is to come. Held from before it is asked which layers are here until the image names them all: what no
    /// image names yet is left alone meanwhile.
    pub(super) fn arrival(&self) -> io::Result<Arrival> {
        let lock = File::create(self.dir.join("coming"))?;
        rustix::fs::flock(&lock, FlockOperation::LockShared)?;
        Ok(Arrival {
            store: self.clone(),
            _lock: lock,
        })
    }

    /// Keeps layers from coming until it is dropped; `None` while some come.
    fn nothing_comes(&self) -> io::Result<Option<File>> {
        let file = File::create(self.dir.join("coming"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The directory of the layers.
    fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }

    /// The image under a name that no registry is asked for: the host's own, and what was imported under that name. An
    /// archive that somebody brought here is what they want to run, whatever a registry has under the same name.
    pub(super) fn local(&self, name: &str) -> io::Result<Option<Image>> {
        let Ok(full) = normalize(name) else { return Ok(None) };
        if full != host::NAME && !self.imported()?.contains(&full) {
            return Ok(None);
        }
        Ok(self.get(&full)?.map(|stored| stored.image))
    }

    /// The names that were imported from archives.
    fn imported(&self) -> io::Result<BTreeSet<String>> {
        match fs::read(self.dir.join("imported.json")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(e) => Err(e),
        }
    }

    fn write_imported(&self, names: &BTreeSet<String>) -> io::Result<()> {
        write_record(&self.dir.join("imported.json"), names, Durability::Power)
    }

    fn lock(&self) -> io::Result<File> {
        let file = File::create(self.dir.join("lock"))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn names(&self) -> io::Result<Names> {
        match fs::read(self.dir.join("names.json")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Names::new()),
            Err(e) => Err(e),
        }
    }

    fn write_names(&self, names: &Names) -> io::Result<()> {
        write_record(&self.dir.join("names.json"), names, Durability::Power)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        // An id is ours, but may come back from a request: no part of it may leave the directory.
        let name: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        self.dir.join("images").join(format!("{name}.json"))
    }

    fn record(&self, id: &str) -> io::Result<Option<Record>> {
        match fs::read(self.record_path(id)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn records(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.dir.join("images"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.push(serde_json::from_slice(&fs::read(path)?)?);
            }
        }
        records.sort_by(|a: &Record, b: &Record| a.id.cmp(&b.id));
        Ok(records)
    }

    /// Removes layers that no image has, unless some are just coming; the lock is held.
    fn sweep(&self) -> io::Result<()> {
        let Some(_nothing_comes) = self.nothing_comes()? else {
            return Ok(());
        };
        let needed: BTreeSet<String> = self.records()?.into_iter().flat_map(|record| record.layers).collect();
        for entry in fs::read_dir(self.layers())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == MOUNT_POINTS_LAYER || needed.contains(name.trim_end_matches(".size")) {
                continue;
            }
            remove(&entry)?;
        }
        Ok(())
    }
}

/// An image on its way into the store.
pub(super) struct Arrival {
    store: Store,
    /// Shared; ends with the arrival.
    _lock: File,
}

impl Arrival {
    /// A fresh path for work in progress.
    pub(super) fn temporary(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.store
            .dir
            .join("tmp")
            .join(format!("{}-{number}", std::process::id()))
    }

    /// The name of a layer and the bytes of its files, if it is here.
    pub(super) fn known_layer(&self, diff_id: &str) -> Option<(String, u64)> {
        let name = layer_name(diff_id)?;
        let size = fs::read_to_string(self.store.layers().join(format!("{name}.size")))
            .ok()?
            .parse()
            .ok()?;
        self.store.layers().join(&name).is_dir().then_some((name, size))
    }

    /// Adds a layer unless it is here; returns its name and the bytes of its files.
    pub(super) fn add_layer(
        &self,
        diff_id: &str,
        open: impl FnOnce() -> io::Result<Box<dyn Read>>,
    ) -> Result<(String, u64), LayerError> {
        if let Some(known) = self.known_layer(diff_id) {
            return Ok(known);
        }
        let Some(name) = layer_name(diff_id) else {
            return Err(LayerError::Digest {
                expected: diff_id.to_owned(),
                found: "not a sha256 digest".to_owned(),
            });
        };
        let dir = self.store.layers().join(&name);
        let size_file = self.store.layers().join(format!("{name}.size"));
        let fresh = self.temporary();
        fs::create_dir_all(&fresh).map_err(LayerError::Read)?;
        let unpacked = open()
            .map_err(LayerError::Read)
            .and_then(|bytes| layer::unpack(bytes, &fresh, diff_id));
        let published = unpacked.and_then(|size_bytes| {
            let publish = || {
                fs::write(&size_file, size_bytes.to_string())?;
                match fs::rename(&fresh, &dir) {
                    // Another import was first; its layer is the same.
                    Err(e) if dir.is_dir() && e.kind() != io::ErrorKind::NotFound => fs::remove_dir_all(&fresh),
                    other => other,
                }
            };
            publish().map_err(LayerError::Read)?;
            Ok(size_bytes)
        });
        if published.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        published.map(|size_bytes| (name, size_bytes))
    }

    /// Adds an image whose layers are there, under names that are normalised already.
    ///
    /// Errors: a layer is not there, or the disk failed.
    pub(super) fn add_image(
        &self,
        config: &[u8],
        layers: Vec<(String, u64)>,
        names: &[String],
        origin: Origin,
    ) -> io::Result<Image> {
        let parsed: ImageConfiguration = serde_json::from_slice(config)?;
        let record = Record::new(config, &parsed, layers);
        let _lock = self.store.lock()?;
        if let Some(missing) = record
            .layers
            .iter()
            .find(|layer| !self.store.layers().join(layer).is_dir())
        {
            let why =
                format!("layer {missing} of the image was removed from the store meanwhile; import or pull it again");
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        // The layers reach the disk before anything says that they are there.
        rustix::fs::syncfs(File::open(&self.store.dir)?)?;
        write_record(&self.store.record_path(&record.id), &record, Durability::Power)?;
        let mut known = self.store.names()?;
        known.extend(names.iter().map(|name| (name.clone(), record.id.clone())));
        self.store.write_names(&known)?;
        let mut imported = self.store.imported()?;
        match origin {
            Origin::Archive => imported.extend(names.iter().cloned()),
            Origin::Registry => imported.retain(|name| !names.contains(name)),
        }
        self.store.write_imported(&imported)?;
        Ok(record.into_image(&known))
    }
}

/// Removes a file, or a directory with what is in it.
fn remove(entry: &fs::DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() {
        fs::remove_dir_all(entry.path())
    } else {
        fs::remove_file(entry.path())
    }
}

impl Record {
    fn new(config: &[u8], parsed: &ImageConfiguration, layers: Vec<(String, u64)>) -> Self {
        let run = parsed.config().clone().unwrap_or_default();
        let split = |entry: &String| match entry.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (entry.clone(), String::new()),
        };
        let size_bytes = layers.iter().map(|(_, size)| size).sum();
        Self {
            id: format!("sha256:{}", hex(&Sha256::digest(config))),
            layers: layers.into_iter().map(|(name, _)| name).collect(),
            size_bytes,
            entrypoint: run.entrypoint().clone().unwrap_or_default(),
            cmd: run.cmd().clone().unwrap_or_default(),
            env: run.env().iter().flatten().map(split).collect(),
            working_dir: run.working_dir().clone().unwrap_or_default(),
            user: run.user().clone().unwrap_or_default(),
            stop_signal: run.stop_signal().clone().unwrap_or_default(),
        }
    }

    fn into_image(self, names: &Names) -> Image {
        Image {
            names: names
                .iter()
                .filter(|(_, id)| **id == self.id)
                .map(|(name, _)| name.clone())
                .collect(),
            id: self.id,
            size_bytes: self.size_bytes,
            entrypoint: self.entrypoint,
            cmd: self.cmd,
            env: self.env,
            working_dir: self.working_dir,
            user: self.user,
            stop_signal: self.stop_signal,
        }
    }
}

/// The directory of a layer; `None` if the digest is of a kind the store does not keep.
fn layer_name(diff_id: &str) -> Option<String> {
    let digits = diff_id.strip_prefix("sha256:")?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| digits[..LAYER_NAME_DIGITS].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of one file, and its digest.
    fn layer(content: &str) -> (Vec<u8>, String) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "file", content.as_bytes()).unwrap();
        let bytes = tar.into_inner().unwrap();
        let digest = hex(&Sha256::digest(&bytes));
        (bytes, format!("sha256:{digest}"))
    }

    fn add_layer(arrival: &Arrival, content: &str) -> (String, u64) {
        let (bytes, diff_id) = layer(content);
        arrival
            .add_layer(&diff_id, || Ok(Box::new(io::Cursor::new(bytes))))
            .unwrap()
    }

    fn add_image(arrival: &Arrival, name: &str, layers: Vec<(String, u64)>) -> io::Result<Image> {
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let names = [normalize(name).unwrap()];
        arrival.add_image(config.to_string().as_bytes(), layers, &names, Origin::Archive)
    }

    #[test]
    fn a_removal_leaves_alone_the_layers_of_an_image_that_is_coming() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(&data.path().join("images")).unwrap();
        let first = store.arrival().unwrap();
        let shared = add_layer(&first, "shared");
        add_image(&first, "first", vec![shared]).unwrap();
        drop(first);
        let second = store.arrival().unwrap();
        let (shared, own) = (add_layer(&second, "shared"), add_layer(&second, "own"));
        assert!(store.remove("first").unwrap());
        add_image(&second, "second", vec![shared.clone(), own]).unwrap();
        drop(second);
        assert!(store.get("second").unwrap().is_some());
        assert!(store.layers().join(&shared.0).is_dir());
        assert!(store.remove("second").unwrap());
        assert!(!store.layers().join(&shared.0).exists(), "nothing comes any more");
    }

    #[test]
    fn an_image_without_one_of_its_layers_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(&data.path().join("images")).unwrap();
        let arrival = store.arrival().unwrap();
        let layer = add_layer(&arrival, "lost");
        fs::remove_dir_all(store.layers().join(&layer.0)).unwrap();
        let refused = add_image(&arrival, "image", vec![layer]).unwrap_err();
        assert!(refused.to_string().contains("was removed"), "{refused}");
        assert!(store.get("image").unwrap().is_none());
    }

    #[test]
    fn what_a_cut_short_import_left_is_removed_once_nothing_comes() {
        let data = tempfile::tempdir().unwrap();
        let images = data.path().join("images");
        let store = Store::open(&images).unwrap();
        let arrival = store.arrival().unwrap();
        let left = arrival.temporary();
        fs::write(&left, "half a layer").unwrap();
        Store::open(&images).unwrap();
        assert!(left.exists(), "it is still coming");
        drop(arrival);
        Store::open(&images).unwrap();
        assert!(!left.exists());
    }
}
