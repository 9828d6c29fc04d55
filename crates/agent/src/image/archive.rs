//! Importing archives: what `docker save` writes and OCI layouts, either of them compressed or not.
//!
//! An archive is read where it lies: its directory is gathered once, then documents and layers are read by their
//! place. A compressed one is decompressed into the store first.
//! Source: image specification `image-layout.md`; moby `image/tarexport`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;

use super::layer::{LayerError, decompress};
use super::store::{Arrival, Origin};
use super::{BadReference, Store, normalize};
use crate::runtime::Image;

/// Longest document of an archive.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Deepest nesting of indexes.
const INDEX_DEPTH_MAX: u32 = 4;

/// Why an archive could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("reading the archive")]
    Read(#[from] io::Error),
    /// It lacks a file that it names.
    #[error("the archive lacks {0:?}")]
    Missing(PathBuf),
    /// It is neither of the two kinds.
    #[error("this is no image archive: it has neither manifest.json (docker save) nor index.json (OCI)")]
    Unknown,
    /// A document in it cannot be read.
    #[error("reading {name:?} in the archive")]
    Document {
        /// The document.
        name: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An image in it has not as many layers as its configuration says.
    #[error("the image's configuration and its manifest name different numbers of layers")]
    LayerCount,
    /// Nothing in it is for this machine.
    #[error("the archive has no image for this machine ({0})")]
    Platform(Arch),
    /// A layer is broken.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A name in it is none.
    #[error(transparent)]
    Name(#[from] BadReference),
}

/// One image in a `docker save` archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: PathBuf,
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

impl Store {
    /// Imports all images of an archive, under the names it gives them.
    ///
    /// Blocking. Importing what is there already changes nothing.
    pub fn import(&self, file: &Path) -> Result<Vec<Image>, ArchiveError> {
        let arrival = self.arrival()?;
        let plain = arrival.temporary();
        let outcome = Archive::open(file, &plain).and_then(|archive| archive.import_into(&arrival));
        let _ = fs::remove_file(plain);
        outcome
    }
}

/// An archive and where its members are.
struct Archive {
    file: PathBuf,
    members: HashMap<PathBuf, (u64, u64)>,
    links: HashMap<PathBuf, PathBuf>,
}

impl Archive {
    fn open(file: &Path, plain: &Path) -> Result<Self, ArchiveError> {
        let mut magic = [0; 2];
        let compressed =
            File::open(file)?.read_exact(&mut magic).is_ok() && (magic == [0x1f, 0x8b] || magic == [0x28, 0xb5]);
        let file = if compressed {
            io::copy(
                &mut decompress(io::BufReader::new(File::open(file)?))?,
                &mut File::create(plain)?,
            )?;
            plain
        } else {
            file
        };
        let mut archive = Self {
            file: file.to_owned(),
            members: HashMap::new(),
            links: HashMap::new(),
        };
        let mut reader = tar::Archive::new(File::open(file)?);
        for entry in reader.entries_with_seek()? {
            let entry = entry?;
            let path = clean(&entry.path()?);
            if entry.header().entry_type().is_file() {
                archive.members.insert(path, (entry.raw_file_position(), entry.size()));
            } else if let Some(target) = entry.link_name()? {
                let base = path.parent().unwrap_or(Path::new("")).to_owned();
                archive.links.insert(path, clean(&base.join(target)));
            }
        }
        Ok(archive)
    }

    fn import_into(&self, arrival: &Arrival) -> Result<Vec<Image>, ArchiveError> {
        if self.has("manifest.json") {
            let saved: Vec<SavedImage> = self.document(Path::new("manifest.json"))?;
            return saved.iter().map(|image| self.import_saved(arrival, image)).collect();
        }
        if self.has("index.json") {
            let index: ImageIndex = self.document(Path::new("index.json"))?;
            let mut images = Vec::new();
            for descriptor in index.manifests() {
                images.extend(self.import_descriptor(
                    arrival,
                    descriptor,
                    name_of(descriptor).as_deref(),
                    INDEX_DEPTH_MAX,
                )?);
            }
            if images.is_empty() {
                return Err(ArchiveError::Platform(Arch::default()));
            }
            return Ok(images);
        }
        Err(ArchiveError::Unknown)
    }

    fn import_saved(&self, arrival: &Arrival, saved: &SavedImage) -> Result<Image, ArchiveError> {
        let tags = saved.repo_tags.iter().flatten();
        let names = tags.map(|tag| normalize(tag)).collect::<Result<Vec<_>, _>>()?;
        self.import_image(arrival, &saved.config, &saved.layers, &names)
    }

    fn import_descriptor(
        &self,
        arrival: &Arrival,
        descriptor: &Descriptor,
        name: Option<&str>,
        depth: u32,
    ) -> Result<Option<Image>, ArchiveError> {
        let path = blob(descriptor);
        if matches!(descriptor.media_type(), MediaType::ImageIndex)
            || descriptor.media_type().to_string().contains("manifest.list")
        {
            let index: ImageIndex = self.document(&path)?;
            let fitting = index
                .manifests()
                .iter()
                .find(|candidate| fits(candidate) && self.members.contains_key(&blob(candidate)));
            return match fitting.filter(|_| depth > 0) {
                Some(fitting) => self.import_descriptor(arrival, fitting, name, depth - 1),
                None => Ok(None),
            };
        }
        if !fits(descriptor) {
            return Ok(None);
        }
        let manifest: ImageManifest = self.document(&path)?;
        let layers: Vec<PathBuf> = manifest.layers().iter().map(blob).collect();
        let names = name.map(normalize).transpose()?.into_iter().collect::<Vec<_>>();
        self.import_image(arrival, &blob(manifest.config()), &layers, &names)
            .map(Some)
    }

    fn import_image(
        &self,
        arrival: &Arrival,
        config: &Path,
        layers: &[PathBuf],
        names: &[String],
    ) -> Result<Image, ArchiveError> {
        let mut bytes = Vec::new();
        self.member(config)?.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes)?;
        let document = |source| ArchiveError::Document {
            name: config.to_owned(),
            source,
        };
        let parsed: ImageConfiguration = serde_json::from_slice(&bytes).map_err(document)?;
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != layers.len() {
            return Err(ArchiveError::LayerCount);
        }
        let mut added = Vec::new();
        for (path, diff_id) in layers.iter().zip(diff_ids) {
            let source = self.member(path)?;
            added.push(arrival.add_layer(diff_id, || {
                Ok(Box::new(io::BufReader::with_capacity(128 * 1024, source)))
            })?);
        }
        Ok(arrival.add_image(&bytes, added, names, Origin::Archive)?)
    }

    fn has(&self, name: &str) -> bool {
        self.members.contains_key(Path::new(name))
    }

    fn document<T: for<'de> Deserialize<'de>>(&self, path: &Path) -> Result<T, ArchiveError> {
        let mut bytes = Vec::new();
        self.member(path)?.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|source| ArchiveError::Document {
            name: path.to_owned(),
            source,
        })
    }

    fn member(&self, path: &Path) -> Result<io::Take<File>, ArchiveError> {
        let path = clean(path);
        // Old archives have a layer once and links to it; a link leads to a member, never to another link.
        let place = self
            .members
            .get(&path)
            .or_else(|| self.members.get(self.links.get(&path)?));
        let (offset, size) = place.copied().ok_or(ArchiveError::Missing(path))?;
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.take(size))
    }
}

/// A member's path without `./`, `/` and `..`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn blob(descriptor: &Descriptor) -> PathBuf {
    let digest = descriptor.digest();
    Path::new("blobs")
        .join(digest.algorithm().as_ref())
        .join(digest.digest())
}

/// Whether what it describes runs here; what does not say where it runs, does.
fn fits(descriptor: &Descriptor) -> bool {
    descriptor
        .platform()
        .as_ref()
        .is_none_or(|platform| *platform.os() == Os::Linux && *platform.architecture() == Arch::default())
}

/// The name an index gives an image: containerd's annotation is a full name, the standard's may be a bare tag.
fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotations = descriptor.annotations().as_ref()?;
    let full = annotations.get("io.containerd.image.name");
    full.or_else(|| {
        annotations
            .get("org.opencontainers.image.ref.name")
            .filter(|name| name.contains(['/', ':']) || *name != "latest")
    })
    .cloned()
}
