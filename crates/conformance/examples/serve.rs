//! Serves an empty cluster until it is interrupted, and says where its kubeconfig is.

#![expect(clippy::print_stdout, reason = "a command's output")]

#[tokio::main]
async fn main() {
    let cluster = rota_conformance::cluster::Cluster::start().await;
    println!("{}", cluster.kubeconfig().display());
    std::future::pending::<()>().await;
}
