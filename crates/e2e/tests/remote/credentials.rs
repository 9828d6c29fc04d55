//! Credentials that a program hands out and that end: they are renewed, and the work goes on.

use rota_e2e::{Cluster, NO_CONTROLLERS};
use serde_json::json;

use crate::words::{apply, job, until_ended};

/// A kubeconfig whose user is known by what a script hands out, good for two seconds each time; the script writes a line into
/// `asked` when it is run. `status`: what it answers, beside the end.
fn kubeconfig(cluster: &Cluster, status: &str) -> String {
    let view = cluster.json(&["config", "view", "--raw"]);
    let script = cluster.dir().join("plugin.sh");
    let asked = cluster.dir().join("asked");
    let text = format!(
        "echo asked >>{}\nend=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\ncat <<END\n\
         {{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\",\n\
          \"status\": {{{status}, \"expirationTimestamp\": \"$end\"}}}}\nEND\n",
        asked.display()
    );
    std::fs::write(&script, text).expect("a script");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": view["clusters"],
        "contexts": [{"name": "c", "context": {"cluster": view["clusters"][0]["name"], "user": "plugin"}}],
        "users": [{"name": "plugin", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "sh", "args": [script],
        }}}],
    });
    let path = cluster.dir().join("plugin.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).expect("a file");
    path.to_string_lossy().into_owned()
}

fn asked(cluster: &Cluster) -> usize {
    std::fs::read_to_string(cluster.dir().join("asked")).map_or(0, |text| text.lines().count())
}

/// Runs one Job after another, until the script was asked again a few times and a Job ended after that.
fn goes_on(cluster: &Cluster, status: &str) {
    let mut controllers = cluster.controllers("plugin", &kubeconfig(cluster, status), &["--leader-elect=false"]);
    let first = asked(cluster);
    let mut jobs = 0;
    while asked(cluster) < first + 3 {
        jobs += 1;
        assert!(jobs < 200, "the script was never asked again");
        apply(cluster, "work", &[job(&format!("turn-{jobs}"), &json!({}), &json!({}))]);
        until_ended(cluster, jobs);
    }
    assert_eq!(controllers.exit_status(), None);
    controllers.stop();
}

#[test]
fn a_client_certificate_from_a_plugin_is_renewed_before_it_ends() {
    use base64::Engine as _;
    let cluster = Cluster::start(&["--sim-nodes", "1", NO_CONTROLLERS], &[]);
    let view = cluster.json(&["config", "view", "--raw"]);
    let user = &view["users"][0]["user"];
    let pem = |field: &str| {
        let data = user[field].as_str().expect("an administrator's identity");
        let pem = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        json!(String::from_utf8(pem).expect("PEM")).to_string()
    };
    let (certificate, key) = (pem("client-certificate-data"), pem("client-key-data"));
    // The script's text is taken as it stands: what JSON escapes stays escaped.
    let status = format!(r#""clientCertificateData": {certificate}, "clientKeyData": {key}"#);
    goes_on(&cluster, &status);
}

#[test]
fn a_token_from_a_plugin_is_renewed_before_it_ends() {
    let cluster = Cluster::start(&["--sim-nodes", "1", NO_CONTROLLERS], &[]);
    let binding = [
        "create",
        "clusterrolebinding",
        "worker",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:default",
    ];
    cluster.run(&binding);
    let token = cluster.run(&["create", "token", "default"]);
    goes_on(&cluster, &format!(r#""token": "{}""#, token.trim()));
}

#[test]
fn a_plugin_that_fails_is_named_before_anything_is_done() {
    let cluster = Cluster::start(&["--sim-nodes", "1", NO_CONTROLLERS], &[]);
    let kubeconfig = kubeconfig(&cluster, r#""token": """#);
    let output = rota_e2e::rota(&["controllers", "--listen", "127.0.0.1:0", "--kubeconfig", &kubeconfig]).output();
    let output = output.expect("rota");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the exec plugin sh answered neither a token nor a certificate"),
        "{said}"
    );
}
