//! A server of one namespace without admission: just enough to answer recorded writes.

mod compare;

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use rota_api::codec::{self, FieldValidation, Format};
use rota_api::validate::Checks;
use rota_api::{ApiError, PatchKind, Resource, defaults, names, patch, resource, strategy, validate};
use serde_json::{Map, Value, json};

use compare::Bindings;

const NAMESPACE: &str = "recorded";
const CREATED: &str = "2026-01-01T00:00:00Z";

/// Schedules are read elsewhere: here each one is good.
const CHECKS: Checks = Checks {
    schedule: |_| Ok(()),
    time_zone: |_| Ok(()),
};

fn unpacked(name: &str) -> String {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .expect("the data are gzipped text");
    text
}

/// The cases of a theme.
pub(crate) fn cases(theme: &str) -> Vec<Value> {
    unpacked(&format!("{theme}.jsonl.gz"))
        .lines()
        .map(|line| serde_json::from_str(line).expect("a case is JSON"))
        .collect()
}

/// The cases that are known to differ, with the reason.
pub(crate) fn listed() -> BTreeMap<String, String> {
    let path = format!("{}/tests/data/rules.differ", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the list of differing cases is there");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .map(|(id, reason)| (id.to_owned(), reason.to_owned()))
        .collect()
}

/// Runs the steps of a case.
///
/// Errors: how an answer differs from the recorded one.
pub(crate) fn replay(case: &Value) -> Result<(), String> {
    let mut server = Server::default();
    let mut bindings = Bindings::new(NAMESPACE);
    for (index, step) in case["steps"].as_array().expect("a case has steps").iter().enumerate() {
        server
            .step(step, &mut bindings)
            .map_err(|difference| format!("  step {index}: {difference}"))?;
    }
    Ok(())
}

#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    made: u32,
    /// What the latest create was remarked with.
    warnings: Vec<String>,
}

struct Target {
    resource: &'static Resource,
    name: Option<String>,
    subresource: Option<String>,
}

fn target(path: &str) -> Option<Target> {
    let mut parts = path.trim_start_matches('/').split('/');
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        _ => (parts.next()?, parts.next()?),
    };
    let mut rest: Vec<&str> = parts.collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 && !matches!(rest[2], "status" | "finalize") {
        rest.drain(..2);
    }
    let resource = resource::find(group, version, rest.first()?)?;
    Some(Target {
        resource,
        name: rest.get(1).map(|name| (*name).to_owned()),
        subresource: rest.get(2).map(|name| (*name).to_owned()),
    })
}

impl Server {
    fn step(&mut self, step: &Value, bindings: &mut Bindings) -> Result<(), String> {
        let expect = &step["expect"];
        let code = expect["code"].as_u64().unwrap_or_default();
        let path = bindings.fill(step["path"].as_str().unwrap_or_default());
        let method = step["method"].as_str().unwrap_or_default();
        let body = if step["body"].is_null() {
            &step["body_text"]
        } else {
            &step["body"]
        };
        let body = bindings.fill_value(body);
        let Some(target) = target(&path).filter(|_| matches!(code, 200 | 201 | 422)) else {
            return Ok(());
        };
        if !target.resource.is_stored() || matches!(target.subresource.as_deref(), Some("token" | "scale")) {
            return Ok(());
        }
        let dry_run = !step["query"]["dryRun"].is_null();
        let answer = match method {
            "POST" if target.name.is_none() => self.create(&target, &body, dry_run),
            // What is read depends on controllers too; only the labels it binds are of use.
            "GET" => {
                if let Ok(object) = self.stored(&target) {
                    bindings.bind_uid(&expect["body"], object);
                }
                return Ok(());
            }
            "PUT" => self.put(&target, &body, dry_run),
            "PATCH" => self.patch(
                &target,
                &body,
                step["content_type"].as_str().unwrap_or_default(),
                dry_run,
            ),
            _ => return Ok(()),
        };
        if method == "POST" && answer.is_ok() {
            compare::warnings(&self.warnings, &expect["warnings"])?;
        }
        if step["compare"] == "code" {
            let got = answer.as_ref().map_or_else(ApiError::code, |_| 200);
            return (u64::from(got) / 100 == code / 100)
                .then_some(())
                .ok_or_else(|| format!("expected {code}, got {answer:?}"));
        }
        let loose = expect["loose_message"] == true;
        let ignored: Vec<&str> = step["ignore"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        compare::answer(
            &answer,
            code,
            &expect["body"],
            &compare::Scope {
                loose,
                ignored,
                body: &body,
            },
            bindings,
        )
    }

    fn decode(resource: &Resource, body: &Value) -> Result<codec::Decoded, ApiError> {
        let text = match body {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        codec::decode(resource.schema, text.as_bytes(), Format::Json, FieldValidation::Warn)
    }

    fn create(&mut self, target: &Target, body: &Value, dry_run: bool) -> Result<Value, ApiError> {
        let resource = target.resource;
        let decoded = Self::decode(resource, body)?;
        let mut object = decoded.value;
        defaults::apply(resource, &mut object);
        self.made += 1;
        let metadata = &mut object["metadata"];
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
        ] {
            metadata.as_object_mut().expect("made an object above").remove(field);
        }
        if metadata["name"].is_null() && metadata["generateName"].is_string() {
            let prefix = metadata["generateName"].as_str().unwrap_or_default();
            metadata["name"] = names::generate(prefix, u64::from(self.made)).into();
        } else if metadata["name"].is_null() {
            metadata.as_object_mut().expect("made an object above").remove("name");
        }
        if resource.is_namespaced() {
            metadata["namespace"] = NAMESPACE.into();
        }
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012}", self.made).into();
        metadata["creationTimestamp"] = CREATED.into();
        strategy::prepare_create(resource, &mut object);
        let errors = validate::create(resource, &object, &CHECKS);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !errors.is_empty() {
            return Err(ApiError::invalid(resource.stored_group, resource.kind, &name, &errors));
        }
        self.warnings = decoded.warnings;
        self.warnings.extend(strategy::warnings(resource, &object, None, None));
        if !dry_run {
            self.objects.insert(key(resource, &name), object.clone());
        }
        Ok(object)
    }

    fn stored(&self, target: &Target) -> Result<&Value, ApiError> {
        let name = target.name.as_deref().unwrap_or_default();
        self.objects
            .get(&key(target.resource, name))
            .ok_or_else(|| ApiError::not_found(target.resource, name))
    }

    fn put(&mut self, target: &Target, body: &Value, dry_run: bool) -> Result<Value, ApiError> {
        let mut new = Self::decode(target.resource, body)?.value;
        if let Some(metadata) = new["metadata"].as_object_mut() {
            metadata.remove("selfLink");
        }
        self.write(target, new, dry_run)
    }

    fn patch(&mut self, target: &Target, body: &Value, content_type: &str, dry_run: bool) -> Result<Value, ApiError> {
        let kind = match content_type {
            "application/json-patch+json" => PatchKind::Json,
            "application/merge-patch+json" => PatchKind::Merge,
            _ => PatchKind::Strategic,
        };
        let old = self.stored(target)?;
        let patched = patch::patched(target.resource.schema, kind, old, body, &[], FieldValidation::Warn)?;
        self.write(target, patched.value, dry_run)
    }

    fn write(&mut self, target: &Target, mut new: Value, dry_run: bool) -> Result<Value, ApiError> {
        let resource = target.resource;
        let old = self.stored(target)?.clone();
        defaults::apply(resource, &mut new);
        for field in ["uid", "creationTimestamp", "namespace", "name"] {
            if new["metadata"][field].is_null() && !old["metadata"][field].is_null() {
                new["metadata"][field] = old["metadata"][field].clone();
            }
        }
        new["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"].clone();
        let subresource = target.subresource.as_deref();
        strategy::prepare_update(resource, &mut new, &old, subresource);
        let errors = validate::update(resource, &new, &old, subresource, &CHECKS);
        let name = target.name.clone().unwrap_or_default();
        if !errors.is_empty() {
            return Err(ApiError::invalid(resource.stored_group, resource.kind, &name, &errors));
        }
        if !dry_run {
            self.objects.insert(key(resource, &name), new.clone());
        }
        Ok(new)
    }
}

fn key(resource: &Resource, name: &str) -> String {
    let stored = json!([resource.stored_group, resource.plural, name]);
    stored.to_string()
}
