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
    Read(#[source] io::Error),
    /// It lacks a file that it names.
    #[error("the archive lacks {0:?}")]
    Missing(PathBuf),
    /// It is neither of the two kinds.
    #[error(
        "this is no image archive: it has neither manifest.json (as `docker save` writes it) nor index.json (OCI); what \
         `docker export` writes is no image"
    )]
    Unknown,
    /// It is no tar file at all.
    #[error("this is no image archive: it is neither a tar file nor one compressed with gzip or zstd")]
    NoTar,
    /// It is compressed in another way.
    #[error("the archive is compressed with {0}, which is not understood; decompress it first")]
    Compression(&'static str),
    /// It ends before its content does.
    #[error("the archive is cut off: it ends before its content does")]
    CutOff,
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

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Read(error),
        }
    }
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

impl Store {
    /// The same for an archive that is read from a stream. It is kept in the store while it is imported.
    pub fn import_stream(&self, from: &mut dyn Read) -> Result<Vec<Image>, ArchiveError> {
        let arrival = self.arrival()?;
        let file = arrival.temporary();
        let copied = File::create(&file).and_then(|mut file| io::copy(from, &mut file));
        let outcome = copied.map_err(ArchiveError::Read).and_then(|_| self.import(&file));
        let _ = fs::remove_file(file);
        outcome
    }
}

/// How an archive is compressed, by how it begins.
enum Compression {
    None,
    Known,
    Unknown(&'static str),
}

impl Compression {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] | [0x28, 0xb5, ..] => Self::Known,
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Unknown("xz"),
            [b'B', b'Z', b'h', ..] => Self::Unknown("bzip2"),
            [b'P', b'K', 3, 4, ..] => Self::Unknown("zip"),
            _ => Self::None,
        }
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
        let mut start = Vec::new();
        File::open(file)?.take(5).read_to_end(&mut start)?;
        let file = match Compression::of(&start) {
            Compression::None => file,
            Compression::Unknown(how) => return Err(ArchiveError::Compression(how)),
            Compression::Known => {
                io::copy(
                    &mut decompress(io::BufReader::new(File::open(file)?))?,
                    &mut File::create(plain)?,
                )?;
                plain
            }
        };
        let mut archive = Self {
            file: file.to_owned(),
            members: HashMap::new(),
            links: HashMap::new(),
        };
        let length = fs::metadata(file)?.len();
        let mut reader = tar::Archive::new(File::open(file)?);
        let mut is_first = true;
        for entry in reader.entries_with_seek()? {
            // What is no tar file has no first header that is right.
            let entry = match entry {
                Err(_) if std::mem::replace(&mut is_first, false) => return Err(ArchiveError::NoTar),
                other => other?,
            };
            is_first = false;
            let path = clean(&entry.path()?);
            if entry.raw_file_position().saturating_add(entry.size()) > length {
                return Err(ArchiveError::CutOff);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar file with one member.
    fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, content).unwrap();
        builder.into_inner().unwrap()
    }

    fn refusal(archive: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let file = dir.path().join("archive");
        fs::write(&file, archive).unwrap();
        let refused = store.import(&file).unwrap_err().to_string();
        // A stream is refused in the same words, and nothing of it stays.
        assert_eq!(store.import_stream(&mut &*archive).unwrap_err().to_string(), refused);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        refused
    }

    #[test]
    fn what_is_no_image_archive_is_refused_with_what_it_is() {
        let no_tar = "this is no image archive: it is neither a tar file nor one compressed with gzip or zstd";
        assert_eq!(refusal(b"hello"), no_tar);
        assert_eq!(refusal(&[b'x'; 4096]), no_tar);
        let unknown = refusal(&tar_of("etc/passwd", b"root"));
        assert!(unknown.contains("neither manifest.json") && unknown.ends_with("`docker export` writes is no image"));
        assert_eq!(refusal(b""), unknown);
        let xz = "the archive is compressed with xz, which is not understood; decompress it first";
        assert_eq!(refusal(b"\xfd7zXZ\0rest"), xz);
        let document = refusal(&tar_of("manifest.json", b"{"));
        assert_eq!(document, "reading \"manifest.json\" in the archive");
        let missing = br#"[{"Config": "c.json", "RepoTags": ["a:1"], "Layers": []}]"#;
        assert_eq!(
            refusal(&tar_of("manifest.json", missing)),
            "the archive lacks \"c.json\""
        );
    }

    #[test]
    fn an_archive_that_ends_too_early_is_refused_as_such() {
        let whole = tar_of("manifest.json", &[b' '; 4096]);
        let cut_off = "the archive is cut off: it ends before its content does";
        assert_eq!(refusal(&whole[..1024]), cut_off);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut packed, &whole).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(refusal(&packed[..packed.len() - 9]), cut_off);
    }
}
