//! Nothing that a client sends makes the server panic, hang, or take memory out of proportion.
//!
//! Inputs are mutations of the recorded requests and of their parts. Every run of the tests feeds each target the same few
//! thousand. To look longer: `FUZZ_SECS=3600 cargo test --release -p rota-conformance --test fuzz -- --nocapture`, which
//! gives each target that many seconds and inputs of its own; `FUZZ_SEED` repeats a run.

mod corpus;
mod mutate;
mod objects;
mod requests;
mod runner;
mod texts;

use corpus::Corpus;
use objects::{Applies, Bodies, Patches};
use requests::Requests;
use runner::run;
use texts::Texts;

#[test]
fn bodies_in_every_encoding_are_read_checked_and_written() {
    run(Bodies(Corpus::load().bodies));
}

#[test]
fn patches_of_every_kind_are_read_and_applied() {
    run(Patches::new(Corpus::load()));
}

#[test]
fn apply_configurations_are_merged_again_and_again() {
    run(Applies::new(Corpus::load()));
}

#[test]
fn selectors_select_or_are_refused() {
    let is_one = |text: &str| text.contains(['=', '!', '(', ',']);
    let more = [
        "a in (b,c),!d,e notin (f)",
        "metadata.name=a,spec.nodeName!=b",
        "a>1,b<2",
    ];
    run(Texts::new(&Corpus::load().texts, is_one, &more, texts::selector));
}

#[test]
fn quantities_are_read_or_refused() {
    let is_one = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) && text.len() < 40;
    let more = [
        "1",
        "100m",
        "1.5Gi",
        "1e3",
        "12E",
        "0.0000000001",
        "-1Ki",
        "9999999999999999999999",
    ];
    run(Texts::new(&Corpus::load().texts, is_one, &more, texts::quantity));
}

#[test]
fn schedules_fire_in_order_or_are_refused() {
    let is_one = |text: &str| text.split_whitespace().count() == 5 || text.starts_with('@');
    let more = [
        "*/5 0-12/3 1,15 jan-dec mon-fri",
        "@every 1h30m",
        "TZ=Asia/Tokyo 0 0 29 2 *",
        "0 0 31 */2 ?",
    ];
    run(Texts::new(&Corpus::load().texts, is_one, &more, texts::schedule));
}

#[test]
fn names_are_taken_or_refused() {
    run(Texts::new(&Corpus::load().texts, |_| true, &[], texts::name));
}

#[test]
fn paths_and_queries_are_taken_apart() {
    let corpus = Corpus::load();
    let uris: Vec<String> = corpus.requests.into_iter().map(|request| request.uri).collect();
    run(Texts::new(&uris, |_| true, &[], texts::path));
}

#[test]
fn requests_are_always_answered() {
    run(Requests::new(Corpus::load().requests));
}
