//! Label selectors: requirements on the labels of an object, all of which must hold.
//!
//! Two spellings lead here: the text of a query (`a=b,c in (d,e)`) and the `LabelSelector` of an object. A selector that
//! is absent from an object selects nothing, an empty one everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde_json::Value;

use super::parse;
use crate::{ApiError, names};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is one of the values.
    In,
    /// The label is absent or none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above the value.
    Gt,
    /// The label is an integer below the value.
    Lt,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub values: BTreeSet<String>,
}

/// Requirements on labels, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// In the order written; those of an object sorted by key.
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// What is wrong with a selector, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl From<SelectorError> for ApiError {
    fn from(error: SelectorError) -> Self {
        Self::bad_request(error.0)
    }
}

impl Requirement {
    /// True when labels meet the requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        match self.operator {
            Operator::In => label.is_some_and(|label| self.values.contains(label)),
            Operator::NotIn => label.is_none_or(|label| !self.values.contains(label)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::Gt => self.compare(label).is_some_and(|(label, bound)| label > bound),
            Operator::Lt => self.compare(label).is_some_and(|(label, bound)| label < bound),
        }
    }

    fn compare(&self, label: Option<&String>) -> Option<(i64, i64)> {
        Some((label?.parse().ok()?, self.values.first()?.parse().ok()?))
    }

    /// Checks key and values as upstream does when it builds a requirement.
    pub(super) fn checked(key: String, operator: Operator, values: BTreeSet<String>) -> Result<Self, SelectorError> {
        let mut wrong = Vec::new();
        let invalid = |path: &str, value: &str, why: &str| format!("{path}: Invalid value: {value:?}: {why}");
        let key_wrong = names::qualified_name(&key);
        if !key_wrong.is_empty() {
            wrong.push(invalid("key", &key, &key_wrong.join("; ")));
        }
        for (index, value) in values.iter().enumerate() {
            if matches!(operator, Operator::Gt | Operator::Lt) && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                wrong.push(invalid(&format!("values[{index}]"), value, why));
            }
            let value_wrong = names::label_value(value);
            if !value_wrong.is_empty() {
                let path = format!("values[{index}][{key}]");
                wrong.push(invalid(&path, value, &value_wrong.join("; ")));
            }
        }
        match wrong.as_slice() {
            [] => Ok(Self { key, operator, values }),
            [one] => Err(SelectorError(one.clone())),
            many => Err(SelectorError(format!("[{}]", many.join(", ")))),
        }
    }
}

impl LabelSelector {
    /// Reads the text of a query, such as `app=web,tier in (a, b),!old`.
    ///
    /// Errors: the text does not follow the grammar, or a key or value is no label key or value.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self {
            requirements: parse::requirements(text)?,
            nothing: false,
        })
    }

    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Selects objects that carry all of these labels.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let requirements = labels.iter().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: BTreeSet::from([value.clone()]),
        });
        Self {
            requirements: requirements.collect(),
            nothing: false,
        }
    }

    /// The selector of an object (`metav1.LabelSelector`). Null selects nothing, `{}` everything.
    ///
    /// Errors: an operator is unknown, or values do not go with it.
    pub fn from_value(value: &Value) -> Result<Self, SelectorError> {
        if value.is_null() {
            return Ok(Self::nothing());
        }
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let mut labels = BTreeMap::new();
        for (key, label) in value["matchLabels"].as_object().into_iter().flatten() {
            labels.insert(key.clone(), text(label));
        }
        let mut selector = Self::from_checked_labels(&labels)?;
        for expression in value["matchExpressions"].as_array().into_iter().flatten() {
            let values = expression["values"].as_array().into_iter().flatten().map(text);
            selector.add(
                &text(&expression["key"]),
                &text(&expression["operator"]),
                values.collect(),
            )?;
        }
        selector.sort();
        Ok(selector)
    }

    /// As [`LabelSelector::from_value`], of a typed view.
    ///
    /// Errors: an operator is unknown, or values do not go with it.
    pub fn from_typed(selector: Option<&meta::LabelSelector>) -> Result<Self, SelectorError> {
        let Some(typed) = selector else {
            return Ok(Self::nothing());
        };
        let mut selector = match &typed.match_labels {
            Some(labels) => Self::from_checked_labels(labels)?,
            None => Self::default(),
        };
        for expression in typed.match_expressions.iter().flatten() {
            let values = expression.values.iter().flatten().cloned().collect();
            selector.add(&expression.key, &expression.operator, values)?;
        }
        selector.sort();
        Ok(selector)
    }

    fn from_checked_labels(labels: &BTreeMap<String, String>) -> Result<Self, SelectorError> {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement::checked(key.clone(), Operator::In, BTreeSet::from([value.clone()])));
        Ok(Self {
            requirements: requirements.collect::<Result<_, _>>()?,
            nothing: false,
        })
    }

    fn add(&mut self, key: &str, operator: &str, values: BTreeSet<String>) -> Result<(), SelectorError> {
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                return Err(SelectorError(format!(
                    "{other:?} is not a valid label selector operator"
                )));
            }
        };
        let wants_values = matches!(operator, Operator::In | Operator::NotIn);
        if wants_values && values.is_empty() {
            let why = "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty";
            return Err(SelectorError(why.to_owned()));
        }
        if !wants_values && !values.is_empty() {
            let why = "values: Invalid value: values set must be empty for exists and does not exist";
            return Err(SelectorError(why.to_owned()));
        }
        self.requirements
            .push(Requirement::checked(key.to_owned(), operator, values)?);
        Ok(())
    }

    fn sort(&mut self) {
        self.requirements.sort_by(|a, b| a.key.cmp(&b.key));
    }

    /// True when labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// True when every object is selected.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The requirements, for callers that keep an index.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

/// `k=v,k2 in (a,b),!k3`: the form that can be sent as a query.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let list = || values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match operator {
                Operator::In if values.len() == 1 => write!(f, "{key}={}", list())?,
                Operator::In => write!(f, "{key} in ({})", list())?,
                Operator::NotIn if values.len() == 1 => write!(f, "{key}!={}", list())?,
                Operator::NotIn => write!(f, "{key} notin ({})", list())?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::Gt => write!(f, "{key}>{}", list())?,
                Operator::Lt => write!(f, "{key}<{}", list())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[track_caller]
    fn check(selector: &str, object: &str, expected: bool) {
        assert_eq!(
            LabelSelector::parse(selector).unwrap().matches(&labels(object)),
            expected,
            "{selector} on {object}"
        );
    }

    #[test]
    fn queries_select_by_value_presence_and_number() {
        check("", "", true);
        check("a=b", "a=b", true);
        check("a==b,c", "a=b,c=", true);
        check("a!=b", "", true);
        check("a!=b", "a=b", false);
        check("a in (b, c)", "a=c", true);
        check("a notin (b,c)", "a=c", false);
        check("a notin (b,c)", "", true);
        check("!a", "a=b", false);
        check("n>5", "n=6", true);
        check("n>5", "n=x", false);
        check("n<5", "", false);
        check("in in (in)", "in=in", true);
        check("a=", "a=", true);
        check("a in (,)", "a=", true);
    }

    #[test]
    fn selectors_of_objects_distinguish_absent_from_empty() {
        assert!(!LabelSelector::from_value(&Value::Null).unwrap().matches(&labels("")));
        assert!(LabelSelector::from_value(&json!({})).unwrap().matches(&labels("")));
        let selector = LabelSelector::from_value(&json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]
        }))
        .unwrap();
        assert!(selector.matches(&labels("a=b")));
        assert!(!selector.matches(&labels("a=b,c=d")));
        assert_eq!(selector.to_string(), "a=b,c!=d");
    }

    #[test]
    fn bad_queries_say_what_was_found_and_what_was_expected() {
        for (text, message) in [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            (",", "found ',', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("!!a", "unable to parse requirement: found '!', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an \
                 integer",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().0, message, "{text}");
        }
    }
}
