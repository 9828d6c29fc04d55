//! Feeds inputs to a target and watches: no panic, no hang, no more memory than the input justifies.
//!
//! Inputs that are answered in a new way join the ones that further inputs are made of, so the search gets deeper with time.

use std::any::Any;
use std::collections::HashSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// How many inputs a target gets where nothing else is asked for. With `FUZZ_SECS` it gets as many as fit into that time.
pub(crate) const INPUTS: u64 = 2_000;

/// The seed of the inputs where `FUZZ_SEED` names none.
const SEED: u64 = 20_260_701;

/// Longest that one input may take, on a machine that does much else. Far more than any takes.
const HANG: Duration = Duration::from_secs(60);

/// The most memory that an input may take at once for each of its bytes, beyond [`Target::MEMORY_BASE`].
const MEMORY_PER_BYTE: u64 = 512;

/// How many inputs may join.
const POOL_MAX: usize = 20_000;

/// What is fed.
pub(crate) trait Target {
    /// An input.
    type Input: Clone + Debug + Send + 'static;

    /// The most memory that any input may take at once. Unit: bytes.
    const MEMORY_BASE: u64 = 4 << 20;

    /// The inputs to begin with.
    fn seeds(&mut self) -> Vec<Self::Input>;

    /// An input near `input`, with parts of `other`.
    fn mutate(&mut self, rng: &mut Rng, input: &Self::Input, other: &Self::Input) -> Self::Input;

    /// Its size. Unit: bytes.
    fn size(&self, input: &Self::Input) -> usize;

    /// Feeds it; gives how it was answered. Panics when an answer is wrong.
    fn feed(&mut self, input: &Self::Input) -> String;
}

/// Feeds a target with mutations of its seeds.
///
/// Panics with the input when it is answered wrongly.
pub(crate) fn run<T: Target>(mut target: T) {
    let secs: Option<u64> = variable("FUZZ_SECS");
    let seed = variable("FUZZ_SEED").unwrap_or(if secs.is_some() { fastrand::u64(..) } else { SEED });
    let mut rng = Rng::with_seed(seed);
    let mut pool = target.seeds();
    assert!(!pool.is_empty(), "there is something to begin with");
    let mut answers = HashSet::new();
    let watch = watch_for_hangs();
    let began = Instant::now();
    let goes_on = |number: u64| match secs {
        Some(secs) => began.elapsed() < Duration::from_secs(secs),
        None => number < INPUTS,
    };
    let mut number = 0;
    let mut peak = 0;
    while goes_on(number) {
        let input = if number < pool.len() as u64 && secs.is_some() {
            pool[usize::try_from(number).unwrap_or_default()].clone()
        } else {
            let one = rng.usize(0..pool.len());
            let other = rng.usize(0..pool.len());
            target.mutate(&mut rng, &pool[one], &pool[other])
        };
        let shown = input.clone();
        let _ = watch.send(Box::new(move || format!("seed {seed}, input {number}: {shown:?}")));
        let mut answer = Err(Box::new("not fed") as Box<dyn Any + Send>);
        let taken = allocation_counter::measure(|| {
            answer = catch_unwind(AssertUnwindSafe(|| target.feed(&input)));
        });
        let size = target.size(&input) as u64;
        let allowed = T::MEMORY_BASE + MEMORY_PER_BYTE * size;
        assert!(
            taken.bytes_max <= allowed,
            "{} bytes of memory for {size} bytes of input, seed {seed}, input {number}: {input:?}",
            taken.bytes_max
        );
        peak = peak.max(taken.bytes_max);
        let answer = answer.unwrap_or_else(|panic| {
            panic!("seed {seed}, input {number}: {}\n{input:?}", said(panic.as_ref()));
        });
        if answers.insert(shape(&answer)) && pool.len() < POOL_MAX {
            pool.push(input);
        }
        number += 1;
    }
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!(
            "{number} inputs, {} kinds of answer, at most {} KiB at once, seed {seed}\n",
            answers.len(),
            peak >> 10
        ),
    );
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")),
    )
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// An answer without what differs between answers of one kind.
fn shape(answer: &str) -> String {
    let quoted = answer.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    let words = quoted.chars().filter(|c| !c.is_ascii_digit());
    words.take(160).collect()
}

type Shown = Box<dyn FnOnce() -> String + Send>;

/// A thread that ends the process when no next input is announced for long: a thread that hangs cannot be ended alone.
fn watch_for_hangs() -> Sender<Shown> {
    let (sender, receiver) = mpsc::channel::<Shown>();
    std::thread::spawn(move || {
        let mut current: Option<Shown> = None;
        loop {
            match receiver.recv_timeout(HANG) {
                Ok(next) => current = Some(next),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let shown = current.map(|shown| shown()).unwrap_or_default();
                    let text = format!("no answer for {HANG:?}: {shown}\n");
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
                    std::process::exit(101);
                }
            }
        }
    });
    sender
}
