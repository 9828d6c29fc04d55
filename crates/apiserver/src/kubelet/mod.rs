//! The protocol between the API server and nodes: logs, commands and ports of the containers on a node, over HTTPS.
//!
//! Both sides: [`server`] is the endpoint that a node offers, [`client`] is how the API server uses it. The protocol is the
//! kubelet's, so the client reaches a stock kubelet too. Sessions go over SPDY/3.1, which every kubelet speaks.
//!
//! Nodes prove who they are by a certificate of the cluster's authority, and so does the API server, which is the only one
//! that a node lets in.
//!
//! Source: `spec/api.md` §4.4; kubernetes `pkg/kubelet/server/server.go`.

pub mod client;
pub mod server;

/// The name in the certificate by which nodes know the API server.
pub const API_SERVER: &str = "kube-apiserver-kubelet-client";
/// The group in it: a stock kubelet asks the API server what its caller may, and this group may everything.
pub const API_SERVER_GROUP: &str = "system:masters";
/// The port of the endpoint, unless it is taken.
pub const PORT: u16 = 10250;

/// Escapes a word for a path or a query.
fn escape(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for byte in word.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// A query of these names and values.
fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", escape(&value)))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    #[test]
    fn words_survive_a_query() {
        let words = ["sh -c 'a=b&c'", "ä/+%", ""];
        let text = query(words.map(|word| ("command", word.to_owned())));
        let read: Vec<String> = Query::parse(&text).all("command").map(str::to_owned).collect();
        assert_eq!(read, words);
    }
}
