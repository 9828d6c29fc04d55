//! By what the server knows us, renewed before it is worth nothing.
//!
//! Passwords, tokens, token files and certificates of a kubeconfig are kube-rs'. The credentials of an exec plugin are
//! kept here: they end, and kube-rs renews only tokens, not certificates. The plugin is asked again when what it gave is about
//! to expire, and when the server answers that it does not know us.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::SignedDuration;
use kube::config::ExecConfig;
use rota_api::{ApiError, Timestamp};
use tokio::sync::Mutex;

use super::exec_plugin::{self, Credential};
use super::transport::{text_with_causes, unreachable_error};

/// The longest time before the end at which a credential is renewed; one that lasts less than ten times as long is renewed
/// when a tenth is left.
const MARGIN_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How long a plugin may take to renew a credential.
const RENEWAL_MAX: Duration = Duration::from_secs(30);
/// A plugin is not asked again within this time, whether it failed or gave what the server does not take.
const REST: Duration = Duration::from_secs(5);

/// The credentials of one user.
pub(super) struct Credentials {
    /// The way to the server, without what a plugin adds.
    config: Arc<kube::Config>,
    /// `None`: nothing of ours ever changes.
    plugin: Option<(ExecConfig, Mutex<Held>)>,
}

/// What a plugin gave last.
struct Held {
    usable: Usable,
    /// From when on it is worth nothing.
    expires: Option<Timestamp>,
    /// When a new one is asked for.
    renew: Option<Timestamp>,
    asked: Instant,
    /// What went wrong when it was asked last.
    failure: Option<ApiError>,
}

/// A way to the server that can be used now.
#[derive(Clone)]
pub(super) struct Usable {
    pub(super) config: Arc<kube::Config>,
    /// Counts the renewals.
    pub(super) version: u64,
}

impl Credentials {
    /// The credentials that `config` names, and how they can be used now. A plugin is run here for the first time.
    ///
    /// Errors: the plugin cannot be used.
    pub(super) fn of(config: &kube::Config) -> Result<(Self, Usable), kube::Error> {
        let mut config = config.clone();
        let Some(plugin) = config.auth_info.exec.take() else {
            let config = Arc::new(config);
            let usable = Usable {
                config: Arc::clone(&config),
                version: 0,
            };
            return Ok((Self { config, plugin: None }, usable));
        };
        let first =
            exec_plugin::command(&plugin).and_then(|mut command| exec_plugin::credential(&plugin, command.output()));
        let first =
            first.map_err(|error| kube::Error::Auth(kube::client::AuthError::AuthExec(text_with_causes(&error))))?;
        let held = Held::new(&config, &first, 0, Timestamp::now());
        let usable = held.usable.clone();
        let credentials = Self {
            config: Arc::new(config),
            plugin: Some((plugin, Mutex::new(held))),
        };
        Ok((credentials, usable))
    }

    /// True when answers are to come as they are.
    pub(super) fn disables_compression(&self) -> bool {
        self.config.disable_compression
    }

    /// The way to the server as it can be used now.
    ///
    /// Errors: what the plugin gave has expired, and it gives nothing new.
    pub(super) async fn usable(&self) -> Result<Usable, ApiError> {
        let Some((plugin, held)) = &self.plugin else {
            return Ok(Usable {
                config: Arc::clone(&self.config),
                version: 0,
            });
        };
        let mut held = held.lock().await;
        let now = Timestamp::now();
        let rests = held.failure.is_some() && held.asked.elapsed() < REST;
        if held.renew.is_some_and(|at| at <= now) && !rests {
            match renewed(plugin).await {
                Ok(credential) => {
                    *held = Held::new(&self.config, &credential, held.usable.version + 1, Timestamp::now());
                }
                Err(error) => {
                    tracing::warn!(%error, "the credentials were not renewed");
                    held.asked = Instant::now();
                    held.failure = Some(error);
                }
            }
        }
        match &held.failure {
            Some(error) if held.expires.is_some_and(|at| at <= Timestamp::now()) => Err(error.clone()),
            _ => Ok(held.usable.clone()),
        }
    }

    /// The server does not know us by the credentials of that version. True when there will be others.
    pub(super) async fn rejected(&self, version: u64) -> bool {
        let Some((_, held)) = &self.plugin else { return false };
        let mut held = held.lock().await;
        if held.usable.version != version {
            return true;
        }
        if held.asked.elapsed() < REST {
            return false;
        }
        held.renew = Some(Timestamp::now());
        true
    }
}

impl Held {
    fn new(config: &kube::Config, credential: &Credential, version: u64, now: Timestamp) -> Self {
        let mut config = config.clone();
        let user = &mut config.auth_info;
        if let Some(token) = &credential.token {
            user.token = Some(token.clone().into());
        }
        if let Some((certificate, key)) = &credential.identity {
            user.client_certificate_data = Some(BASE64.encode(certificate));
            user.client_key_data = Some(BASE64.encode(key).into());
        }
        Self {
            usable: Usable {
                config: Arc::new(config),
                version,
            },
            expires: credential.expires,
            renew: credential.expires.map(|expires| renewal(now, expires)),
            asked: Instant::now(),
            failure: None,
        }
    }
}

/// When a credential that was given at `now` is to be renewed.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let margin = (now.duration_until(expires) / 10).clamp(SignedDuration::ZERO, MARGIN_MAX);
    expires.saturating_sub(margin).unwrap_or(expires)
}

async fn renewed(plugin: &ExecConfig) -> Result<Credential, ApiError> {
    let asked = async {
        let mut command = tokio::process::Command::from(exec_plugin::command(plugin)?);
        let ran = command.kill_on_drop(true).output().await;
        exec_plugin::credential(plugin, ran)
    };
    match tokio::time::timeout(RENEWAL_MAX, asked).await {
        Ok(done) => done.map_err(|error| unreachable_error(&error)),
        Err(late) => Err(unreachable_error(&late)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn a_credential_is_renewed_a_minute_before_its_end_or_when_a_tenth_is_left() {
        assert_eq!(renewal(at(0), at(3600)), at(3540));
        assert_eq!(renewal(at(0), at(100)), at(90));
        assert_eq!(renewal(at(100), at(0)), at(0));
    }

    /// A plugin whose tokens are numbered and last for `secs`.
    fn counting(dir: &std::path::Path, secs: i64) -> kube::Config {
        let script = format!(
            r#"n=$(cat "$0/n" 2>/dev/null || echo 0); n=$((n + 1)); echo $n >"$0/n"
            [ ! -e "$0/broken" ] || exit 1
            end=$(date -u -d "+{secs} seconds" +%Y-%m-%dT%H:%M:%SZ)
            echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                   "status": {{"token": "token-'$n'", "expirationTimestamp": "'$end'"}}}}'"#
        );
        let plugin = serde_json::json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "sh",
                                        "interactiveMode": "Never", "args": ["-c", script, dir]});
        let mut config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
        config.auth_info.exec = Some(serde_json::from_value(plugin).unwrap());
        config
    }

    async fn version(credentials: &Credentials) -> u64 {
        credentials.usable().await.unwrap().version
    }

    #[tokio::test]
    async fn what_lasts_is_kept_until_the_server_does_not_take_it() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::of(&counting(dir.path(), 3600)).unwrap().0;
        assert_eq!((version(&credentials).await, version(&credentials).await), (0, 0));
        assert!(
            !credentials.rejected(0).await,
            "what was just given would be the same again"
        );
        let (_, held) = credentials.plugin.as_ref().unwrap();
        held.lock().await.asked -= REST;
        assert!(credentials.rejected(0).await);
        assert_eq!(version(&credentials).await, 1);
        assert!(credentials.rejected(0).await, "there is a newer one already");
        assert_eq!(version(&credentials).await, 1);
    }

    #[tokio::test]
    async fn what_has_expired_is_renewed_and_a_plugin_that_fails_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::of(&counting(dir.path(), 0)).unwrap().0;
        assert_eq!(version(&credentials).await, 1);
        assert_eq!(version(&credentials).await, 2);
        std::fs::write(dir.path().join("broken"), "").unwrap();
        let refused = credentials.usable().await.err().unwrap();
        assert!(
            refused.to_string().contains("the exec plugin sh ended with"),
            "{refused}"
        );
        std::fs::remove_file(dir.path().join("broken")).unwrap();
        assert!(credentials.usable().await.is_err(), "it is left alone for a while");
        let (_, held) = credentials.plugin.as_ref().unwrap();
        held.lock().await.asked -= REST;
        assert_eq!(version(&credentials).await, 3);
    }
}
