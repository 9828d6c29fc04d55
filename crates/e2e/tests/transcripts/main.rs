//! What kubectl prints: transcripts of three versions of it against clusters of their own, compared word for word after
//! times, ages and generated names were replaced.
//!
//! `data/transcripts/README.md` says how to read, record and review them.

mod normal;
mod run;
mod transcript;

use std::fmt::Write as _;
use std::path::PathBuf;

use rota_e2e::{Cluster, Image, kubectls};
use run::{Terminal, recording};
use transcript::{Part, Step, Version, parse, render};

/// The versions that the transcripts were recorded with. Any other is held to what all of these print alike.
const RECORDED: [Version; 3] = [(1, 20), (1, 32), (1, 36)];

/// Where the transcripts and their manifests are.
fn data() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/transcripts"))
}

/// Carries out the transcript `name` with each kubectl, each against a cluster of its own; they run side by side.
fn check(name: &str, options: &[&str], images: &[Image]) {
    let path = data().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut parts = parse(&text);
    let steps: Vec<Step> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Step(step) => Some(step.clone()),
            Part::Comment(_) => None,
        })
        .collect();
    let found: Vec<(Version, Vec<(String, bool)>)> = std::thread::scope(|scope| {
        let each = kubectls().into_iter().map(|kubectl| {
            let steps = &steps;
            scope.spawn(move || {
                let mut terminal = Terminal::new(&kubectl, Cluster::start(options, images));
                let printed = steps.iter().map(|step| terminal.step(step)).collect();
                (terminal.version, printed)
            })
        });
        let running: Vec<_> = each.collect();
        running.into_iter().map(|one| one.join().expect("it ran")).collect()
    });
    if recording() {
        let steps = parts.iter_mut().filter_map(|part| match part {
            Part::Step(step) => Some(step),
            Part::Comment(_) => None,
        });
        for (at, step) in steps.enumerate() {
            step.record(
                found
                    .iter()
                    .map(|(version, printed)| (*version, printed[at].0.clone()))
                    .collect(),
            );
        }
        std::fs::write(&path, render(&parts)).expect("the transcript can be written");
    }
    let mut wrong = String::new();
    for (version, printed) in &found {
        for (step, (text, same)) in steps.iter().zip(printed) {
            let is_known = step.printed.len() < 2 || RECORDED.contains(version);
            if !same && is_known {
                let expected = step.expected(*version);
                let _ = writeln!(
                    wrong,
                    "--- {name}, kubectl {}.{}: {}\n--- expected\n{expected}\n--- printed\n{text}\n",
                    version.0, version.1, step.command
                );
            }
        }
    }
    assert!(wrong.is_empty() || recording(), "{wrong}");
}

/// Two simulated nodes.
const SIMULATED: [&str; 2] = ["--sim-nodes", "2"];

macro_rules! transcripts {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), &SIMULATED, &[]);
        })*
    };
}

transcripts!(
    discovery,
    jobs,
    cron_jobs,
    daemon_sets,
    nodes,
    changes,
    apply,
    access,
    objects
);

#[test]
fn containers() {
    check("containers", &[], &[Image::Busybox]);
}
