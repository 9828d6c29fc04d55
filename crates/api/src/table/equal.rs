//! Equality of two values of one type, where amounts are equal that are spelt in different ways.
//!
//! Source: `equality.Semantic` of kubernetes `apimachinery/pkg/api/equality`.

use serde_json::Value;

use super::{Shape, Target, schema};
use crate::quantity::Quantity;
use crate::value::semantically_equal;

/// Whether two values of the named type mean the same: absent, null and empty are equal, and so are 1 and 1000m.
pub(crate) fn means_the_same(schema_type: &str, a: &Value, b: &Value) -> bool {
    let of_type = || {
        schema()
            .id(schema_type)
            .is_some_and(|id| equal(&Target::Type(id), a, b))
    };
    semantically_equal(a, b) || of_type()
}

fn equal(target: &Target, a: &Value, b: &Value) -> bool {
    match target {
        Target::Type(id) => match schema()[*id].shape {
            Shape::Quantity => same_amount(a, b),
            Shape::Struct => {
                let of = &schema()[*id];
                each(a, b, |key, a, b| match of.field(key) {
                    Some(field) => equal(&field.target, a, b),
                    None => semantically_equal(a, b),
                })
            }
            _ => semantically_equal(a, b),
        },
        Target::Map(element) => each(a, b, |_, a, b| equal(element, a, b)),
        Target::List(element) => match (a, b) {
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(element, a, b))
            }
            _ => semantically_equal(a, b),
        },
        _ => semantically_equal(a, b),
    }
}

/// Whether two objects agree member by member.
fn each(a: &Value, b: &Value, agree: impl Fn(&str, &Value, &Value) -> bool) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else {
        return semantically_equal(a, b);
    };
    a.iter()
        .all(|(key, value)| agree(key, value, b.get(key).unwrap_or(&Value::Null)))
        && b.iter()
            .all(|(key, value)| a.contains_key(key) || semantically_equal(value, &Value::Null))
}

fn same_amount(a: &Value, b: &Value) -> bool {
    match (Quantity::from_value(a), Quantity::from_value(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => semantically_equal(a, b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_compared_by_value_and_texts_as_they_are() {
        let template = |cpu: &str, label: &str| {
            json!({"metadata": {"labels": {"cpu": label}},
                   "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": cpu}}}], "volumes": []}})
        };
        let same = |a, b| means_the_same("io.k8s.api.core.v1.PodTemplateSpec", &a, &b);
        assert!(same(template("1", "1"), template("1000m", "1")));
        assert!(same(template("1", "1"), template("+1", "1")));
        assert!(!same(template("1", "1"), template("1001m", "1")));
        assert!(!same(template("1", "1"), template("1", "1000m")));
    }
}
