//! Request bodies as clients write them, and what upstream answers (texts from recorded replies).

use serde_json::{Value, json};

use super::*;

const JOB: &str = "io.k8s.api.batch.v1.Job";
const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";
const LEASE: &str = "io.k8s.api.coordination.v1.Lease";
const POD: &str = "io.k8s.api.core.v1.Pod";

fn refused(schema_type: &str, body: &str, format: Format, validation: FieldValidation) -> String {
    let error = decode(schema_type, body.as_bytes(), format, validation).expect_err(body);
    assert_eq!(error.code(), 400);
    error.message().to_owned()
}

fn accepted(schema_type: &str, body: &str, format: Format) -> Decoded {
    decode(schema_type, body.as_bytes(), format, FieldValidation::Warn).unwrap_or_else(|e| panic!("{body}: {e}"))
}

#[test]
fn unknown_fields_are_reported_with_their_paths_in_the_order_of_the_text() {
    let body = r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j"},"spec":{"template":{"spec":
        {"containers":[{"name":"c","image":"app:v1","imagee":"x"}],"restartPolicy":"Never"}},"paralelism":3}}"#;
    assert_eq!(
        refused(JOB, body, Format::Json, FieldValidation::Strict),
        "Job in version \"v1\" cannot be handled as a Job: strict decoding error: unknown field \
         \"spec.template.spec.containers[0].imagee\", unknown field \"spec.paralelism\""
    );
    let decoded = accepted(JOB, body, Format::Json);
    assert_eq!(
        decoded.warnings,
        [
            "unknown field \"spec.template.spec.containers[0].imagee\"",
            "unknown field \"spec.paralelism\""
        ]
    );
    assert_eq!(decoded.value["spec"]["paralelism"], Value::Null);
    let silent = decode(JOB, body.as_bytes(), Format::Json, FieldValidation::Ignore).expect("nothing is checked");
    assert_eq!(silent.warnings, [""; 0]);
}

#[test]
fn repeated_fields_are_reported_and_the_last_one_wins() {
    let body = r#"{"metadata":{"name":"m","name":"n"},"data":{"a":"1","a":"2"}}"#;
    let decoded = accepted(CONFIG_MAP, body, Format::Json);
    assert_eq!(
        decoded.warnings,
        ["duplicate field \"metadata.name\"", "duplicate field \"data.a\""]
    );
    assert_eq!(decoded.value, json!({"metadata": {"name": "n"}, "data": {"a": "2"}}));
    let yaml = "metadata:\n  name: m\ndata:\n  a: '1'\n  a: '2'\n";
    let decoded = accepted(CONFIG_MAP, yaml, Format::Yaml);
    assert_eq!(decoded.warnings, ["line 5: key \"a\" already set in map"]);
    assert_eq!(
        refused(CONFIG_MAP, yaml, Format::Yaml, FieldValidation::Strict),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  \
         line 5: key \"a\" already set in map"
    );
}

#[test]
fn a_kind_of_several_versions_is_named_in_its_refusal() {
    assert_eq!(
        refused(
            "io.k8s.api.batch.v1.CronJob",
            r#"{"spec":{"foo":1}}"#,
            Format::Json,
            FieldValidation::Strict
        ),
        "CronJob in version \"v1\" cannot be handled as a CronJob: strict decoding error: unknown field \"spec.foo\""
    );
}

#[test]
fn the_template_generation_of_a_daemon_set_is_a_number() {
    const DAEMON_SET: &str = "io.k8s.api.apps.v1.DaemonSet";
    let body = |generation: &str| {
        let annotations = json!({"deprecated.daemonset.template.generation": generation});
        json!({"metadata": {"annotations": annotations}}).to_string()
    };
    for (generation, why) in [
        ("x", "parsing \"x\": invalid syntax"),
        ("", "parsing \"\": invalid syntax"),
        (
            "9223372036854775808",
            "parsing \"9223372036854775808\": value out of range",
        ),
    ] {
        let told = format!("DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strconv.ParseInt: {why}");
        let text = body(generation);
        assert_eq!(refused(DAEMON_SET, &text, Format::Json, FieldValidation::Ignore), told);
        let mut set: Value = serde_json::from_str(&text).expect("the text is JSON");
        set["apiVersion"] = "apps/v1".into();
        set["kind"] = "DaemonSet".into();
        let message = encode(&set, Format::Protobuf).expect("a DaemonSet has a form in protobuf");
        let error = decode(DAEMON_SET, &message, Format::Protobuf, FieldValidation::Ignore).expect_err("no number");
        assert_eq!((error.code(), error.message()), (400, told.as_str()));
    }
    accepted(DAEMON_SET, &body("-7"), Format::Json);
    accepted(POD, &body("x"), Format::Json);
}

#[test]
fn values_of_another_type_are_refused_in_upstreams_words() {
    let check = |schema_type: &str, body: &str, text: &str| {
        let message = refused(schema_type, body, Format::Json, FieldValidation::Warn);
        let (_, said) = message.split_once(": ").expect("messages have a prefix");
        assert_eq!(said, text);
    };
    let spec = |field: &str| format!(r#"{{"spec":{{{field}}}}}"#);
    let of = "json: cannot unmarshal";
    check(
        JOB,
        &spec(r#""parallelism":"3""#),
        &format!("{of} string into Go struct field JobSpec.spec.parallelism of type int32"),
    );
    check(
        JOB,
        &spec(r#""parallelism":3.0"#),
        &format!("{of} number 3.0 into Go struct field JobSpec.spec.parallelism of type int32"),
    );
    check(
        JOB,
        &spec(r#""parallelism":2147483648"#),
        &format!("{of} number 2147483648 into Go struct field JobSpec.spec.parallelism of type int32"),
    );
    check(
        JOB,
        &spec(r#""suspend":1"#),
        &format!("{of} number into Go struct field JobSpec.spec.suspend of type bool"),
    );
    check(
        JOB,
        r#"{"spec":[]}"#,
        &format!("{of} array into Go struct field Job.spec of type v1.JobSpec"),
    );
    check(
        JOB,
        &spec(r#""template":{"spec":{"containers":{}}}"#),
        &format!("{of} object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"),
    );
    check(
        JOB,
        &spec(r#""template":{"spec":{"containers":[{"args":[1]}]}}"#),
        &format!("{of} number into Go struct field Container.spec.template.spec.containers.args of type string"),
    );
    check(
        CONFIG_MAP,
        r#"{"data":{"a":5}}"#,
        &format!("{of} number into Go struct field ConfigMap.data of type string"),
    );
    check(
        CONFIG_MAP,
        r#"{"binaryData":{"a":"!!"}}"#,
        "illegal base64 data at input byte 0",
    );
    check(
        LEASE,
        r#"{"spec":{"renewTime":5}}"#,
        &format!("{of} number into Go struct field LeaseSpec.spec.renewTime of type string"),
    );
    check(
        POD,
        r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":{}}}}]}}"#,
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    check(
        JOB,
        r#"{"metadata":{"creationTimestamp":"now"}}"#,
        "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\"",
    );
}

#[test]
fn options_of_requests_are_refused_without_a_kind() {
    let options = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
    assert_eq!(
        refused(
            options,
            r#"{"gracePeriodSeconds":"x"}"#,
            Format::Json,
            FieldValidation::Warn
        ),
        "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
    );
}

#[test]
fn nulls_are_absent_and_quantities_and_times_canonical() {
    let body = r#"{"metadata":{"name":"p","labels":null,"annotations":{"a":null},"creationTimestamp":"2020-01-01T02:00:00+02:00"},
        "spec":{"nodeName":null,"containers":[{"name":"c","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}}"#;
    assert_eq!(
        accepted(POD, body, Format::Json).value,
        json!({"metadata": {"name": "p", "annotations": {"a": ""}, "creationTimestamp": "2020-01-01T00:00:00Z"},
               "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}, "status": {}})
    );
}

#[test]
fn empty_values_are_kept_left_out_or_written_as_the_field_says() {
    let body = r#"{"metadata":{"labels":{},"name":"j"},"spec":{"parallelism":0,"suspend":false,
        "template":{"spec":{"hostNetwork":false,"nodeName":"","containers":[{"image":"","args":[]}]}}}}"#;
    assert_eq!(
        accepted(JOB, body, Format::Json).value,
        json!({"metadata": {"name": "j"}, "status": {}, "spec": {"parallelism": 0, "suspend": false,
               "template": {"metadata": {}, "spec": {"containers": [{"name": "", "resources": {}}]}}}})
    );
}

#[test]
fn yaml_reads_as_upstream_reads_it() {
    let text = "# a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\nimmutable: yes\ndata:\n  a: |\n    x\n    y\n  1: 'z'\n...\n---\nnot: read\n";
    assert_eq!(
        accepted(CONFIG_MAP, text, Format::Yaml).value,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "immutable": true,
               "data": {"a": "x\ny\n", "1": "z"}})
    );
    let merged = read(b"base: &b {x: 1, z: 2}\nd:\n  <<: *b\n  z: 3\n", Format::Yaml).expect("merge keys are read");
    assert_eq!(merged.value["d"], json!({"x": 1, "z": 3}));
}

#[test]
fn alias_bombs_and_deep_documents_are_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let below = level - 1;
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{below}"); 10].join(",")
        ));
    }
    let error = read(bomb.as_bytes(), Format::Yaml).err().expect("the bomb is refused");
    assert!(error.to_string().contains("excessive aliasing"), "{error}");
    let deep = "[".repeat(100_000);
    assert!(read(deep.as_bytes(), Format::Json).is_err());
    assert!(read(deep.as_bytes(), Format::Yaml).is_err());
    let deep = "a:\n".to_owned()
        + &(0..300)
            .map(|i| format!("{}a:\n", " ".repeat(i + 1)))
            .collect::<String>();
    assert!(read(deep.as_bytes(), Format::Yaml).is_err());
}

#[test]
fn anchors_that_copy_the_document_again_and_again_are_refused() {
    let nested = (0..60).fold(format!("&x {}", "t".repeat(100_000)), |inner, n| {
        format!("&a{n} {{k: {inner}}}")
    });
    let error = read(nested.as_bytes(), Format::Yaml).err().expect("too much");
    assert!(error.to_string().contains("excessive aliasing"), "{error}");
}

#[test]
fn many_keys_of_one_map_are_read_each_once() {
    let keys: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    let document = read(keys.as_bytes(), Format::Yaml).expect("a map");
    assert_eq!(document.value.as_object().map(serde_json::Map::len), Some(100_000));
    assert!(document.repeated.is_empty());
}

#[test]
fn what_is_written_as_yaml_reads_back() {
    let value = json!({
        "a": ["x", {"b": "yes", "c": [1, 2.5, null, true]}, [], {}, [["n"]]], "text": "one\n  two\n\nthree\n", "tail": "x\n\n\n",
        "no newline": "a\nb", "quote": "it's \"so\"", "colon": "a: b", "octal": "0644", "empty": "", "key: odd": "v", "e": {"f": {}},
        "space": " lead\nb", "tab": "a\tb", "unicode": "ä\u{2028}", "date": "2020-01-01T00:00:00Z", "dash": "-", "cron": "*/5 * * * *",
    });
    let text = String::from_utf8(encode(&value, Format::Yaml).expect("YAML holds every value")).expect("YAML is UTF-8");
    assert_eq!(read(text.as_bytes(), Format::Yaml).expect(&text).value, value, "{text}");
    let ours: Value = serde_saphyr::from_str(&text).expect("another reader reads it too");
    assert_eq!(ours, value);
}

#[test]
fn amounts_given_as_numbers_are_read_as_they_are_written() {
    let stored = |amount: &str, format: Format| {
        let body = format!(r#"{{"spec":{{"containers":[{{"resources":{{"limits":{{"x.io/a":{amount}}}}}}}]}}}}"#);
        let decoded = accepted(POD, &body, format);
        decoded.value["spec"]["containers"][0]["resources"]["limits"]["x.io/a"].clone()
    };
    for (written, served) in [
        ("1e3", "1e3"),
        ("5e18", "5e18"),
        ("650e17", "65e18"),
        ("9223372036854775807.123", "9223372036854775807123m"),
        ("18446744073709551616", "18446744073709551616"),
        ("1.50", "1500m"),
        ("\" 1 \"", "1"),
    ] {
        assert_eq!(stored(written, Format::Json), served, "{written}");
    }
    // YAML says numbers, not texts.
    assert_eq!(stored("1e3", Format::Yaml), "1k");
    assert_eq!(stored("5e18", Format::Yaml), "5E");
}

#[test]
fn integers_may_be_minus_zero_but_have_no_exponent() {
    let decoded = accepted(JOB, r#"{"spec":{"backoffLimit":-0}}"#, Format::Json);
    assert_eq!(decoded.value["spec"]["backoffLimit"], json!(0));
    let said = refused(
        JOB,
        r#"{"spec":{"backoffLimit":1e1}}"#,
        Format::Json,
        FieldValidation::Warn,
    );
    assert!(
        said.ends_with("cannot unmarshal number 1e1 into Go struct field JobSpec.spec.backoffLimit of type int32"),
        "{said}"
    );
}

#[test]
fn places_in_embedded_structs_and_named_types_are_called_as_upstream_calls_them() {
    let check = |container: &str, expected: &str| {
        let body = format!(r#"{{"spec":{{"containers":[{container}]}}}}"#);
        let said = refused(POD, &body, Format::Json, FieldValidation::Warn);
        assert!(said.ends_with(expected), "{said}");
    };
    check(
        r#"{"livenessProbe":{"httpGet":{"port":8e1}}}"#,
        "number 8e1 into Go struct field HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port of type int32",
    );
    check(
        r#"{"resources":{"limits":[]}}"#,
        "array into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList",
    );
    let said = refused(POD, r#"{"metadata":{"uid":1}}"#, Format::Json, FieldValidation::Warn);
    assert!(
        said.ends_with("number into Go struct field ObjectMeta.metadata.uid of type types.UID"),
        "{said}"
    );
}

#[test]
fn a_body_that_is_no_object_or_no_yaml_is_not_recognized() {
    let begin = "the object provided is unrecognized (must be of type ConfigMap): ";
    let check = |body: &str, format: Format, expected: &str| {
        let said = refused(CONFIG_MAP, body, format, FieldValidation::Warn);
        assert_eq!(said, format!("{begin}{expected}"));
    };
    check(
        "[]",
        Format::Json,
        "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion \
         string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)",
    );
    check(
        "a: -.inf",
        Format::Yaml,
        "json: unsupported value: -Inf (613a202d2e696e66)",
    );
    let said = refused(
        CONFIG_MAP,
        "metadata:\n\tname: m\n",
        Format::Yaml,
        FieldValidation::Warn,
    );
    assert!(said.starts_with(&format!("{begin}yaml: line 2: ")), "{said}");
}
