//! Texts with a grammar of their own: selectors, quantities, schedules, names, paths and queries.

use std::collections::BTreeMap;

use fastrand::Rng;
use http::Method;
use rota_api::names;
use rota_api::quantity::Quantity;
use rota_api::resource;
use rota_api::selector::{FieldSelector, LabelSelector};
use rota_api::{Object, Timestamp};
use rota_apiserver::path::RequestInfo;
use rota_apiserver::query::Query;
use rota_cron::{Schedule, Zone};
use serde_json::json;

use crate::mutate;
use crate::runner::Target;

/// Texts, fed to one reader.
pub(crate) struct Texts {
    seeds: Vec<String>,
    reader: fn(&str) -> String,
}

impl Texts {
    /// The recorded texts that `is_one` takes, and `more`, for `reader`.
    pub(crate) fn new(texts: &[String], is_one: fn(&str) -> bool, more: &[&str], reader: fn(&str) -> String) -> Self {
        let recorded = texts.iter().filter(|text| text.len() < 4096 && is_one(text));
        Self {
            seeds: recorded
                .cloned()
                .chain(more.iter().map(|&text| text.to_owned()))
                .collect(),
            reader,
        }
    }
}

impl Target for Texts {
    type Input = String;

    fn seeds(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seeds)
    }

    fn mutate(&mut self, rng: &mut Rng, input: &String, other: &String) -> String {
        mutate::text(rng, input, other)
    }

    fn size(&self, input: &String) -> usize {
        input.len()
    }

    fn feed(&mut self, input: &String) -> String {
        (self.reader)(input)
    }
}

/// Reads a label selector and a field selector of each of some kinds, and selects with them.
pub(crate) fn selector(text: &str) -> String {
    let labels =
        BTreeMap::from([("app", "web"), ("tier", ""), ("a/b", "c")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let mut answers = Vec::new();
    match LabelSelector::parse(text) {
        Ok(selector) => {
            answers.push(selector.matches(&labels).to_string());
            let again = LabelSelector::parse(&selector.to_string()).expect("a selector's own text can be read");
            assert_eq!(again, selector, "{selector}");
        }
        Err(error) => answers.push(error.to_string()),
    }
    for resource in [resource::PODS, resource::JOBS, resource::EVENTS, resource::CONFIG_MAPS] {
        let object = json!({"metadata": {"name": "n", "namespace": "d", "uid": "u"}, "spec": {"nodeName": "x"}});
        let object = Object::from_value(resource, object);
        answers.push(match FieldSelector::parse(resource, text) {
            Ok(selector) => selector.matches(&object).to_string(),
            Err(error) => error.to_string(),
        });
    }
    answers.join(" ")
}

/// Reads a quantity, and reckons with it.
pub(crate) fn quantity(text: &str) -> String {
    let quantity = match Quantity::parse(text) {
        Ok(quantity) => quantity,
        Err(error) => return error.to_string(),
    };
    let canonical = quantity.canonical();
    let again = Quantity::parse(&canonical).expect("a canonical text can be read");
    assert_eq!(again.canonical(), canonical);
    assert_eq!(again.units(), quantity.units());
    assert_eq!(again.millis(), quantity.millis());
    let double = quantity.plus(&quantity);
    assert!(double.is_negative() == quantity.is_negative());
    assert!(quantity.minus(&quantity).is_zero());
    let _ = (quantity.rounded_up_to_millis(), double.minus(&again).canonical());
    format!("{:?} {} {}", quantity.format(), quantity.is_whole(), canonical.len())
}

/// Reads a schedule, and asks when it fires.
pub(crate) fn schedule(text: &str) -> String {
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => return error.to_string(),
    };
    for zone in ["Europe/Berlin", "America/St_Johns", "Pacific/Apia"] {
        let schedule = schedule.clone().in_zone(Zone::load(zone).expect("the zone is known"));
        for after in [0, 1_774_746_000, 1_792_893_600, 253_402_300_799 - 400_000_000] {
            let after = Timestamp::from_second(after).expect("a time");
            let Some(next) = schedule.next(after) else { continue };
            assert!(next > after, "the next time is later");
            assert_eq!(schedule.count(after, next), 1, "nothing lies before the next time");
            assert_eq!(
                schedule.latest(after, next),
                Some(next),
                "the latest until the next is the next"
            );
            if let Some(previous) = schedule.previous(next) {
                assert!(previous <= after, "nothing lies between");
            }
        }
    }
    format!(
        "{} {:?}",
        schedule.is_interval(),
        schedule.next(Timestamp::UNIX_EPOCH).is_some()
    )
}

/// Reads names of all forms.
pub(crate) fn name(text: &str) -> String {
    let rules = [
        names::dns_label,
        names::dns_subdomain,
        names::dns_subdomain_with_underscore,
        names::dns_1035_label,
        names::qualified_name,
        names::label_value,
        names::path_segment,
        names::config_key,
        names::port_name,
        names::env_var_name,
    ];
    let broken: Vec<&str> = rules
        .iter()
        .map(|rule| if rule(text).is_empty() { "y" } else { "n" })
        .collect();
    let generated = names::generate(text, 7);
    assert!(generated.len() <= text.len().max(58) + 5, "{generated}");
    let _ = Zone::load(text).is_ok();
    broken.concat()
}

/// Reads a path with its query.
pub(crate) fn path(text: &str) -> String {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let query = Query::parse(query);
    let info = RequestInfo::parse(&Method::GET, path, &query);
    let numbers = ["limit", "timeoutSeconds"].map(|name| query.integer(name).is_ok());
    info.map_or_else(String::new, |info| {
        let _ = (info.authorized_name(&query), info.resource_and_subresource());
        format!(
            "{} {} {} {numbers:?} {:?}",
            info.verb,
            info.resource,
            info.subresource,
            query.flag("watch")
        )
    })
}
