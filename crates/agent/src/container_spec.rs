//! What one run of a container needs: command, environment, mounts, limits, user.
//!
//! Source: `spec/node-and-pod.md` §13, §16.5, §17–18, §20–21; kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::fs::{self, OpenOptions, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rota_api::k8s::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext, VolumeMount};
use rota_api::quantity::Quantity;

use crate::context::Context;
use crate::env::{Environment, Sources};
use crate::paths;
use crate::runtime::{ContainerSpec, Image, Mount, Resources, Security};
use crate::sandbox_spec;
use crate::volumes;

/// Where a container writes its last words unless it says otherwise.
const TERMINATION_PATH: &str = "/dev/termination-log";

/// One run of a container to put together.
pub(crate) struct Wanted<'a> {
    pub(crate) context: &'a Context,
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) attempt: u32,
    pub(crate) image: &'a Image,
    pub(crate) pod_ips: &'a [IpAddr],
}

impl Wanted<'_> {
    /// Puts everything together.
    ///
    /// Errors: what is missing or wrong in the pod, in a sentence for people.
    pub(crate) async fn spec(&self) -> Result<ContainerSpec, String> {
        let Self {
            context,
            pod,
            container,
            image,
            ..
        } = self;
        let around = context.around(self.pod_ips);
        let sources = Sources {
            pod,
            container,
            around: &around,
            references: &context.references,
            api_server: context.config.api_server.as_ref(),
        };
        let mut base = vec![("HOSTNAME".to_owned(), sandbox_spec::hostname(context, pod))];
        base.extend(image.env.iter().cloned());
        let environment = sources.environment().await?;
        let metadata = &pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let logs = context
            .paths
            .logs(&text(&metadata.namespace), &text(&metadata.name), &text(&metadata.uid));
        let mounts = self.mounts(&environment)?;
        Ok(ContainerSpec {
            name: container.name.clone(),
            attempt: self.attempt,
            image: text(&container.image),
            args: command(container, image, &environment),
            env: environment.over(base),
            working_dir: container
                .working_dir
                .clone()
                .unwrap_or_else(|| image.working_dir.clone()),
            mounts,
            resources: resources(pod, container, context.config.node.capacity.memory_bytes),
            security: self.security()?,
            log_path: paths::log(&logs, &container.name, self.attempt),
            stdin: container.stdin == Some(true),
            stdin_once: container.stdin_once == Some(true),
            tty: container.tty == Some(true),
            termination_message_path: termination_path(container).to_owned(),
            target: target(pod, &container.name).to_owned(),
        })
    }

    fn mounts(&self, environment: &Environment) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::new();
        let mut filled = Vec::new();
        for mount in self.container.volume_mounts.iter().flatten() {
            let made = self.mount(mount, environment)?;
            if volumes::is_read_only(self.pod, &mount.name) && made.source.is_dir() {
                filled.push((made.target.clone(), made.source.clone()));
            }
            mounts.push(made);
        }
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        let etc = self.context.paths.etc(uid);
        let own = ["hosts", "hostname", "resolv.conf"].map(|file| (etc.join(file), PathBuf::from("/etc").join(file)));
        let words = self.context.paths.termination(uid, &self.container.name, self.attempt);
        make_writable_file(&words).map_err(|error| format!("create {}: {error}", words.display()))?;
        let words = (words, PathBuf::from(termination_path(self.container)));
        for (source, target) in own.into_iter().chain([words]) {
            // What the pod mounts there itself is what it wants there.
            if !mounts.iter().any(|mount| mount.target == target) {
                mounts.push(Mount {
                    source,
                    target,
                    ..Mount::default()
                });
            }
        }
        // Inside, no place can be made in what is only read.
        for (target, source) in &filled {
            for mount in &mounts {
                if let Ok(below) = mount.target.strip_prefix(target) {
                    volumes::make_place(source, below, mount.source.is_dir())
                        .map_err(|error| format!("make a place for {}: {error}", mount.target.display()))?;
                }
            }
        }
        // What is mounted below another mount comes after it, in whatever order the pod lists them.
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }

    fn mount(&self, mount: &VolumeMount, environment: &Environment) -> Result<Mount, String> {
        let source = volumes::source(self.context, self.pod, &mount.name)
            .ok_or_else(|| format!("volume {:?} does not exist", mount.name))?;
        let expression = mount.sub_path_expr.as_deref().map(|text| environment.expand(text));
        let sub_path = mount.sub_path.clone().or(expression).filter(|path| !path.is_empty());
        let is_part = sub_path.is_some();
        let source = match sub_path {
            Some(sub_path) => volumes::resolve_sub_path(&source, &sub_path)
                .map_err(|error| format!("failed to prepare subPath for volumeMount {:?}: {error}", mount.name))?,
            None => source,
        };
        Ok(Mount {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: mount.read_only == Some(true) || volumes::is_read_only(self.pod, &mount.name),
            propagation: mount.mount_propagation.clone().unwrap_or_default(),
            is_part,
        })
    }

    fn security(&self) -> Result<Security, String> {
        let of_pod = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.security_context.clone())
            .unwrap_or_default();
        let own = self.container.security_context.clone().unwrap_or_default();
        let security = merge(&of_pod, &own);
        if security.run_as_non_root {
            let user = security.run_as_user.or_else(|| numeric_user(self.image));
            let name = &self.container.name;
            match user {
                Some(0) => {
                    return Err(format!(
                        "container has runAsNonRoot and image will run as root (container: {name})"
                    ));
                }
                None if !self.image.user.is_empty() => {
                    let user = &self.image.user;
                    return Err(format!(
                        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (container: {name})"
                    ));
                }
                Some(_) | None => {}
            }
        }
        Ok(security)
    }
}

/// The container that an ephemeral container is to look into.
fn target<'a>(pod: &'a Pod, name: &str) -> &'a str {
    let mut added = pod
        .spec
        .iter()
        .flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let container = added.find(|container| container.name == name);
    container
        .and_then(|container| container.target_container_name.as_deref())
        .unwrap_or_default()
}

/// `command` takes the place of both the image's entry point and its arguments, `args` that of its arguments.
fn command(container: &Container, image: &Image, environment: &Environment) -> Vec<String> {
    let expand = |words: &[String]| words.iter().map(|word| environment.expand(word)).collect::<Vec<_>>();
    let set = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    let (entrypoint, args) = match (set(&container.command), set(&container.args)) {
        (Some(command), args) => (expand(&command), expand(&args.unwrap_or_default())),
        (None, Some(args)) => (image.entrypoint.clone(), expand(&args)),
        (None, None) => (image.entrypoint.clone(), image.cmd.clone()),
    };
    entrypoint.into_iter().chain(args).collect()
}

/// The user of an image, where it is written as a number; an image that names none runs as root.
fn numeric_user(image: &Image) -> Option<i64> {
    let user = image.user.split(':').next().unwrap_or_default();
    if user.is_empty() { Some(0) } else { user.parse().ok() }
}

fn merge(of_pod: &PodSecurityContext, own: &SecurityContext) -> Security {
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let mut groups = of_pod.supplemental_groups.clone().unwrap_or_default();
    groups.extend(of_pod.fs_group.filter(|group| !groups.contains(group)));
    Security {
        privileged: own.privileged == Some(true),
        run_as_user: own.run_as_user.or(of_pod.run_as_user),
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups: groups,
        run_as_non_root: own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true),
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
    }
}

fn amount(container: &Container, list: &str, name: &str) -> Option<Quantity> {
    let resources = container.resources.as_ref()?;
    let list = if list == "limits" {
        resources.limits.as_ref()
    } else {
        resources.requests.as_ref()
    };
    list?.get(name).and_then(|quantity| Quantity::parse(&quantity.0).ok())
}

fn resources(pod: &Pod, container: &Container, node_memory_bytes: u64) -> Resources {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let limit = amount(container, "limits", "cpu").and_then(|q| positive(q.millis()));
    let request = amount(container, "requests", "cpu").and_then(|q| positive(q.millis()));
    Resources {
        cpu_request_millis: request.or(limit).unwrap_or(0),
        cpu_limit_millis: limit,
        memory_limit_bytes: amount(container, "limits", "memory").and_then(|q| positive(q.units())),
        pids_max: None,
        oom_score_adj: oom_score_adj(pod, container, node_memory_bytes),
    }
}

/// Whom the kernel kills first when memory runs out: those that asked for nothing, last those that asked for all they use.
fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: u64) -> i32 {
    let class = pod
        .status
        .as_ref()
        .and_then(|s| s.qos_class.as_deref())
        .unwrap_or("Burstable");
    let priority_class = pod.spec.as_ref().and_then(|s| s.priority_class_name.as_deref());
    match class {
        _ if priority_class == Some("system-node-critical") => -997,
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let request = amount(container, "requests", "memory").map_or(0, |q| q.units().max(0));
            let capacity = i64::try_from(node_memory_bytes).unwrap_or(i64::MAX).max(1);
            let adjusted = 1000 - request.saturating_mul(1000) / capacity;
            i32::try_from(adjusted.clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// Where a container writes its last words.
pub(crate) fn termination_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or(TERMINATION_PATH)
}

/// Makes an empty file that any user may write to.
fn make_writable_file(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(value: Value) -> Container {
        let mut value = value;
        value["name"] = "c".into();
        serde_json::from_value(value).unwrap()
    }

    fn check_command(own: Value, expected: &[&str]) {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let image = Image {
            entrypoint: words(&["entry"]),
            cmd: words(&["cmd"]),
            ..Image::default()
        };
        let mut environment = Environment::default();
        environment.set("A", "1".to_owned());
        assert_eq!(command(&container(own), &image, &environment), expected);
    }

    #[test]
    fn the_command_of_the_pod_takes_the_place_of_the_images() {
        check_command(json!({}), &["entry", "cmd"]);
        check_command(json!({"args": ["a", "$(A)"]}), &["entry", "a", "1"]);
        check_command(json!({"command": ["own"]}), &["own"]);
        check_command(json!({"command": ["own"], "args": ["a"]}), &["own", "a"]);
    }

    #[test]
    fn a_container_overrules_its_pod_on_who_it_runs_as() {
        let of_pod: PodSecurityContext =
            serde_json::from_value(json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}))
                .unwrap();
        let own: SecurityContext =
            serde_json::from_value(json!({"runAsUser": 9, "allowPrivilegeEscalation": false})).unwrap();
        let merged = merge(&of_pod, &own);
        assert_eq!((merged.run_as_user, merged.run_as_group), (Some(9), Some(2)));
        assert_eq!(merged.supplemental_groups, [4, 3]);
        assert!(merged.no_new_privileges);
    }

    #[test]
    fn what_asks_for_more_memory_is_killed_later() {
        let score = |class: &str, request: &str| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": {"qosClass": class}})).unwrap();
            oom_score_adj(
                &pod,
                &container(json!({"resources": {"requests": {"memory": request}}})),
                1000,
            )
        };
        assert_eq!(score("BestEffort", "0"), 1000);
        assert_eq!(score("Burstable", "0"), 999);
        assert_eq!(score("Burstable", "400"), 600);
        assert_eq!(score("Burstable", "2000"), 3);
        assert_eq!(score("Guaranteed", "400"), -997);
    }
}
