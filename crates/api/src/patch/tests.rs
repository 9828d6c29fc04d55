//! Patches and what they make of objects; results as recorded from upstream.

#![expect(
    clippy::needless_pass_by_value,
    reason = "json! literals are passed as they are made"
)]

use serde_json::{Value, json};

use super::*;

const DAEMON_SET: &str = "io.k8s.api.apps.v1.DaemonSet";
const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";

fn config_map() -> Value {
    json!({"metadata": {"name": "m", "finalizers": ["a.example/x", "a.example/y"],
            "ownerReferences": [{"uid": "u1", "name": "n1"}, {"uid": "u2", "name": "n2"}]},
           "data": {"a": "1", "b": "2"}})
}

fn daemon_set() -> Value {
    json!({"spec": {"template": {"spec": {
        "containers": [
            {"name": "a", "image": "a:v1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
             "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]},
            {"name": "b", "image": "b:v1"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "nodeSelector": {"x": "y"}}}}})
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect()
}

/// What a strategic patch of the pod spec makes of the pod spec.
fn pod_spec(change: Value) -> Value {
    let patch = json!({"spec": {"template": {"spec": change}}});
    let result = super::patch(DAEMON_SET, PatchKind::Strategic, &daemon_set(), &patch);
    result.unwrap_or_else(|e| panic!("{patch}: {e}"))["spec"]["template"]["spec"].take()
}

fn refused(kind: PatchKind, original: &Value, patch: Value) -> (u16, String) {
    let error = super::patch(DAEMON_SET, kind, original, &patch).expect_err("the patch is refused");
    (error.code(), error.message().to_owned())
}

#[test]
fn json_patch_is_as_lenient_as_upstream() {
    let check = |patch: Value, data: Value| {
        let result = super::patch(CONFIG_MAP, PatchKind::Json, &config_map(), &patch);
        assert_eq!(
            result.unwrap_or_else(|e| panic!("{patch}: {e}"))["data"],
            data,
            "{patch}"
        );
    };
    check(json!([]), json!({"a": "1", "b": "2"}));
    check(
        json!([{"op": "replace", "path": "/data/z", "value": "3"}]),
        json!({"a": "1", "b": "2", "z": "3"}),
    );
    check(
        json!([{"op": "copy", "path": "/data/c", "from": "/data/z"}]),
        json!({"a": "1", "b": "2", "c": null}),
    );
    check(
        json!([{"op": "move", "path": "/data/c", "from": "/data/a"}]),
        json!({"b": "2", "c": "1"}),
    );
    check(
        json!([{"op": "add", "path": "/data/q"}]),
        json!({"a": "1", "b": "2", "q": null}),
    );
    check(
        json!([{"op": "test", "path": "/data/z", "value": null}]),
        json!({"a": "1", "b": "2"}),
    );
    check(
        json!([{"op": "add", "path": "/data/a~1b", "value": "x"}]),
        json!({"a": "1", "b": "2", "a/b": "x"}),
    );
    check(
        json!([{"op": "add", "path": "data/a", "value": "x"}]),
        json!({"a": "1", "b": "2"}),
    );
}

#[test]
fn json_patch_indexes_lists() {
    let check = |path: &str, op: &str, result: Value| {
        let patch = json!([{"op": op, "path": path, "value": "n"}]);
        assert_eq!(
            json::apply(&json!({"l": ["0", "1"]}), &patch).map(|v| v["l"].clone()),
            Ok(result),
            "{path}"
        );
    };
    check("/l/-", "add", json!(["0", "1", "n"]));
    check("/l/0", "add", json!(["n", "0", "1"]));
    check("/l/2", "add", json!(["0", "1", "n"]));
    check("/l/-1", "replace", json!(["0", "n"]));
    check("/l/0", "remove", json!(["1"]));
    for (path, op) in [
        ("/l/3", "add"),
        ("/l/2", "replace"),
        ("/l/x", "add"),
        ("/l/-3", "replace"),
        ("/l/2", "remove"),
    ] {
        let patch = json!([{"op": op, "path": path, "value": "n"}]);
        assert!(json::apply(&json!({"l": ["0", "1"]}), &patch).is_err(), "{op} {path}");
    }
}

#[test]
fn a_json_patch_that_does_not_fit_is_unprocessable() {
    let told = "the server rejected our request due to an error in our request".to_owned();
    for operation in [
        json!({"op": "test", "path": "/data/a", "value": "x"}),
        json!({"op": "remove", "path": "/data/z"}),
        json!({"op": "add", "path": "/metadata/labels/x", "value": "1"}),
        json!({"op": "move", "path": "/data/c", "from": "/data/z"}),
        json!({"op": "merge", "path": "/data/a", "value": "x"}),
        json!({"op": "remove", "path": ""}),
        json!({"path": "/data/a"}),
        json!("x"),
    ] {
        assert_eq!(
            refused(PatchKind::Json, &config_map(), json!([operation])),
            (422, told.clone())
        );
    }
    let many = Value::Array(vec![
        json!({"op": "test", "path": "/x", "value": null});
        json::OPERATIONS_MAX + 1
    ]);
    assert_eq!(refused(PatchKind::Json, &config_map(), many).0, 413);
}

#[test]
fn strategic_merge_merges_lists_by_their_keys() {
    let spec = pod_spec(json!({"containers": [{"name": "a", "image": "a:v2", "env": [{"name": "Z", "value": "3"}]}]}));
    assert_eq!(spec["containers"][0]["image"], "a:v2");
    assert_eq!(names(&spec["containers"]), ["a", "b"]);
    assert_eq!(names(&spec["containers"][0]["env"]), ["Z", "X", "Y"]);
    let spec = pod_spec(json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]}));
    assert_eq!(
        spec["containers"][0]["ports"],
        json!([{"name": "http", "containerPort": 80, "protocol": "UDP"}])
    );
    assert_eq!(
        names(&pod_spec(json!({"containers": [{"name": "c"}]}))["containers"]),
        ["c", "a", "b"]
    );
    assert_eq!(names(&pod_spec(json!({"containers": []}))["containers"]), ["a", "b"]);
    assert_eq!(pod_spec(json!({"containers": null}))["containers"], Value::Null);
}

#[test]
fn directives_in_lists_delete_and_replace() {
    let containers = |change: Value| pod_spec(json!({"containers": change}))["containers"].take();
    assert_eq!(
        names(&containers(json!([{"name": "b", "$patch": "delete"}, {"name": "a"}]))),
        ["a"]
    );
    assert_eq!(
        names(&containers(json!([{"name": "zz", "$patch": "delete"}]))),
        ["a", "b"]
    );
    assert_eq!(names(&containers(json!([{"name": "z"}, {"$patch": "replace"}]))), ["z"]);
    assert_eq!(
        names(&containers(json!([{"name": "a", "$patch": "replace", "image": "x"}]))),
        [""; 0]
    );
}

#[test]
fn the_order_of_elements_can_be_stated() {
    let order = |order: Value, items: Value| {
        let spec = pod_spec(json!({"$setElementOrder/containers": order, "containers": items}));
        names(&spec["containers"]).join(" ")
    };
    let named = |names: &[&str]| Value::Array(names.iter().map(|n| json!({"name": n})).collect());
    assert_eq!(order(named(&["c", "b", "a"]), named(&["c"])), "c b a");
    assert_eq!(order(named(&["b", "a"]), json!([])), "b a");
    assert_eq!(order(named(&["zz", "b", "a"]), named(&["b"])), "b a");
    let wrong = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": named(&["b", "a"]),
        "containers": named(&["a", "b"])}}}});
    assert_eq!(refused(PatchKind::Strategic, &daemon_set(), wrong).0, 500);
}

#[test]
fn directives_in_maps_replace_delete_and_retain() {
    assert_eq!(
        pod_spec(json!({"nodeSelector": {"$patch": "replace", "only": "z"}}))["nodeSelector"],
        json!({"only": "z"})
    );
    assert_eq!(
        pod_spec(json!({"nodeSelector": {"$patch": "delete"}}))["nodeSelector"],
        json!({})
    );
    assert_eq!(
        pod_spec(json!({"nodeSelector": {"x": null, "z": "1"}}))["nodeSelector"],
        json!({"z": "1"})
    );
    let volumes = json!([{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "m"}}]);
    assert_eq!(
        pod_spec(json!({"volumes": volumes}))["volumes"],
        json!([{"name": "v", "configMap": {"name": "m"}}])
    );
    let spec = |change: Value| json!({"spec": {"template": {"spec": change}}});
    let volumes = json!([{"name": "v", "$retainKeys": ["name"], "configMap": {"name": "m"}}]);
    assert_eq!(
        refused(PatchKind::Strategic, &daemon_set(), spec(json!({"volumes": volumes}))),
        (400, "invalid patch format of retainKeys".to_owned())
    );
    assert_eq!(
        refused(
            PatchKind::Strategic,
            &daemon_set(),
            spec(json!({"nodeSelector": {"$patch": "bogus"}}))
        )
        .0,
        500
    );
    assert_eq!(
        refused(
            PatchKind::Strategic,
            &daemon_set(),
            spec(json!({"containers": [{"image": "x"}]}))
        )
        .0,
        500
    );
}

#[test]
fn a_rollback_replaces_the_template_and_leaves_no_directive() {
    let patch = json!({"spec": {"template": {"$patch": "replace", "spec": {"containers": [{"name": "old"}]}}}});
    let result = super::patch(DAEMON_SET, PatchKind::Strategic, &daemon_set(), &patch).expect("a rollback applies");
    assert_eq!(
        result,
        json!({"spec": {"template": {"spec": {"containers": [{"name": "old"}]}}}})
    );
}

#[test]
fn lists_of_scalars_are_united() {
    let check = |change: Value, result: Value| {
        let patch = json!({"metadata": change});
        let merged = super::patch(CONFIG_MAP, PatchKind::Strategic, &config_map(), &patch).expect("the patch applies");
        assert_eq!(merged["metadata"]["finalizers"], result, "{patch}");
    };
    check(json!({"finalizers": ["z"]}), json!(["z", "a.example/x", "a.example/y"]));
    check(
        json!({"finalizers": ["a.example/y", "z"]}),
        json!(["a.example/x", "a.example/y", "z"]),
    );
    check(
        json!({"finalizers": ["a.example/x", "a.example/x"]}),
        json!(["a.example/x", "a.example/y"]),
    );
    check(
        json!({"$deleteFromPrimitiveList/finalizers": ["a.example/x"]}),
        json!(["a.example/y"]),
    );
    check(
        json!({"$setElementOrder/finalizers": ["z", "a.example/y"], "$deleteFromPrimitiveList/finalizers": ["a.example/x"],
               "finalizers": ["z"]}),
        json!(["z", "a.example/y"]),
    );
    check(json!({"finalizers": null}), Value::Null);
}

#[test]
fn results_are_brought_into_the_form_of_their_type() {
    let warned = |patch: Value, validation| {
        patched(CONFIG_MAP, PatchKind::Merge, &config_map(), &patch, &[], validation).map(|d| d.warnings)
    };
    assert_eq!(
        warned(json!({"foo": {"bar": 1}}), FieldValidation::Warn),
        Ok(vec!["unknown field \"foo\"".to_owned()])
    );
    let error = warned(json!({"foo": 1}), FieldValidation::Strict).expect_err("strict validation refuses");
    assert_eq!(error.code(), 422);
    assert!(
        error
            .message()
            .ends_with("strict decoding error: unknown field \"foo\""),
        "{error}"
    );
    let error = warned(json!({"data": {"a": 5}}), FieldValidation::Warn).expect_err("a number is no string");
    assert!(
        error.message().starts_with(" \"\" is invalid: patch: Invalid value: "),
        "{error}"
    );
}

#[test]
fn texts_that_are_no_patches_are_refused() {
    let check = |kind: PatchKind, body: &str, text: &str| {
        let error = read(kind, body.as_bytes()).err().expect("the text is refused");
        assert_eq!((error.code(), error.message()), (400, text), "{body}");
    };
    let eof = "error decoding patch: unexpected end of JSON input";
    check(PatchKind::Json, "[{", eof);
    check(PatchKind::Json, "", eof);
    check(
        PatchKind::Json,
        "{}",
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
    );
    check(
        PatchKind::Merge,
        "[]",
        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
    );
    check(PatchKind::Merge, "null", "Invalid JSON Patch");
    let operation = "error decoding patch: json: cannot unmarshal number into Go";
    check(
        PatchKind::Json,
        "[1]",
        &format!("{operation} value of type handlers.jsonPatchOp"),
    );
    check(
        PatchKind::Json,
        r#"[{"op":"add","path":1}]"#,
        &format!("{operation} struct field jsonPatchOp.path of type string"),
    );
    check(PatchKind::Strategic, "{", "unexpected end of JSON input");
}

#[test]
fn a_null_has_no_operations_and_the_whole_is_not_added() {
    let patched = |text: &str| {
        let document = read(PatchKind::Json, text.as_bytes()).expect("a JSON patch");
        patch(CONFIG_MAP, PatchKind::Json, &config_map(), &document.value).map_err(|error| error.code())
    };
    assert_eq!(patched("null"), Ok(config_map()));
    assert_eq!(patched(r#"[{"op":"add","path":"","value":{}}]"#), Err(422));
}

#[test]
fn directives_that_lead_nowhere_are_refused_as_a_fault_of_the_server() {
    let refusal = |patch: Value| {
        let error = super::patch(CONFIG_MAP, PatchKind::Strategic, &config_map(), &patch).expect_err("it is refused");
        assert_eq!(error.code(), 500, "{error}");
        error.message().to_owned()
    };
    assert_eq!(
        refusal(json!({"metadata": {"$setElementOrder/zzz": []}})),
        "unable to find api field in struct ObjectMeta for the json field \"zzz\""
    );
    assert_eq!(
        refusal(json!({"data": {"$setElementOrder/zzz": []}})),
        "merging an object in json but data type is not struct, instead is: map"
    );
    assert_eq!(
        refusal(json!({"metadata": {"$setElementOrder/finalizers": null}})),
        "expected a []interface {}, but received a %!s(<nil>)"
    );
    let owners = |order: Value| json!({"metadata": {"$setElementOrder/ownerReferences": order, "ownerReferences": [{"uid": "u"}]}});
    assert_eq!(
        refusal(owners(json!([{"uid": "u"}, {"name": "n", "x": [1, true]}]))),
        "map: map[name:n x:[1 true]] does not contain declared merge key: uid"
    );
    assert_eq!(
        refusal(owners(json!([1]))),
        "expected a map[string]interface {}, but received a int64"
    );
    assert_eq!(
        refusal(json!({"data": {"$patch": "drop", "a": "1"}})),
        "unknown patch type: drop in map: map[$patch:drop a:1]"
    );
}

#[test]
fn what_a_strategic_patch_makes_and_does_not_fit_is_told_as_of_maps_and_lists() {
    let refusal = |patch: Value| {
        let refused = patched(
            CONFIG_MAP,
            PatchKind::Strategic,
            &config_map(),
            &patch,
            &[],
            FieldValidation::Warn,
        );
        refused.expect_err("it does not fit").message().to_owned()
    };
    let begin = " \"\" is invalid: patch: Invalid value: ";
    for (patch, said) in [
        (
            json!({"data": ["x"]}),
            "\"map[data:[x]]\": cannot restore map from slice",
        ),
        (json!({"data": "x"}), "\"map[data:x]\": cannot restore map from string"),
        (
            json!({"metadata": {"finalizers": "x"}}),
            "\"map[metadata:map[finalizers:x]]\": cannot restore slice from string",
        ),
        (
            json!({"data": {"a": 5}}),
            "\"map[data:map[a:5]]\": cannot convert int64 to string",
        ),
        (
            json!({"data": {"a": true}}),
            "\"map[data:map[a:true]]\": unrecognized type: string",
        ),
        (
            json!({"metadata": [1]}),
            "\"map[metadata:[1]]\": cannot restore struct from: slice",
        ),
        (
            json!({"immutable": "x"}),
            "\"map[immutable:x]\": unrecognized type: bool",
        ),
    ] {
        assert_eq!(refusal(patch), format!("{begin}{said}"));
    }
}

#[test]
fn whole_numbers_in_strategic_patches_may_have_a_fraction_of_zero() {
    let patched = |seconds: Value| {
        let patch = json!({"spec": {"minReadySeconds": seconds}});
        let daemon_set = json!({"spec": {"template": {"spec": {"containers": []}}}});
        patched(
            DAEMON_SET,
            PatchKind::Strategic,
            &daemon_set,
            &patch,
            &[],
            FieldValidation::Warn,
        )
    };
    let decoded = patched(json!(3.0)).expect("three is a whole number");
    assert_eq!(decoded.value["spec"]["minReadySeconds"], json!(3));
    let refused = patched(json!(3.5)).expect_err("it is not whole");
    assert!(
        refused.message().ends_with("cannot convert float64 to int32"),
        "{refused}"
    );
}
