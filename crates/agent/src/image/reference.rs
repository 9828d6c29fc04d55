//! Names of images.
//!
//! A name is normalised before it is stored or looked up: `busybox` is `docker.io/library/busybox:latest`.
//! Source: distribution `reference/normalize.go`.

use oci_client::Reference;

/// Not a name an image can have.
#[derive(Debug, thiserror::Error)]
#[error("couldn't parse image name {name:?}: {reason}")]
pub struct BadReference {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The one full form of a name: registry, path, and tag or digest.
///
/// Errors: it is not the name of an image.
pub fn normalize(name: &str) -> Result<String, BadReference> {
    Ok(parse(name)?.whole())
}

pub(super) fn parse(name: &str) -> Result<Reference, BadReference> {
    name.parse().map_err(|e: oci_client::ParseError| BadReference {
        name: name.to_owned(),
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_get_their_registry_path_and_tag() {
        let check = |name: &str, expected: &str| assert_eq!(normalize(name).expect(name), expected);
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("kubetm/init", "docker.io/kubetm/init:latest");
        check("ghcr.io/c1t1d0s7/go-myweb", "ghcr.io/c1t1d0s7/go-myweb:latest");
        check("localhost:5000/a/b:1", "localhost:5000/a/b:1");
        check("rota.dev/host", "rota.dev/host:latest");
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        check(&digest, &format!("docker.io/library/{digest}"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "Upper/Case", "a b", "x:tag:tag"] {
            assert!(normalize(bad).is_err(), "{bad:?}");
        }
    }
}
