//! Making an image from files: for tests, examples and machines without a registry.
//!
//! The result is a `docker save` archive with one layer, which any tool can load; [`super::Store::import`] takes it in.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::oci::hex;

/// Commands of busybox that a small image should have.
const BUSYBOX_COMMANDS: &[&str] = &[
    "ash",
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "head",
    "hexdump",
    "hostname",
    "httpd",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mount",
    "mv",
    "nc",
    "netstat",
    "nproc",
    "nslookup",
    "ping",
    "pkill",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "route",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "tar",
    "tee",
    "telnet",
    "test",
    "time",
    "timeout",
    "top",
    "touch",
    "tr",
    "traceroute",
    "true",
    "tty",
    "umount",
    "uname",
    "uniq",
    "uptime",
    "vi",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
];

/// An image to be made.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// Its names; short ones are completed at import.
    pub names: Vec<String>,
    /// What runs.
    pub entrypoint: Vec<String>,
    /// Its arguments, or what runs where there is no entry point.
    pub cmd: Vec<String>,
    /// Environment, `KEY=value`.
    pub env: Vec<String>,
    /// User, as in a `passwd` file of the image, or a number.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    files: Vec<(PathBuf, Content)>,
}

#[derive(Clone, Debug)]
enum Content {
    Dir { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Symlink { target: PathBuf },
}

impl NewImage {
    /// An empty image.
    pub fn new(name: &str) -> Self {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        Self {
            names: vec![name.to_owned()],
            env: vec![path],
            ..Self::default()
        }
    }

    /// An image of a static busybox, such as Debian's `busybox-static`, with a shell as its command.
    pub fn busybox(name: &str, program: &Path) -> io::Result<Self> {
        let mut image = Self::new(name);
        image.cmd = vec!["sh".to_owned()];
        image = image
            .dir("tmp", 0o1777)
            .dir("root", 0o700)
            .dir("home", 0o755)
            .dir("etc", 0o755);
        image = image.file("bin/busybox", 0o755, std::fs::read(program)?);
        for command in BUSYBOX_COMMANDS {
            image = image.symlink(format!("bin/{command}"), "busybox");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
        let group = "root:x:0:\nwww-data:x:33:\nnobody:x:65534:\n";
        Ok(image
            .file("etc/passwd", 0o644, passwd.into())
            .file("etc/group", 0o644, group.into()))
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(mut self, path: impl Into<PathBuf>, mode: u32) -> Self {
        self.files.push((path.into(), Content::Dir { mode }));
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, mode: u32, bytes: Vec<u8>) -> Self {
        self.files.push((path.into(), Content::File { mode, bytes }));
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(mut self, path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.files
            .push((path.into(), Content::Symlink { target: target.into() }));
        self
    }

    /// Writes it as an archive.
    pub fn write_archive(&self, path: &Path) -> io::Result<()> {
        let layer = self.layer()?;
        let config = serde_json::to_vec(&json!({
            "architecture": oci_spec::image::Arch::default(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.cmd,
                "Env": self.env,
                "User": self.user,
                "WorkingDir": self.working_dir,
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
        }))?;
        let config_name = format!("{}.json", digest(&config));
        let layer_name = format!("{}/layer.tar", digest(&layer));
        let manifest = json!([{ "Config": config_name, "RepoTags": self.names, "Layers": [layer_name] }]);
        let mut archive = Builder::new(File::create(path)?);
        put_file(&mut archive, &config_name, 0o644, &config)?;
        put_file(&mut archive, &layer_name, 0o644, &layer)?;
        put_file(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
        archive.into_inner()?.flush()
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (path, content) in &self.files {
            match content {
                Content::Dir { mode } => {
                    layer.append_data(&mut header(EntryType::Directory, *mode, 0), path, io::empty())?;
                }
                Content::File { mode, bytes } => put_file(&mut layer, path, *mode, bytes)?,
                Content::Symlink { target } => {
                    layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?;
                }
            }
        }
        layer.into_inner()
    }
}

fn put_file(archive: &mut Builder<impl Write>, path: impl AsRef<Path>, mode: u32, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(EntryType::Regular, mode, bytes.len() as u64), path, bytes)
}

fn header(kind: EntryType, mode: u32, size_bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size_bytes);
    header.set_uid(0);
    header.set_gid(0);
    // Equal files make an equal image, whenever it is made.
    header.set_mtime(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
