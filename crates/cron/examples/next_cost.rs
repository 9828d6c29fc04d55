//! What a question to a schedule costs, in nanoseconds.
//!
//! ```sh
//! cargo run --release -p rota-cron --example next_cost
//! ```
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::hint::black_box;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rota_cron::{Schedule, Zone};

const ROUNDS: u32 = 200_000;

fn main() {
    let schedules = [
        ("* * * * *", "UTC"),
        ("*/15 9-17 * * 1-5", "UTC"),
        ("*/15 9-17 * * 1-5", "America/New_York"),
        ("0 3 * * *", "Asia/Seoul"),
        ("30 2 * * 0", "Europe/Berlin"),
        ("0 0 31 * *", "Africa/Casablanca"),
        ("0 0 29 2 *", "Australia/Lord_Howe"),
        ("59 23 31 2 *", "UTC"),
        ("@every 1h", "UTC"),
    ];
    println!("nanoseconds a call, zones of {}", Zone::database_version());
    println!(
        "{:<22} {:<22} {:>7} {:>9} {:>8} {:>7}",
        "schedule", "zone", "next", "previous", "count", "parse"
    );
    for (text, zone_name) in schedules {
        let zone = Zone::load(zone_name).expect("the zone is in the database");
        let schedule = Schedule::parse(text).expect("the schedule is one").in_zone(zone);
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut at = start;
        let next = cost(|| at = schedule.next(black_box(at)).unwrap_or(start));
        let mut at = start;
        let previous = cost(|| at = schedule.previous(black_box(at)).unwrap_or(start));
        let year = start + SignedDuration::from_hours(365 * 24);
        let count = cost(|| {
            black_box(schedule.count(black_box(start), year));
        });
        let parse = cost(|| {
            let zone = Zone::load(black_box(zone_name)).expect("the zone is in the database");
            black_box(Schedule::parse(black_box(text)).map(|schedule| schedule.in_zone(zone))).ok();
        });
        println!("{text:<22} {zone_name:<22} {next:>7} {previous:>9} {count:>8} {parse:>7}");
    }
}

fn cost(mut call: impl FnMut()) -> u128 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        call();
    }
    start.elapsed().as_nanos() / u128::from(ROUNDS)
}
