//! A program that hands out credentials: how it is asked, and what it answers.
//!
//! Source: kubernetes "client-go credential plugins" (`client.authentication.k8s.io/v1`, `v1beta1`), client-go
//! `plugin/pkg/client/auth/exec`.

use std::io::IsTerminal;
use std::process::{Command, Output, Stdio};

use kube::config::{ExecConfig, ExecInteractiveMode};
use rota_api::Timestamp;
use rota_api::codec::{self, Format};
use serde_json::{Value, json};

/// The program cannot be run, or what it says is no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The kubeconfig names no program.
    #[error("the kubeconfig's user has an exec plugin without a command")]
    NoCommand,
    /// It wants to ask somebody, and nobody is there.
    #[error("the exec plugin {command} asks questions (interactiveMode: Always), and standard input is no terminal")]
    NobodyToAsk { command: String },
    /// It wants to know the cluster, which the kubeconfig does not describe.
    #[error("the exec plugin {command} wants the cluster's description, and the kubeconfig has none")]
    NoCluster { command: String },
    /// It did not start.
    #[error("starting the exec plugin {command}{hint}")]
    Start {
        command: String,
        hint: String,
        source: std::io::Error,
    },
    /// It failed.
    #[error("the exec plugin {command} ended with {status}")]
    Failed {
        command: String,
        status: std::process::ExitStatus,
    },
    /// Its answer is not what was agreed.
    #[error("the exec plugin {command} answered {what}")]
    Answer { command: String, what: String },
}

/// What the program handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credential {
    /// A bearer token.
    pub(super) token: Option<String>,
    /// A client certificate and its key (PEM).
    pub(super) identity: Option<(String, String)>,
    /// From when on it is worth nothing.
    pub(super) expires: Option<Timestamp>,
}

/// The program as it is to be run.
///
/// Errors: the kubeconfig does not say how.
pub(super) fn command(plugin: &ExecConfig) -> Result<Command, Error> {
    let name = plugin.command.clone().ok_or(Error::NoCommand)?;
    let mut command = Command::new(&name);
    command.args(plugin.args.iter().flatten());
    for variable in plugin.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let is_interactive = plugin.interactive_mode != Some(ExecInteractiveMode::Never) && std::io::stdin().is_terminal();
    if plugin.interactive_mode == Some(ExecInteractiveMode::Always) && !is_interactive {
        return Err(Error::NobodyToAsk { command: name });
    }
    let mut spec = json!({"interactive": is_interactive});
    if plugin.provide_cluster_info {
        let cluster = plugin
            .cluster
            .as_ref()
            .and_then(|cluster| serde_json::to_value(cluster).ok());
        spec["cluster"] = cluster.ok_or(Error::NoCluster { command: name })?;
    }
    let asked = json!({"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec});
    command.env("KUBERNETES_EXEC_INFO", asked.to_string());
    command.stdin(if is_interactive {
        Stdio::inherit()
    } else {
        Stdio::null()
    });
    command.stdout(Stdio::piped());
    command.stderr(Stdio::inherit());
    Ok(command)
}

/// What came of running it.
///
/// Errors: it could not be run, failed, or answered something else than a credential of the version it was asked for.
pub(super) fn credential(plugin: &ExecConfig, ran: std::io::Result<Output>) -> Result<Credential, Error> {
    let command = plugin.command.clone().unwrap_or_default();
    let output = ran.map_err(|source| Error::Start {
        command: command.clone(),
        hint: plugin
            .install_hint
            .as_ref()
            .map_or_else(String::new, |hint| format!(" ({hint})")),
        source,
    })?;
    if !output.status.success() {
        let status = output.status;
        return Err(Error::Failed { command, status });
    }
    read(plugin, &output.stdout).map_err(|what| Error::Answer { command, what })
}

/// Reads an answer; says what is wrong with it.
fn read(plugin: &ExecConfig, answer: &[u8]) -> Result<Credential, String> {
    // Some programs answer in YAML, which upstream's clients take too.
    let document = codec::read(answer, Format::Json).or_else(|_| codec::read(answer, Format::Yaml));
    let answer: Value = document.map_err(|error| format!("what is no JSON: {error}"))?.value;
    let version = answer["apiVersion"].as_str().unwrap_or_default();
    if let Some(asked) = plugin.api_version.as_deref().filter(|asked| *asked != version) {
        return Err(format!("in version {version:?} where {asked} was asked for"));
    }
    let status = &answer["status"];
    let text = |field: &str| {
        status[field]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let identity = match (text("clientCertificateData"), text("clientKeyData")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("a certificate without its key".to_owned()),
        (None, Some(_)) => return Err("a key without its certificate".to_owned()),
    };
    let expires = match text("expirationTimestamp").map(|time| time.parse()) {
        None => None,
        Some(Ok(time)) => Some(time),
        Some(Err(error)) => return Err(format!("an expirationTimestamp that is no time: {error}")),
    };
    let token = text("token");
    if token.is_none() && identity.is_none() {
        return Err("neither a token nor a certificate".to_owned());
    }
    Ok(Credential {
        token,
        identity,
        expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin() -> ExecConfig {
        let plugin = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never",
                            "args": ["-c", "true"], "env": [{"name": "REALM", "value": "here"}]});
        serde_json::from_value(plugin).unwrap()
    }

    fn answer(status: &Value) -> Result<Credential, String> {
        let answer =
            json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
        read(&plugin(), answer.to_string().as_bytes())
    }

    #[test]
    fn the_program_is_told_what_is_asked_of_it() {
        let command = command(&plugin()).unwrap();
        let told: Vec<_> = command.get_envs().collect();
        let value = |name: &str| {
            let found = told.iter().find(|(known, _)| *known == name);
            found
                .and_then(|(_, value)| value.and_then(std::ffi::OsStr::to_str))
                .unwrap()
        };
        assert_eq!(value("REALM"), "here");
        let asked: Value = serde_json::from_str(value("KUBERNETES_EXEC_INFO")).unwrap();
        assert_eq!(asked["apiVersion"], "client.authentication.k8s.io/v1");
        assert_eq!(asked["spec"], json!({"interactive": false}));
    }

    #[test]
    fn a_token_and_a_certificate_are_read_with_their_end() {
        let read = answer(&json!({"token": "t", "expirationTimestamp": "2026-01-01T00:00:00Z"})).unwrap();
        assert_eq!((read.token.as_deref(), read.identity), (Some("t"), None));
        assert_eq!(read.expires, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        let read = answer(&json!({"clientCertificateData": "c", "clientKeyData": "k"})).unwrap();
        assert_eq!(read.identity, Some(("c".to_owned(), "k".to_owned())));
    }

    #[test]
    fn what_is_no_credential_is_told() {
        assert_eq!(answer(&json!({})).unwrap_err(), "neither a token nor a certificate");
        let half = answer(&json!({"clientCertificateData": "c"}));
        assert_eq!(half.unwrap_err(), "a certificate without its key");
        let other = read(
            &plugin(),
            br#"{"apiVersion": "client.authentication.k8s.io/v1beta1", "status": {"token": "t"}}"#,
        );
        assert!(other.unwrap_err().contains("v1beta1"));
    }

    #[test]
    fn a_program_that_fails_or_is_missing_is_named() {
        let ran = Command::new("/nonexistent/plugin").output();
        let missing = credential(&plugin(), ran).unwrap_err().to_string();
        assert_eq!(missing, "starting the exec plugin sh");
        let failed = credential(&plugin(), Command::new("false").output())
            .unwrap_err()
            .to_string();
        assert_eq!(failed, "the exec plugin sh ended with exit status: 1");
    }
}
