//! Directories and files of the node: what must be there, and what is made when it is not.
//!
//! Source: kubernetes `pkg/volume/hostpath/host_path.go`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};

use rota_api::k8s::api::core::v1::HostPathVolumeSource;

/// Makes or checks a path of the node.
///
/// Errors: it is not what the volume asks for, in a sentence for people.
pub(super) fn ensure(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = source.path.as_str();
    let wrong = |what: &str| Err(format!("hostPath type check failed: {path} is not {what}"));
    let wanted = source.type_.as_deref().unwrap_or_default();
    let found = match fs::metadata(path) {
        Ok(found) => Some(found.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("stat {path}: {error}")),
    };
    let Some(found) = found else {
        return match wanted {
            // The kernel cannot mount what is not there: without a type, a directory is what is meant most often.
            "" | "DirectoryOrCreate" => DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .map_err(|error| format!("mkdir {path}: {error}")),
            "FileOrCreate" => OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o644)
                .open(path)
                .map(drop)
                .map_err(|error| format!("create {path}: {error}")),
            "Directory" => wrong("a directory"),
            "File" => wrong("a file"),
            "Socket" => wrong("a socket file"),
            "CharDevice" => wrong("a character device"),
            "BlockDevice" => wrong("a block device"),
            other => Err(format!("{other:?} is an invalid volume type")),
        };
    };
    let (fits, what) = match wanted {
        "" => (true, ""),
        "DirectoryOrCreate" | "Directory" => (found.is_dir(), "a directory"),
        "FileOrCreate" | "File" => (found.is_file(), "a file"),
        "Socket" => (found.is_socket(), "a socket file"),
        "CharDevice" => (found.is_char_device(), "a character device"),
        "BlockDevice" => (found.is_block_device(), "a block device"),
        other => return Err(format!("{other:?} is an invalid volume type")),
    };
    if fits { Ok(()) } else { wrong(what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks one path below a fresh directory that holds a directory `d` and a file `f`.
    fn check(name: &str, kind: &str, expected: bool) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("f"), "").unwrap();
        let path = root.path().join(name);
        let source = HostPathVolumeSource {
            path: path.to_str().unwrap().to_owned(),
            type_: Some(kind.to_owned()),
        };
        let result = ensure(&source);
        assert_eq!(result.is_ok(), expected, "{name} as {kind:?}: {result:?}");
        if expected {
            assert!(path.exists(), "{name} as {kind:?} is there afterwards");
        }
    }

    #[test]
    fn a_path_must_be_what_its_type_says() {
        check("d", "Directory", true);
        check("f", "Directory", false);
        check("f", "File", true);
        check("d", "File", false);
        check("d", "", true);
        check("/dev/null", "CharDevice", true);
        check("f", "Socket", false);
        check("f", "BlockDevice", false);
        check("f", "Nonsense", false);
    }

    #[test]
    fn what_may_be_created_is() {
        check("new/deep", "DirectoryOrCreate", true);
        check("new", "FileOrCreate", true);
        check("new", "Directory", false);
        check("new", "File", false);
    }
}
