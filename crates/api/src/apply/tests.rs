//! Recorded scripts of writes, replayed on the pure functions: every reply's `managedFields`, and every conflict, must be
//! upstream's.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;

use super::*;
use crate::{PatchKind, Resource, defaults, patch, resource};

const SCRIPTS: &[u8] = include_bytes!("../../tests/data/apply.jsonl.gz");

/// Does a step the way a registry would; the object afterwards or the refusal.
fn run(slot: &mut Option<Value>, step: &Value, resource: &'static Resource) -> Result<Value, ApiError> {
    let (schema_type, api_version) = (resource.schema, &resource.api_version());
    let query = |name: &str| step["query"][name].as_str();
    let subresource = step["path"]
        .as_str()
        .filter(|p| p.ends_with("/status"))
        .map(|_| "status");
    let content_type = step["type"].as_str().unwrap_or_default();
    let kind = match content_type {
        "application/json-patch+json" => Some(PatchKind::Json),
        "application/merge-patch+json" => Some(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Some(PatchKind::Strategic),
        "application/apply-patch+yaml" => Some(PatchKind::Apply),
        _ => None,
    };
    let writer = Writer {
        manager: query("fieldManager").unwrap_or("vectors"),
        api_version,
        subresource,
        now: Timestamp::UNIX_EPOCH,
    };
    let old = slot.as_ref();
    let conform = |value| -> Result<Value, ApiError> {
        let decoded = codec::conform(schema_type, value, FieldValidation::Ignore);
        let mut value = decoded.map_err(|e| ApiError::bad_request(e.to_string()))?.value;
        defaults::apply(resource, &mut value);
        Ok(value)
    };
    let new = match (kind, old) {
        (Some(PatchKind::Apply), _) => conform(apply(
            schema_type,
            old,
            &step["body"],
            &writer,
            query("force") == Some("true"),
        )?)?,
        (Some(kind), Some(old)) => {
            let patched = conform(patch::patch(schema_type, kind, old, &step["body"])?)?;
            track(schema_type, Some(old), patched, &writer)
        }
        (Some(_), None) => return Err(ApiError::bad_request("nothing to patch")),
        (None, old) => track(schema_type, old, conform(step["body"].clone())?, &writer),
    };
    if query("dryRun").is_none() {
        *slot = Some(new.clone());
    }
    Ok(new)
}

/// Managed fields in a comparable order and without times.
fn comparable(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut entries: Vec<String> = entries
        .map(|entry| {
            let mut entry = entry.clone();
            entry["time"] = Value::Null;
            entry.to_string()
        })
        .collect();
    entries.sort();
    entries
}

/// What an object holds beside its metadata, for kinds whose content no admission and no status touches.
fn content(object: &Value) -> Option<Value> {
    let kind = object["kind"].as_str()?;
    let mut object = object.clone();
    object.as_object_mut()?.remove("metadata");
    ["ConfigMap", "PodTemplate", "Role"].contains(&kind).then_some(object)
}

#[test]
fn recorded_scripts_give_the_recorded_owners() {
    let mut failures = Vec::new();
    let mut compared = 0;
    let mut scripts = String::new();
    let unpacked = flate2::read::GzDecoder::new(SCRIPTS).read_to_string(&mut scripts);
    unpacked.expect("the recording is gzip");
    for line in scripts.lines() {
        let script: Value = serde_json::from_str(line).expect("recorded lines are JSON");
        let id = script["id"].as_str().unwrap_or_default();
        let mut slots: BTreeMap<&str, Option<Value>> = BTreeMap::new();
        for (index, step) in (0..).zip(script["steps"].as_array().into_iter().flatten()) {
            let path = step["path"].as_str().unwrap_or_default();
            let plural = path
                .split('/')
                .rev()
                .find(|part| resource::ALL.iter().any(|r| r.plural == *part));
            let Some(resource) = resource::ALL.iter().find(|r| Some(r.plural) == plural) else {
                continue;
            };
            let slot = slots.entry(resource.plural).or_default();
            if step["method"] == "GET" || step["method"] == "DELETE" {
                continue;
            }
            let result = run(slot, step, resource);
            let reply = &step["reply"];
            match (result, step["code"].as_u64()) {
                (Ok(object), Some(200 | 201)) if reply["kind"] == resource.kind => {
                    compared += 1;
                    let (have, want) = (
                        (comparable(&object), content(&object)),
                        (comparable(reply), content(reply)),
                    );
                    if have != want {
                        failures.push(format!("{id} step {index}\n  have {have:?}\n  want {want:?}"));
                    }
                }
                (Err(error), Some(code @ (409 | 500))) => {
                    compared += 1;
                    if u64::from(error.code()) != code || error.message() != reply["message"] {
                        failures.push(format!(
                            "{id} step {index}\n  have {error}\n  want {}",
                            reply["message"]
                        ));
                    }
                }
                (Ok(_), Some(200 | 201 | 400 | 404 | 409 | 422)) | (Err(_), Some(400 | 404 | 422)) => {}
                (result, code) => failures.push(format!("{id} step {index}: {code:?} expected, {:?}", result.err())),
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {compared} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn large_maps_are_compared_in_a_moment() {
    let data: Map<String, Value> = (0..50_000).map(|n| (format!("k{n}"), "".into())).collect();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let mut changed = object.clone();
    changed["data"]["k7"] = "x".into();
    let writer = |manager| Writer {
        manager,
        api_version: "v1",
        subresource: None,
        now: Timestamp::UNIX_EPOCH,
    };
    let schema_type = resource::CONFIG_MAPS.schema;
    let created = track(schema_type, None, object, &writer("one"));
    let tracked = track(schema_type, Some(&created), changed, &writer("two"));
    let entries = tracked["metadata"]["managedFields"].as_array().map(Vec::as_slice);
    let last = entries.and_then(<[Value]>::last).map(|entry| &entry["fieldsV1"]);
    assert_eq!(last, Some(&json!({"f:data": {"f:k7": {}}})));
}

#[test]
fn list_elements_that_cannot_be_told_apart_are_refused() {
    let refusal = |metadata: Value| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        let writer = Writer {
            manager: "m",
            api_version: "v1",
            subresource: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let refused = apply("io.k8s.api.core.v1.ConfigMap", None, &config, &writer, false);
        refused.map(drop).map_err(|error| error.to_string()).unwrap_err()
    };
    let cases = [
        (
            json!({"ownerReferences": [{"kind": "k"}, {"name": "n"}]}),
            ".metadata.ownerReferences: duplicate entries for key [uid=\"\"]",
        ),
        (
            json!({"ownerReferences": ["x"]}),
            ".metadata.ownerReferences: element 0: associative list with keys may not have non-map elements",
        ),
        (
            json!({"finalizers": [{}]}),
            ".metadata.finalizers: element 0: associative list without keys has an element that's a map type",
        ),
    ];
    for (metadata, expected) in cases {
        let text = refusal(metadata);
        assert!(text.ends_with(expected), "{text}");
    }
}

#[test]
fn a_null_says_nothing_about_members_and_nothing_of_a_key() {
    let schema_type = resource::CONFIG_MAPS.schema;
    let writer = |manager: &'static str| Writer {
        manager,
        api_version: "v1",
        subresource: None,
        now: Timestamp::UNIX_EPOCH,
    };
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let live = apply(schema_type, None, &map(json!({"a": "9"})), &writer("one"), false).expect("applied");
    let live = apply(schema_type, Some(&live), &map(Value::Null), &writer("two"), false).expect("applied");
    assert_eq!(live["data"], json!({"a": "9"}), "what others hold stays");
    let managers = live["metadata"]["managedFields"].as_array().expect("managers");
    let owned: BTreeMap<&str, &Value> = managers
        .iter()
        .filter_map(|entry| Some((entry["manager"].as_str()?, &entry["fieldsV1"]["f:data"])))
        .collect();
    assert_eq!(owned["one"]["f:a"], json!({}));
    assert_eq!(*owned["two"], json!({}));

    let pod = |containers: Value| {
        let spec = json!({"containers": containers});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    };
    let live = pod(Value::Null);
    let applied = apply(
        resource::PODS.schema,
        Some(&live),
        &pod(json!([])),
        &writer("one"),
        false,
    )
    .expect("applied");
    assert_eq!(
        applied["spec"]["containers"],
        Value::Null,
        "nothing is changed by nothing"
    );

    let pod = pod(json!([{"name": null}]));
    let applied = apply(resource::PODS.schema, None, &pod, &writer("one"), false).expect("applied");
    let fields = &applied["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:containers"];
    assert!(fields.get(r#"k:{"name":""}"#).is_some(), "{fields}");
}

fn writer(manager: &'static str) -> Writer<'static> {
    Writer {
        manager,
        api_version: "v1",
        subresource: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

#[test]
fn an_element_that_its_applier_drops_goes_although_somebody_else_has_set_a_field_of_it() {
    let schema_type = resource::PODS.schema;
    let of = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i:1"})).collect();
        pod(&json!({"containers": containers}))
    };
    let live = apply(schema_type, None, &of(&["a", "b"]), &writer("m"), false).expect("applied");
    let mut edited = live.clone();
    edited["spec"]["containers"][1]["image"] = "i:2".into();
    let live = track(schema_type, Some(&live), edited, &writer("kubectl-set"));
    let live = apply(schema_type, Some(&live), &of(&["a"]), &writer("m"), false).expect("applied");
    assert_eq!(live["spec"]["containers"], json!([{"name": "a", "image": "i:1"}]));
    let managers = live["metadata"]["managedFields"].as_array().map(Vec::len);
    assert_eq!(managers, Some(1), "who had a part of it only has nothing left");
}

#[test]
fn a_field_goes_whole_when_the_only_one_who_had_a_part_of_it_drops_it() {
    let schema_type = resource::CONFIG_MAPS.schema;
    let map = |more: Value| {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        map.as_object_mut()
            .expect("a map")
            .extend(more.as_object().cloned().unwrap_or_default());
        map
    };
    let config = map(json!({"data": {"a": "1"}}));
    let mut live = apply(schema_type, None, &config, &writer("m"), false).expect("applied");
    live["data"]["unowned"] = "2".into();
    let live = apply(schema_type, Some(&live), &map(json!({})), &writer("m"), false).expect("applied");
    assert_eq!(live["data"], Value::Null);
    assert_eq!(live["metadata"]["name"], "m", "its identity stays");
}

#[test]
fn elements_that_the_configuration_reorders_come_in_its_order_and_others_where_they_were_passed() {
    let schema_type = resource::PODS.schema;
    let of = |names: &str| {
        let containers: Vec<Value> = names.chars().map(|name| json!({"name": name.to_string()})).collect();
        pod(&json!({"containers": containers}))
    };
    for (live, config, merged) in [
        ("abcde", "ea", "bcdea"),
        ("acb", "cb", "acb"),
        ("abc", "cba", "cba"),
        ("ab", "bxa", "bxa"),
        ("abcd", "dxb", "acdxb"),
        ("", "ab", "ab"),
    ] {
        let live = apply(schema_type, None, &of(live), &writer("m"), false).expect("applied");
        let live = apply(schema_type, Some(&live), &of(config), &writer("n"), true).expect("applied");
        let names = live["spec"]["containers"].as_array().into_iter().flatten();
        let names: String = names.filter_map(|container| container["name"].as_str()).collect();
        assert_eq!(names, merged);
    }
}

#[test]
fn conflicts_name_what_is_at_a_place_before_what_is_below_it() {
    let schema_type = resource::PODS.schema;
    let of = |image: &str, seconds: u32| {
        let spec = json!({"containers": [{"name": "c", "image": image}], "terminationGracePeriodSeconds": seconds});
        pod(&spec)
    };
    let live = apply(schema_type, None, &of("i:1", 1), &writer("m"), false).expect("applied");
    let refused = apply(schema_type, Some(&live), &of("i:2", 2), &writer("n"), false).expect_err("both conflict");
    let text = refused.to_string();
    let place = |part: &str| text.find(part).expect("it is named");
    assert!(place(".terminationGracePeriodSeconds") < place(".image"), "{text}");
}

#[test]
fn an_empty_list_of_managers_begins_the_record_anew() {
    let schema_type = resource::CONFIG_MAPS.schema;
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}});
    let live = apply(schema_type, None, &config, &writer("m"), false).expect("applied");
    let mut sent = live.clone();
    sent["metadata"]["managedFields"] = json!([]);
    let decoded = codec::conform(schema_type, sent, FieldValidation::Ignore).expect("it fits");
    let tracked = track(schema_type, Some(&live), decoded.value, &writer("n"));
    assert_eq!(tracked["metadata"]["managedFields"], Value::Null);
}

/// When the manager's entry says that it last wrote.
fn time_of<'a>(object: &'a Value, manager: &str) -> Option<&'a str> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    entries.iter().find(|entry| entry["manager"] == manager)?["time"].as_str()
}

fn at(manager: &'static str, second: i64) -> Writer<'static> {
    Writer {
        now: Timestamp::from_second(second).expect("a small number"),
        ..writer(manager)
    }
}

#[test]
fn an_apply_is_news_when_it_creates_or_reorders() {
    let schema_type = resource::CONFIG_MAPS.schema;
    let of = |finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "finalizers": finalizers}, "data": {}});
    let live = apply(schema_type, None, &of(json!(["x/a", "x/b"])), &at("m", 1), false).expect("applied");
    assert_eq!(time_of(&live, "m"), Some("1970-01-01T00:00:01Z"));
    let live = apply(schema_type, Some(&live), &of(json!(["x/a", "x/b"])), &at("m", 2), false).expect("applied");
    assert_eq!(time_of(&live, "m"), Some("1970-01-01T00:00:01Z"), "nothing is new");
    let live = apply(schema_type, Some(&live), &of(json!(["x/b", "x/a"])), &at("m", 3), false).expect("applied");
    assert_eq!(time_of(&live, "m"), Some("1970-01-01T00:00:03Z"));
}

#[test]
fn an_update_that_only_removes_fields_leaves_the_time_of_its_entry() {
    let schema_type = resource::CONFIG_MAPS.schema;
    let of = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let live = track(schema_type, None, of(json!({"a": "1", "b": "2"})), &at("m", 1));
    let mut less = live.clone();
    less["data"] = json!({"a": "1"});
    let live = track(schema_type, Some(&live), less.clone(), &at("m", 2));
    assert_eq!(time_of(&live, "m"), Some("1970-01-01T00:00:01Z"));
    let mut other = live.clone();
    other["data"] = json!({"a": "3"});
    let live = track(schema_type, Some(&live), other, &at("m", 3));
    assert_eq!(time_of(&live, "m"), Some("1970-01-01T00:00:03Z"));
}

#[test]
fn several_elements_with_one_key_are_one_whole() {
    let schema_type = resource::SERVICES.schema;
    let of = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let udp = json!({"port": 80, "protocol": "UDP"});
    let live = apply(
        schema_type,
        None,
        &of(json!([{"port": 80, "protocol": "TCP"}, udp])),
        &writer("m"),
        false,
    )
    .expect("applied");
    let mut twice = live.clone();
    twice["spec"]["ports"] = json!([{"port": 80, "protocol": "UDP", "name": "u"}, udp]);
    let live = track(schema_type, Some(&live), twice, &writer("n"));
    let port = r#"k:{"port":80,"protocol":"UDP"}"#;
    let owned = |manager: &str| {
        let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
        let entry = entries.into_iter().find(|entry| entry["manager"] == manager)?;
        Some(entry["fieldsV1"]["f:spec"]["f:ports"][port].clone())
    };
    assert_eq!(owned("n"), Some(json!({})), "who made a second one owns the whole");
    let config = of(json!([{"port": 80, "protocol": "UDP", "targetPort": 81}]));
    let live = apply(schema_type, Some(&live), &config, &writer("k"), true).expect("applied");
    assert_eq!(
        live["spec"]["ports"],
        json!([{"port": 80, "protocol": "UDP", "targetPort": 81}]),
        "what is applied comes in the place of all of them"
    );
}

#[test]
fn the_port_of_a_backend_has_one_owner() {
    let schema_type = resource::INGRESSES.schema;
    let of = |port: Value| {
        let backend = json!({"service": {"name": "s", "port": port}});
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}, "spec": {"defaultBackend": backend}})
    };
    let writer = Writer {
        api_version: "networking.k8s.io/v1",
        ..writer("m")
    };
    let live = apply(schema_type, None, &of(json!({"number": 80})), &writer, false).expect("applied");
    let service = &live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:defaultBackend"]["f:service"];
    assert_eq!(service["f:port"], json!({}));
    let live = apply(schema_type, Some(&live), &of(json!({"name": "http"})), &writer, false).expect("applied");
    assert_eq!(
        live["spec"]["defaultBackend"]["service"]["port"],
        json!({"name": "http"})
    );
}

#[test]
fn what_does_not_fit_is_shown_as_it_stands_in_memory() {
    let refusal = |spec: Value| {
        let refused = apply(resource::PODS.schema, None, &pod(&spec), &writer("m"), false);
        let text = refused.expect_err("it does not fit").message().to_owned();
        text.split_once("Kind=Pod): ").map(|(_, said)| said.to_owned())
    };
    for (spec, said) in [
        (
            json!({"activeDeadlineSeconds": "3"}),
            ".spec.activeDeadlineSeconds: expected numeric (int or float), got string",
        ),
        (
            json!({"priority": [1]}),
            ".spec.priority: expected numeric (int or float), got []interface {}",
        ),
        (
            json!({"hostNetwork": "x"}),
            ".spec.hostNetwork: expected boolean, got &{x}",
        ),
        (
            json!({"nodeSelector": ["x", 1]}),
            ".spec.nodeSelector: expected map, got &{[x 1]}",
        ),
        (
            json!({"nodeName": {"a": [1, null]}}),
            ".spec.nodeName: expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"a\":[]interface {}{1, \
             interface {}(nil)}}}",
        ),
    ] {
        assert_eq!(refusal(spec).as_deref(), Some(said));
    }
}
