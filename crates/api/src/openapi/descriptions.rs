//! What types and fields are for, in sentences of our own.
//!
//! They are read when a document is made and dropped with it: a server whose documents nobody asks for spends nothing on
//! them.

use std::collections::HashMap;

use crate::table::{Field, Type};

const DESCRIPTIONS: &str = include_str!("../../data/descriptions.tsv");
/// Stands for every kind: fields that all kinds have are described once.
const EVERY_KIND: &str = "*";

/// The descriptions by type and field. The field is empty where the type itself is described.
pub(super) struct Descriptions(HashMap<(&'static str, &'static str), &'static str>);

impl Descriptions {
    /// Reads the file, which is part of the program: a line that does not parse is a fault of the build.
    pub(super) fn read() -> Self {
        Self(lines().collect())
    }

    /// What the type is for.
    pub(super) fn of_type(&self, of: &Type) -> Option<&'static str> {
        self.0.get(&(of.name, "")).copied()
    }

    /// What a field of the type is for.
    pub(super) fn of_field(&self, of: &Type, field: &Field) -> Option<&'static str> {
        let own = self.0.get(&(of.name, field.name));
        let shared = || self.0.get(&(EVERY_KIND, field.name)).filter(|_| !of.kinds.is_empty());
        own.or_else(shared).copied()
    }
}

fn lines() -> impl Iterator<Item = ((&'static str, &'static str), &'static str)> {
    let lines = DESCRIPTIONS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut columns = line.splitn(3, '\t');
        let (Some(owner), Some(field), Some(text)) = (columns.next(), columns.next(), columns.next()) else {
            panic!("the descriptions have a line without its three columns: {line}")
        };
        ((owner, field), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::schemas::reachable;
    use crate::resource::Served;
    use crate::table::schema;

    #[test]
    fn each_line_speaks_of_something_in_the_type_table() {
        let schema = schema();
        for ((owner, field), _) in lines() {
            let known = match schema.by_name(owner) {
                Some(of) => field.is_empty() || of.field(field).is_some(),
                None => owner == EVERY_KIND,
            };
            assert!(known, "{owner} {field}");
        }
    }

    #[test]
    fn lines_are_in_order_and_say_each_thing_once() {
        let keys: Vec<_> = lines().map(|(key, _)| key).collect();
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }

    #[test]
    fn descriptions_are_short_sentences() {
        for ((owner, field), text) in lines() {
            let is_sentence =
                text.starts_with(|first: char| !first.is_lowercase() && first != ' ') && text.ends_with('.');
            assert!(is_sentence, "{owner} {field}: {text}");
            assert!(text.len() <= 400, "{owner} {field}: {} characters", text.len());
        }
    }

    #[test]
    fn everything_that_is_served_is_described() {
        let schema = schema();
        let descriptions = Descriptions::read();
        let resources: Vec<_> = Served::default().resources().collect();
        let mut missing = Vec::new();
        for id in reachable(schema, &resources) {
            let of = &schema[id];
            if descriptions.of_type(of).is_none() {
                missing.push(of.name.to_owned());
            }
            let fields = of
                .fields
                .iter()
                .filter(|field| descriptions.of_field(of, field).is_none());
            missing.extend(fields.map(|field| format!("{}.{}", of.name, field.name)));
        }
        assert_eq!(missing, [""; 0]);
    }
}
