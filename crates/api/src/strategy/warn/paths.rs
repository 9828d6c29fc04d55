//! Files that a volume is to hold at the same place, or one inside of another.

use serde_json::Value;

use crate::value::{list, present, text};

/// A file, and what it comes from where that is not said otherwise.
struct File {
    path: String,
    source: String,
}

impl File {
    fn overlaps(&self, other: &Self) -> bool {
        let inside = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        self.path == other.path || inside(&self.path, &other.path) || inside(&other.path, &self.path)
    }

    fn shown(&self) -> String {
        match self.source.as_str() {
            "" => format!("{:?}", self.path),
            source => format!("{:?} ({source})", self.path),
        }
    }
}

/// Volumes with files that overlap, and projections of nothing.
pub(super) fn overlapping(spec: &Value, said: &mut Vec<String>) {
    for volume in list(spec, "volumes") {
        let name = text(volume, "name");
        let plain = [
            (
                "configMap",
                format!("ConfigMap {:?}", text(&volume["configMap"], "name")),
            ),
            ("secret", format!("Secret {:?}", text(&volume["secret"], "secretName"))),
            ("downwardAPI", "DownwardAPI".to_owned()),
        ];
        for (field, kind) in plain {
            let overlaps = overlaps(items(&volume[field], ""));
            if !overlaps.is_empty() {
                let overlaps = overlaps.join(", ");
                said.push(format!("volume {name:?} ({kind}): overlapping paths: {overlaps}"));
            }
        }
        let mut files = Vec::new();
        for source in list(&volume["projected"], "sources") {
            if source.as_object().is_none_or(serde_json::Map::is_empty) {
                said.push(format!("volume {name:?} (Projected) has no sources provided"));
            }
            files.extend(projected(source));
        }
        for overlap in overlaps(files) {
            said.push(format!("volume {name:?} (Projected): overlapping paths: {overlap}"));
        }
    }
}

fn items(source: &Value, from: &str) -> Vec<File> {
    let items = list(source, "items").iter();
    items.map(|item| file(text(item, "path"), from)).collect()
}

fn file(path: &str, from: &str) -> File {
    File {
        path: path.trim_end_matches('/').to_owned(),
        source: from.to_owned(),
    }
}

fn projected(source: &Value) -> Vec<File> {
    let named = |field: &str, kind: &str| {
        let of = &source[field];
        items(of, &format!("{kind} {:?}", text(of, "name")))
    };
    let mut files = named("configMap", "ConfigMap");
    files.extend(named("secret", "Secret"));
    files.extend(items(&source["downwardAPI"], "DownwardAPI"));
    if let Some(token) = present(source, "serviceAccountToken") {
        files.push(file(text(token, "path"), "ServiceAccountToken"));
    }
    if let Some(bundle) = present(source, "clusterTrustBundle") {
        let of = match text(bundle, "name") {
            "" => text(bundle, "signerName"),
            name => name,
        };
        files.push(file(text(bundle, "path"), &format!("ClusterTrustBundle {of:?}")));
    }
    files
}

fn overlaps(files: Vec<File>) -> Vec<String> {
    let mut said = Vec::new();
    let mut before: Vec<File> = Vec::new();
    for file in files {
        let others = before.iter().filter(|other| file.overlaps(other));
        said.extend(others.map(|other| format!("{} with {}", file.shown(), other.shown())));
        before.push(file);
    }
    said
}
