//! A server in process, over a store in memory, on a free port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use rota_api::resource::Served;
use rota_api::validate::Checks;
use rota_apiserver::node_access::NoNodes;
use rota_apiserver::{Config, Kubeconfig, NodeAccess, Pki, Server, authorization};
use rota_cluster::{LocalCluster, Metrics, Recorder, drive};
use rota_reconcile::Controller;
use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::disruption::DisruptionController;
use rota_reconcile::garbage::GarbageCollector;
use rota_reconcile::namespace::NamespaceController;
use rota_reconcile::quota::QuotaController;
use rota_reconcile::storage_protection::StorageProtection;
use rota_registry::{Caller, Env, Registry, Settings, bootstrap};
use rota_store::MemoryStore;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Real time and real randomness.
pub struct RealEnv(SystemRandom);

impl Env for RealEnv {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes).expect("a machine that runs tests has entropy");
        u64::from_ne_bytes(bytes)
    }
}

/// A running server; it ends when this is dropped.
pub struct Cluster {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its identities.
    pub pki: Arc<Pki>,
    /// Its objects.
    pub registry: Arc<Registry>,
    /// A scratch directory that lives as long as the server.
    pub directory: TempDir,
    stop: CancellationToken,
    _stop: DropGuard,
    _server: JoinHandle<()>,
}

impl Cluster {
    /// Starts a server with the objects that every cluster has.
    ///
    /// # Panics
    ///
    /// When it cannot be started: no test can go on without it.
    pub async fn start() -> Self {
        Self::start_with(Arc::new(NoNodes)).await
    }

    /// Starts a server as the recorded one was set up: only what upstream serves, and the controllers that cases wait for.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    pub async fn like_recorded() -> Self {
        let upstream = Served { batch_v1beta1: false };
        let cluster = Self::serving(Arc::new(NoNodes), upstream).await;
        let port = |user: &str| -> Arc<dyn rota_cluster::Cluster> {
            let caller = Caller::system(user);
            Arc::new(LocalCluster::new(Arc::clone(&cluster.registry), caller))
        };
        let recorder = Recorder::start(port("system:rota"), cluster.stop.clone());
        let controllers: Vec<Box<dyn Controller>> = vec![
            Box::new(DaemonSetController::default()),
            Box::new(DisruptionController),
            Box::new(GarbageCollector::default()),
            Box::new(NamespaceController),
            Box::new(QuotaController::default()),
            Box::new(StorageProtection),
        ];
        let manager = port("system:kube-controller-manager");
        tokio::spawn(drive(
            manager,
            controllers,
            recorder,
            Metrics::default(),
            cluster.stop.clone(),
        ));
        cluster
    }

    /// Starts a server whose containers are reached through `nodes`.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    pub async fn start_with(nodes: Arc<dyn NodeAccess>) -> Self {
        Self::serving(nodes, Served::default()).await
    }

    async fn serving(nodes: Arc<dyn NodeAccess>, served: Served) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory can be made");
        let pki = Arc::new(Pki::open(&directory.path().join("pki"), Timestamp::now()).expect("identities can be made"));
        let checks = Checks {
            schedule: rota_cron::check_schedule,
            time_zone: rota_cron::check_time_zone,
        };
        let settings = Settings {
            cluster_ca: pki.ca_pem().to_owned(),
            ..Settings::new(checks)
        };
        let env = Arc::new(RealEnv(SystemRandom::new()));
        let registry =
            Registry::open(Arc::new(MemoryStore::new()), env, settings).expect("an empty store can be opened");
        let config = Config {
            served,
            ..Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::clone(&pki))
        };
        let server = Server::bind(config, Arc::clone(&registry), nodes)
            .await
            .expect("a free port can be had");
        let address = server.address();
        let reached = bootstrap::ApiServer {
            cluster_ip: "10.96.0.1".to_owned(),
            // Endpoints may not be loopback addresses; nobody connects to this one.
            address: Some("192.0.2.1".to_owned()),
            port: address.port(),
        };
        bootstrap::ensure(&registry, Some(&reached))
            .await
            .expect("the first objects can be stored");
        authorization::bootstrap::ensure(&registry)
            .await
            .expect("the first roles can be stored");
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        Self {
            address,
            pki,
            registry,
            directory,
            stop: stop.clone(),
            _stop: stop.drop_guard(),
            _server: running,
        }
    }

    /// Writes a kubeconfig of a user who may do everything; returns its path.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn kubeconfig(&self) -> PathBuf {
        let server = format!("https://{}", self.address);
        let config = Kubeconfig::admin(&self.pki, &server, Timestamp::now()).expect("certificates can be issued");
        let path = self.directory.path().join("kubeconfig");
        std::fs::write(&path, config.to_string()).expect("a scratch file can be written");
        path
    }
}
