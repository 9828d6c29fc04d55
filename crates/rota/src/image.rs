//! `rota image`: the images of a data directory.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rota_agent::image::Store;
use rota_agent::runtime::Image;
use serde_json::json;

use crate::cli::{ImageArgs, ImageCommand};
use crate::up::Novelty;
use crate::{output, up};

/// Runs the command.
pub(crate) async fn command(args: ImageArgs) -> Result<ExitCode> {
    let is_looking = matches!(args.command, ImageCommand::Ls { .. } | ImageCommand::Rm { .. });
    if is_looking && !args.data_dir.exists() {
        bail!(
            "{} does not exist: no images were imported there; --data-dir names another directory",
            args.data_dir.display()
        );
    }
    let novelty = Novelty::of(&args.data_dir);
    let done = perform(&args).await;
    if let (Err(_), Some(novelty)) = (&done, novelty)
        && holds_no_image(&args.data_dir)
    {
        // The first error is the one to tell.
        let _ = novelty.undo();
    }
    done
}

/// True unless another import, which found the directory there, has put something into it. The host's own programs are always there.
fn holds_no_image(data_dir: &Path) -> bool {
    let images = Store::open(&data_dir.join("images")).and_then(|store| store.list());
    images.is_ok_and(|images| images.len() <= 1)
}

async fn perform(args: &ImageArgs) -> Result<ExitCode> {
    let dir = up::prepare(&args.data_dir)?.join("images");
    let store = Store::open(&dir).with_context(|| format!("opening the images in {}", dir.display()))?;
    match &args.command {
        ImageCommand::Import { file } => {
            let images = if file.as_os_str() == "-" {
                store
                    .import_stream(&mut std::io::stdin().lock())
                    .context("importing from standard input")?
            } else {
                let imported = store.import(file);
                imported.with_context(|| format!("importing {}", file.display()))?
            };
            for image in images {
                for name in &image.names {
                    output::say(name);
                }
                if image.names.is_empty() {
                    output::say_error(&format!(
                        "{} has no name, so that no pod can ask for it; save it by a name",
                        image.id
                    ));
                }
            }
        }
        ImageCommand::Ls { json: true } => {
            let images: Vec<_> = store
                .list()
                .context("listing the images")?
                .iter()
                .map(|image| json!({"id": image.id, "names": image.names, "size_bytes": image.size_bytes}))
                .collect();
            output::say(&json!(images).to_string());
        }
        ImageCommand::Ls { json: false } => list(&store.list().context("listing the images")?),
        ImageCommand::Rm { name } => {
            if !store.remove(name).with_context(|| format!("removing {name:?}"))? {
                bail!("there is no image {name:?}; `rota image ls` lists them");
            }
        }
        ImageCommand::Pull { name } => {
            let image = store.pull(name).await.with_context(|| format!("pulling {name:?}"))?;
            output::say(&image.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(images: &[Image]) {
    let rows: Vec<[String; 3]> = images
        .iter()
        .flat_map(|image| {
            let id = match image.id.strip_prefix("sha256:") {
                Some(digest) => digest.chars().take(12).collect(),
                None => image.id.clone(),
            };
            image
                .names
                .iter()
                .map(move |name| [name.clone(), id.clone(), size(image.size_bytes)])
        })
        .collect();
    let head = ["NAME".to_owned(), "ID".to_owned(), "SIZE".to_owned()];
    let width = |column: usize| {
        rows.iter()
            .chain([&head])
            .map(|row| row[column].len())
            .max()
            .unwrap_or_default()
    };
    let (name_width, id_width) = (width(0), width(1));
    for [name, id, size] in [&head].into_iter().chain(&rows) {
        output::say(&format!("{name:name_width$}  {id:id_width$}  {size}"));
    }
}

/// `12.3 MB`, as people read it.
fn size(bytes: u64) -> String {
    let mut tenths = u128::from(bytes) * 10;
    for unit in ["B", "kB", "MB"] {
        if tenths < 10_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1000;
    }
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_as_people_read_them() {
        assert_eq!(size(0), "0.0 B");
        assert_eq!(size(999), "999.0 B");
        assert_eq!(size(12_345_678), "12.3 MB");
        assert_eq!(size(1_999_999_999_999), "1999.9 GB");
    }
}
