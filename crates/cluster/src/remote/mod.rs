//! Any Kubernetes API server, over HTTPS.
//!
//! TLS and credentials are kube-rs'; the requests are ours, because writes are values here and objects are kept whole. A
//! write is one request and is carried out once, whatever becomes of its answer ([`settle`]). There are no transactions.
//!
//! | chapter | what it answers |
//! | --- | --- |
//! | [`transport`], [`gzip`] | what came of one request? |
//! | [`credentials`], [`exec_plugin`] | by what does the server know us, and until when? |
//! | [`request`] | what does a write look like as a request? |
//! | [`write`](mod@write), [`settle`], [`recognise`] | was it done? is it sent again? |
//! | [`list`](mod@list), [`watch`](mod@watch) | what is there, and what happens, without gaps? |
//! | [`prune`] | what of it is kept? |
//! | [`budget`], [`pressure`] | how fast, how many at once? |
//! | [`preflight`] | may we, can we, and does anybody else do it already? |
//! | [`rivals`], [`traffic`] | who else writes, and what did we ask for? |

pub mod budget;
mod credentials;
mod exec_plugin;
mod gzip;
mod list;
pub mod preflight;
mod pressure;
mod prune;
mod recognise;
mod request;
pub mod rivals;
mod settle;
pub mod traffic;
mod transport;
mod watch;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::Method;
use kube::client::Body;
use rota_api::resource::Scope;
use rota_api::{ApiError, Object, Resource, Revision, Write};
use serde_json::{Value, json};

use self::budget::Budget;
use self::credentials::Credentials;
use self::pressure::Pressure;
use self::rivals::Rivals;
use self::traffic::Traffic;
pub(crate) use self::transport::unreachable_error;
use self::transport::{Answer, Attempt, Prepared, Transport};
use crate::fence::Fence;
use crate::port::{Cluster, Listing, Selection, Watch, Written};

/// How this program names itself to servers.
const USER_AGENT: &str = concat!("rota-controllers/", env!("CARGO_PKG_VERSION"));
/// How long an answer may take. Servers give up after a minute themselves.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How often a read is tried before its refusal stands.
const READS_MAX: u32 = 5;
/// The first pause before a read is tried again; doubles each time.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// The longest that a server may ask to be left alone for, and the longest pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How a cluster is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nothing is sent once this is closed.
    pub fence: Fence,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Kinds that live in namespaces are seen in this one only; `None`: in all.
    pub namespace: Option<String>,
    /// Keep of what is seen only the fields that controllers read.
    pub prunes: bool,
    /// How often the server may be asked to change something, or to show one thing.
    pub budget: Arc<Budget>,
    /// Counts the requests.
    pub traffic: Arc<Traffic>,
    /// Told of what others write, where that matters.
    pub rivals: Option<Arc<Rivals>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fence: Fence::none(),
            timeout: ANSWER_MAX,
            namespace: None,
            prunes: false,
            budget: Arc::new(Budget::none()),
            traffic: Arc::default(),
            rivals: None,
        }
    }
}

/// The adapter. Cheap to clone.
#[derive(Clone)]
pub struct RemoteCluster {
    inner: Arc<Inner>,
}

struct Inner {
    requests: Transport,
    /// Connections of their own: a reader who falls behind must not hold up answers.
    watches: Transport,
    options: Options,
    pressure: Pressure,
    streams_lists: AtomicBool,
}

impl RemoteCluster {
    /// The cluster that `config` leads to.
    ///
    /// Errors: the credentials cannot be used.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who connects is done with the configuration"
    )]
    pub fn connect(config: kube::Config) -> Result<Self, kube::Error> {
        Self::connect_with(&config, Options::default())
    }

    /// The same, used in a certain way.
    ///
    /// Errors: the credentials cannot be used.
    pub fn connect_with(config: &kube::Config, options: Options) -> Result<Self, kube::Error> {
        let (credentials, usable) = Credentials::of(config)?;
        let credentials = Arc::new(credentials);
        let transport = || Transport::new(Arc::clone(&credentials), &usable, &options.fence, options.timeout);
        Ok(Self {
            inner: Arc::new(Inner {
                requests: transport()?,
                watches: transport()?,
                options,
                pressure: Pressure::default(),
                streams_lists: AtomicBool::new(true),
            }),
        })
    }

    /// The answer to one request, as JSON. Tried once.
    ///
    /// Errors: the server refused, with its own words; or `ServiceUnavailable` when it cannot be reached.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        content: &'static str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let prepared = Prepared {
            method,
            path: path.to_owned(),
            content,
            body: if body.is_null() {
                bytes::Bytes::new()
            } else {
                body.to_string().into_bytes().into()
            },
        };
        match self.attempt(&prepared).await {
            Attempt::Answered(answer) => json_of(&answer),
            Attempt::NotSent(error) | Attempt::Unknown(error) => Err(error),
        }
    }

    /// The bytes of a streamed answer, such as a pod's log.
    ///
    /// Errors: as for [`RemoteCluster::request`].
    pub async fn stream(&self, path: &str) -> Result<Body, ApiError> {
        let response = match self.watches().open(path).await {
            Ok(response) => response,
            Err(Attempt::NotSent(error) | Attempt::Unknown(error)) => return Err(error),
            Err(Attempt::Answered(answer)) => return Err(refusal(&answer)),
        };
        let code = response.status();
        if code.as_u16() < 400 {
            return Ok(response.into_body());
        }
        let headers = response.headers().clone();
        let body = self.watches().refusal(response.into_body()).await?;
        Err(refusal(&Answer { code, headers, body }))
    }

    /// How many requests are under way, watches left out.
    pub fn requests_under_way(&self) -> u32 {
        self.inner.pressure.used()
    }

    /// Sends one request when its turn comes.
    async fn attempt(&self, prepared: &Prepared) -> Attempt {
        let inner = &*self.inner;
        inner.options.budget.spend().await;
        let place = inner.pressure.enter().await;
        let began = Instant::now();
        let attempt = inner.requests.attempt(prepared).await;
        drop(place);
        let code = match &attempt {
            Attempt::Answered(answer) => answer.code.as_u16(),
            Attempt::NotSent(_) | Attempt::Unknown(_) => 0,
        };
        match code {
            429 => inner.pressure.pushed_back(),
            200..=499 => inner.pressure.served(),
            _ => {}
        }
        let traffic = &inner.options.traffic;
        traffic.answered(&prepared.method, &prepared.path, code, began.elapsed());
        attempt
    }

    /// The answer to a read, which is tried again while the server is busy or out of reach for a moment.
    async fn read(&self, prepared: Prepared) -> Result<Value, ApiError> {
        let mut pause = READ_PAUSE;
        for _ in 1..READS_MAX {
            match self.attempt(&prepared).await {
                Attempt::Answered(answer) if answer.code.as_u16() >= 500 || answer.code.as_u16() == 429 => {
                    pause = pause.max(retry_after(&answer).unwrap_or_default());
                }
                Attempt::Answered(answer) => return json_of(&answer),
                Attempt::NotSent(_) | Attempt::Unknown(_) => {}
            }
            if !self.fence().is_open() {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
        match self.attempt(&prepared).await {
            Attempt::Answered(answer) => json_of(&answer),
            Attempt::NotSent(error) | Attempt::Unknown(error) => Err(error),
        }
    }

    fn watches(&self) -> &Transport {
        &self.inner.watches
    }

    fn fence(&self) -> &Fence {
        &self.inner.options.fence
    }

    fn traffic(&self) -> &Traffic {
        &self.inner.options.traffic
    }

    fn streams_lists(&self) -> &AtomicBool {
        &self.inner.streams_lists
    }

    /// The namespace that is looked at; empty for all.
    fn scope<'s>(&'s self, resource: &Resource, selection: &'s Selection) -> &'s str {
        let own = self.inner.options.namespace.as_deref();
        let own = own.filter(|_| resource.scope == Scope::Namespaced);
        selection.namespace.as_deref().or(own).unwrap_or_default()
    }

    /// An object that a list or a watch showed, as it is kept.
    fn seen(&self, resource: &'static Resource, mut object: Value) -> Arc<Object> {
        if let Some(rivals) = &self.inner.options.rivals {
            rivals.inspect(resource, &object);
        }
        if self.inner.options.prunes {
            prune::prune(resource, &mut object);
        }
        Arc::new(Object::from_value(resource, object))
    }
}

#[async_trait]
impl Cluster for RemoteCluster {
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        let path = request::object_path(resource, namespace, name, None);
        let value = self.read(Prepared::get(path)).await?;
        Ok(Arc::new(Object::from_value(resource, value)))
    }

    async fn list(&self, resource: &'static Resource, selection: &Selection) -> Result<Listing, ApiError> {
        list::list(self, resource, selection).await
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        selection: &Selection,
        from: Revision,
    ) -> Result<Watch, ApiError> {
        watch::watch(self, resource, selection, from).await
    }

    async fn write(&self, write: Write) -> Result<Written, ApiError> {
        write::write(self, write).await
    }
}

/// The answer as JSON, or the refusal that it is.
fn json_of(answer: &Answer) -> Result<Value, ApiError> {
    if answer.code.as_u16() >= 400 {
        return Err(refusal(answer));
    }
    Ok(serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&answer.body).trim_end()})))
}

fn refusal(answer: &Answer) -> ApiError {
    let status: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&answer.body).trim_end()}));
    ApiError::from_status(&status, answer.code.as_u16())
}

/// For how long the server asks to be left alone, within reason.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let header = answer.headers.get(http::header::RETRY_AFTER)?;
    let asked = header.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)?;
    Some(asked.min(RETRY_AFTER_MAX))
}
