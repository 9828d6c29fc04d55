//! JSON that keeps the order of its fields: warnings about a body come in the order of its text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A JSON document as it was recorded, except for white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verbatim(pub String);

impl From<Value> for Verbatim {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

/// Writes what is read.
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Verbatim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Verbatim, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Verbatim, E> {
        Ok(Value::from(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Verbatim, E> {
        Ok(Value::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Verbatim, E> {
        Ok(Value::from(value).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Verbatim, E> {
        Ok(Value::from(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Verbatim, E> {
        Ok(Value::from(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Verbatim, A::Error> {
        let mut items = Vec::new();
        while let Some(Verbatim(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Verbatim(format!("[{}]", items.join(","))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verbatim, A::Error> {
        let mut members = Vec::new();
        while let Some((name, Verbatim(value))) = map.next_entry::<String, Verbatim>()? {
            members.push(format!("{}:{value}", Value::from(name)));
        }
        Ok(Verbatim(format!("{{{}}}", members.join(","))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stay_in_their_order() {
        let text = r#"{"z":[1,-2.5,null,true],"a":{"c":"\"","b":{}}}"#;
        let read: Verbatim = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(read.0, text);
    }
}
