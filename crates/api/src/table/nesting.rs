//! Fields that stand one message deeper in protobuf than in JSON.
//!
//! Where an upstream struct embeds another one, JSON shows the inner fields directly while protobuf has a nested
//! message. These are the embedded messages of the served types, with the numbers of their fields.
//!
//! Source: `spec/api.md` §1.7 (1); kubernetes `{core,networking,resource}/v1/generated.proto` (v1.36).

/// The number of the nested message and the number inside it, for a field that has no number of its own.
pub(super) fn nesting_of(owner: &str, field: &str) -> Option<(u32, u32)> {
    let short = owner.strip_prefix("io.k8s.api.")?;
    let (inside, members): (u32, &[&str]) = match short.strip_prefix("core.v1.").unwrap_or(short) {
        "ConfigMapEnvSource"
        | "ConfigMapKeySelector"
        | "ConfigMapProjection"
        | "ConfigMapVolumeSource"
        | "SecretEnvSource"
        | "SecretKeySelector"
        | "SecretProjection" => (1, REFERENCE),
        "EphemeralContainer" => (1, CONTAINER),
        "Probe" => (1, HANDLER),
        "Volume" => (2, VOLUME),
        "PersistentVolumeSpec" => (2, PERSISTENT_VOLUME),
        "networking.v1.IngressRule" => (2, &["http"]),
        "resource.v1.DeviceClassConfiguration" => (1, DEVICE_CONFIGURATION),
        "resource.v1.DeviceClaimConfiguration" => (2, DEVICE_CONFIGURATION),
        "resource.v1.DeviceAllocationConfiguration" => (3, DEVICE_CONFIGURATION),
        _ => return None,
    };
    let number = (1u32..).zip(members).find(|(_, name)| **name == field)?.0;
    Some((inside, number))
}

/// What upstream calls the struct that it embeds in one of these types.
pub(crate) fn embedded_in(owner: &str) -> Option<&'static str> {
    Some(match owner.strip_prefix("io.k8s.api.")? {
        "core.v1.EphemeralContainer" => "EphemeralContainerCommon",
        "core.v1.Probe" => "ProbeHandler",
        "core.v1.Volume" => "VolumeSource",
        "core.v1.PersistentVolumeSpec" => "PersistentVolumeSource",
        "networking.v1.IngressRule" => "IngressRuleValue",
        short if short.starts_with("resource.v1.") => "DeviceConfiguration",
        _ => "LocalObjectReference",
    })
}

// Members in the order of their numbers, from 1; an empty name is a number that is not in use.

const REFERENCE: &[&str] = &["name"];

const DEVICE_CONFIGURATION: &[&str] = &["opaque"];

const HANDLER: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];

const CONTAINER: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "ports",
    "env",
    "resources",
    "volumeMounts",
    "livenessProbe",
    "readinessProbe",
    "lifecycle",
    "terminationMessagePath",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "envFrom",
    "terminationMessagePolicy",
    "volumeDevices",
    "startupProbe",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
];

const VOLUME: &[&str] = &[
    "hostPath",
    "emptyDir",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "projected",
    "storageos",
    "csi",
    "ephemeral",
    "image",
];

const PERSISTENT_VOLUME: &[&str] = &[
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "hostPath",
    "glusterfs",
    "nfs",
    "rbd",
    "iscsi",
    "cinder",
    "cephfs",
    "fc",
    "flocker",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
