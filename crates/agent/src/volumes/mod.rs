//! Volumes of a pod: put in place before its containers start, kept up to date while they run, taken down at the end.
//!
//! - `host_path`: directories and files of the node, checked by type;
//! - `empty_dir`: room that lives and ends with the pod, on disk or in memory;
//! - `payload`: what config maps, secrets, downward API, projected volumes and tokens put into files;
//! - `atomic`: such files changed all at once;
//! - `keeper`: the order of all this for one pod.
//!
//! Source: `spec/node-and-pod.md` §18; kubernetes `pkg/volume/*`.

mod atomic;
mod empty_dir;
mod host_path;
mod keeper;
mod payload;
mod sub_path;

use std::io;
use std::path::{Component, Path, PathBuf};

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume};

use crate::context::Context;
use crate::references::Reference;

pub(crate) use keeper::Keeper;
pub(crate) use sub_path::resolve as resolve_sub_path;

/// What was put in place, and what it depends on.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Objects whose changes change the files.
    pub(crate) follows: Vec<Reference>,
    /// When a token has to be replaced.
    pub(crate) refresh: Option<Timestamp>,
}

/// A volume with everything it is made from.
struct Placement {
    name: String,
    directory: PathBuf,
    fs_group: Option<u32>,
    content: Content,
}

enum Content {
    HostPath(HostPathVolumeSource),
    EmptyDir(EmptyDirVolumeSource),
    Files(payload::Payload),
}

/// Asks the cluster for what all volumes of a pod are made from. Touches no file.
///
/// Errors: the first volume that cannot be made, in a sentence for people.
async fn gather(context: &Context, pod: &Pod) -> Result<(Prepared, Vec<Placement>), String> {
    let (mut prepared, mut placements) = (Prepared::default(), Vec::new());
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let content = if let Some(host_path) = &volume.host_path {
            Content::HostPath(host_path.clone())
        } else if let Some(empty_dir) = &volume.empty_dir {
            Content::EmptyDir(empty_dir.clone())
        } else if let Some(payload) = payload::of(context, pod, volume, &mut prepared).await {
            Content::Files(payload.map_err(|why| failed(&volume.name, &why))?)
        } else {
            let why = format!("volumes of kind {} are not supported", kind(volume));
            return Err(failed(&volume.name, &why));
        };
        placements.push(Placement {
            name: volume.name.clone(),
            directory: context.paths.volume(&uid, &volume.name),
            fs_group: fs_group(pod),
            content,
        });
    }
    Ok((prepared, placements))
}

/// Puts volumes in place, or brings them up to date. Blocking.
///
/// Errors: the first volume that cannot be, in a sentence for people.
fn place(placements: &[Placement]) -> Result<(), String> {
    for placement in placements {
        let Placement {
            name,
            directory,
            fs_group,
            content,
        } = placement;
        let placed = match content {
            Content::HostPath(source) => host_path::ensure(source),
            Content::EmptyDir(source) => empty_dir::ensure(directory, source, *fs_group).map_err(|e| e.to_string()),
            Content::Files(payload) => atomic::write(directory, payload, *fs_group).map_err(|e| e.to_string()),
        };
        placed.map_err(|why| failed(name, &why))?;
    }
    Ok(())
}

fn failed(volume: &str, why: &str) -> String {
    format!("MountVolume.SetUp failed for volume {volume:?} : {why}")
}

/// Where a volume is on the node; `None` when the pod has no such volume.
pub(crate) fn source(context: &Context, pod: &Pod, name: &str) -> Option<PathBuf> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == name)?;
    if let Some(host_path) = &volume.host_path {
        return Some(PathBuf::from(&host_path.path));
    }
    Some(context.paths.volume(pod.metadata.uid.as_deref()?, name))
}

/// True for a volume whose files are the node's to write: containers only read them, whatever their mounts say.
/// Source: `GetAttributes` in kubernetes `pkg/volume/{configmap,secret,downwardapi,projected}`.
pub(crate) fn is_read_only(pod: &Pod, name: &str) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volume = volumes.find(|volume| volume.name == name);
    volume.is_some_and(|volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.downward_api.is_some()
            || volume.projected.is_some()
    })
}

/// Makes the place in a volume of the node's files on which something else is mounted. What is there already stays.
/// Source: kubernetes `pkg/volume/util/nested_volumes.go`.
pub(crate) fn make_place(volume: &Path, below: &Path, is_directory: bool) -> io::Result<()> {
    let is_plain = below
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    let place = volume.join(below);
    if !is_plain || place.symlink_metadata().is_ok() {
        return Ok(());
    }
    if is_directory {
        return std::fs::create_dir_all(place);
    }
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create_new(place).map(drop)
}

/// True when a pod's volumes tell its containers of the pod itself, and there is something else to tell than before.
pub(crate) fn tells_otherwise(before: &Pod, now: &Pod) -> bool {
    let is_same =
        before.metadata.labels == now.metadata.labels && before.metadata.annotations == now.metadata.annotations;
    let mut volumes = now.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    !is_same
        && volumes.any(|volume| {
            let mut sources = volume
                .projected
                .iter()
                .flat_map(|projected| projected.sources.iter().flatten());
            volume.downward_api.is_some() || sources.any(|source| source.downward_api.is_some())
        })
}

/// Takes down everything below a pod's state directory. Safe to repeat.
///
/// Errors: something is still in use, or the disk failed.
pub(crate) fn take_down(state: &Path) -> io::Result<()> {
    unmount(state)?;
    match std::fs::remove_dir_all(state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Unmounts the volumes below a pod's state directory that are in memory; says how many there were. Safe to repeat.
///
/// Errors: the kernel refuses.
pub(crate) fn unmount(state: &Path) -> io::Result<usize> {
    let mut count = 0;
    let volumes = match std::fs::read_dir(state.join("volumes")) {
        Ok(volumes) => volumes.collect::<Result<Vec<_>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for volume in volumes {
        count += usize::from(empty_dir::unmount(&volume.path())?);
    }
    Ok(count)
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let security = pod.spec.as_ref()?.security_context.as_ref()?;
    security.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// The name of a volume's kind, as written in a pod.
fn kind(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    let mut kinds = fields.map(|(name, _)| name.as_str()).filter(|name| *name != "name");
    kinds.next().unwrap_or("unknown").to_owned()
}
