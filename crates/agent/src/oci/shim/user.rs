//! Who a container runs as: the pod's numbers, or the image's names looked up in the image's own files.
//!
//! The files are read below the container's root, whatever links they contain. The host's user database is never
//! asked: it has nothing to do with the image.
//! Source: image specification `config.md` (`User`); containerd `pkg/oci/spec_opts.go` (`WithUser`).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::runtime::Security;

/// Longest passwd or group file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The numbers a process runs under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its further groups.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: String,
}

/// Resolves a user in a root.
///
/// Errors: a sentence for the pod's owner: the image names someone who is not there, or root is forbidden.
pub(crate) fn resolve(root: &Path, image_user: &str, security: &Security) -> Result<User, String> {
    let read = |path: &str| read_below(root, path).unwrap_or_default();
    resolve_in(&read("etc/passwd"), &read("etc/group"), image_user, security)
}

fn resolve_in(passwd: &str, group: &str, image_user: &str, security: &Security) -> Result<User, String> {
    let (name, group_name) = match image_user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (image_user, None),
    };
    let wanted = match security.run_as_user {
        Some(uid) => uid.to_string(),
        None if name.is_empty() => "0".to_owned(),
        None => name.to_owned(),
    };
    let entry = lines(passwd)
        .find(|fields| fields.first() == Some(&wanted.as_str()))
        .or_else(|| lines(passwd).find(|fields| fields.get(2) == Some(&wanted.as_str())));
    let number = |field: Option<&&str>| field.and_then(|text| text.parse::<u32>().ok());
    let uid = number(entry.as_ref().and_then(|e| e.get(2)))
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| format!("unable to find user {wanted}: no matching entries in passwd file"))?;
    if security.run_as_non_root && uid == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    let image_group = group_name.filter(|_| security.run_as_user.is_none());
    let gid = match (security.run_as_group, image_group) {
        (Some(gid), _) => u32::try_from(gid).map_err(|_| format!("runAsGroup {gid} is out of range"))?,
        (None, Some(group_name)) => number(
            lines(group)
                .find(|fields| fields.first() == Some(&group_name))
                .as_ref()
                .and_then(|fields| fields.get(2)),
        )
        .or_else(|| group_name.parse().ok())
        .ok_or_else(|| format!("unable to find group {group_name}: no matching entries in group file"))?,
        (None, None) => number(entry.as_ref().and_then(|e| e.get(3))).unwrap_or(0),
    };
    let user_name = entry.as_ref().and_then(|e| e.first()).copied();
    let member_of = lines(group)
        .filter(|fields| {
            fields
                .get(3)
                .is_some_and(|members| user_name.is_some_and(|u| members.split(',').any(|m| m == u)))
        })
        .filter_map(|fields| number(fields.get(2)));
    let mut groups: Vec<u32> = member_of.collect();
    groups.extend(
        security
            .supplemental_groups
            .iter()
            .filter_map(|gid| u32::try_from(*gid).ok()),
    );
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = entry.as_ref().and_then(|e| e.get(5)).map_or("/", |home| home);
    Ok(User {
        uid,
        gid,
        groups,
        home: if home.is_empty() {
            "/".to_owned()
        } else {
            home.to_owned()
        },
    })
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(':').collect())
}

/// Reads a file of a root; links in it never lead out.
fn read_below(root: &Path, path: &str) -> io::Result<String> {
    let root = File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let mut bytes = Vec::new();
    File::from(file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nlogs:x:4:web,other\n";

    fn check(image_user: &str, security: &Security, expected: Result<(u32, u32, &[u32], &str), &str>) {
        let seen = resolve_in(PASSWD, GROUP, image_user, security);
        let expected = expected
            .map(|(uid, gid, groups, home)| User {
                uid,
                gid,
                groups: groups.to_vec(),
                home: home.to_owned(),
            })
            .map_err(str::to_owned);
        assert_eq!(seen, expected, "user {image_user:?}");
    }

    #[test]
    fn names_and_numbers_are_looked_up_in_the_image() {
        let security = Security::default();
        check("", &security, Ok((0, 0, &[0], "/root")));
        check("web", &security, Ok((33, 33, &[4, 33], "/srv")));
        check("33", &security, Ok((33, 33, &[4, 33], "/srv")));
        check("web:logs", &security, Ok((33, 4, &[4], "/srv")));
        check("1000", &security, Ok((1000, 0, &[0], "/")));
        check("1000:7", &security, Ok((1000, 7, &[7], "/")));
        check(
            "nobody",
            &security,
            Err("unable to find user nobody: no matching entries in passwd file"),
        );
        check(
            "web:none",
            &security,
            Err("unable to find group none: no matching entries in group file"),
        );
    }

    #[test]
    fn the_pod_overrides_the_image() {
        let security = Security {
            run_as_user: Some(33),
            run_as_group: Some(5),
            supplemental_groups: vec![9],
            ..Security::default()
        };
        check("root:logs", &security, Ok((33, 5, &[4, 5, 9], "/srv")));
    }

    #[test]
    fn root_is_refused_where_it_is_forbidden() {
        let security = Security {
            run_as_non_root: true,
            ..Security::default()
        };
        check(
            "root",
            &security,
            Err("container has runAsNonRoot and image will run as root"),
        );
        check("web", &security, Ok((33, 33, &[4, 33], "/srv")));
    }
}
