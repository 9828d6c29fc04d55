//! The objects of its namespace that a pod names.
//!
//! What a node needs for its pods and may therefore read, and what a pod that a node makes itself may not name.
//!
//! Source: kubernetes `pkg/api/pod/util.go` (`VisitPodSecretNames`, `VisitPodConfigmapNames`),
//! `plugin/pkg/auth/authorizer/node/graph.go` (`AddPod`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::value::{list, present, text};

/// Kinds of volumes that name a Secret as their `secretRef`, in pods as in PersistentVolumes.
pub const VOLUMES_WITH_SECRET_REF: [&str; 7] =
    ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];

/// What a pod names, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodReferences<'a> {
    /// Secrets: pull secrets, environment, volumes.
    pub secrets: BTreeSet<&'a str>,
    /// ConfigMaps: environment, volumes.
    pub config_maps: BTreeSet<&'a str>,
    /// Claims; those that the pod brings with it under the names they get.
    pub claims: BTreeSet<String>,
    /// The claims to devices that it has got so far.
    pub device_claims: BTreeSet<&'a str>,
    /// The audiences of the account tokens that it mounts; empty for that of the API server.
    pub audiences: BTreeSet<&'a str>,
}

impl<'a> PodReferences<'a> {
    /// Reads a pod.
    pub fn of(pod: &'a Value) -> Self {
        let spec = &pod["spec"];
        let mut found = Self::default();
        for secret in list(spec, "imagePullSecrets") {
            found.secret(secret, "name");
        }
        for kind in ["initContainers", "containers", "ephemeralContainers"] {
            for container in list(spec, kind) {
                found.container(container);
            }
        }
        for volume in list(spec, "volumes") {
            found.volume(volume, text(&pod["metadata"], "name"));
        }
        found.device_claims(spec, &pod["status"]);
        found.secrets.remove("");
        found.config_maps.remove("");
        found.claims.remove("");
        found.device_claims.remove("");
        found
    }

    /// A claim that is made from a template stands in the status, by the name that the pod has for it.
    fn device_claims(&mut self, spec: &'a Value, status: &'a Value) {
        for claim in list(spec, "resourceClaims") {
            self.device_claims.insert(text(claim, "resourceClaimName"));
            let mut made = list(status, "resourceClaimStatuses")
                .iter()
                .filter(|made| made["name"] == claim["name"]);
            if present(claim, "resourceClaimTemplateName").is_some()
                && let Some(made) = made.next()
            {
                self.device_claims.insert(text(made, "resourceClaimName"));
            }
        }
        let extended = &status["extendedResourceClaimStatus"];
        self.device_claims.insert(text(extended, "resourceClaimName"));
    }

    fn secret(&mut self, reference: &'a Value, field: &str) {
        self.secrets.insert(text(reference, field));
    }

    fn container(&mut self, container: &'a Value) {
        for source in list(container, "envFrom") {
            self.secret(&source["secretRef"], "name");
            self.config_maps.insert(text(&source["configMapRef"], "name"));
        }
        for variable in list(container, "env") {
            let source = &variable["valueFrom"];
            self.secret(&source["secretKeyRef"], "name");
            self.config_maps.insert(text(&source["configMapKeyRef"], "name"));
        }
    }

    fn volume(&mut self, volume: &'a Value, pod: &str) {
        self.secret(&volume["secret"], "secretName");
        self.config_maps.insert(text(&volume["configMap"], "name"));
        self.claims
            .insert(text(&volume["persistentVolumeClaim"], "claimName").to_owned());
        if present(volume, "ephemeral").is_some() {
            self.claims.insert(format!("{pod}-{}", text(volume, "name")));
        }
        for source in list(&volume["projected"], "sources") {
            self.secret(&source["secret"], "name");
            self.config_maps.insert(text(&source["configMap"], "name"));
            if let Some(token) = present(source, "serviceAccountToken") {
                self.audiences.insert(text(token, "audience"));
            }
        }
        self.secret(&volume["azureFile"], "secretName");
        self.secret(&volume["csi"]["nodePublishSecretRef"], "name");
        for kind in VOLUMES_WITH_SECRET_REF {
            self.secret(&volume[kind]["secretRef"], "name");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_found_wherever_a_pod_has_them() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "s1"}}, {"configMapRef": {"name": "c1"}}]}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s2"}}},
                {"valueFrom": {"configMapKeyRef": {"name": "c2"}}}, {"name": "plain", "value": "x"}]}],
            "volumes": [{"secret": {"secretName": "s3"}}, {"configMap": {"name": "c3"}},
                {"persistentVolumeClaim": {"claimName": "d"}}, {"name": "e", "ephemeral": {}},
                {"projected": {"sources": [{"secret": {"name": "s4"}}, {"configMap": {"name": "c4"}},
                    {"serviceAccountToken": {"audience": "vault"}}, {"serviceAccountToken": {}}]}},
                {"csi": {"nodePublishSecretRef": {"name": "s5"}}}]}});
        let found = PodReferences::of(&pod);
        assert_eq!(found.secrets, BTreeSet::from(["pull", "s1", "s2", "s3", "s4", "s5"]));
        assert_eq!(found.config_maps, BTreeSet::from(["c1", "c2", "c3", "c4"]));
        assert_eq!(found.claims, BTreeSet::from(["d".to_owned(), "p-e".to_owned()]));
        assert_eq!(found.audiences, BTreeSet::from(["", "vault"]));
    }

    #[test]
    fn claims_to_devices_are_found_once_they_are_made() {
        let mut pod = json!({"spec": {"resourceClaims": [{"name": "a", "resourceClaimName": "mine"},
            {"name": "b", "resourceClaimTemplateName": "t"}]}});
        assert_eq!(PodReferences::of(&pod).device_claims, BTreeSet::from(["mine"]));
        pod["status"] = json!({"resourceClaimStatuses": [{"name": "b", "resourceClaimName": "made"},
            {"name": "c", "resourceClaimName": "stray"}], "extendedResourceClaimStatus": {"resourceClaimName": "more"}});
        assert_eq!(
            PodReferences::of(&pod).device_claims,
            BTreeSet::from(["made", "mine", "more"])
        );
    }
}
