//! `metadata.managedFields`: who owns which fields.
//!
//! Source: `spec/api.md` §2.5; `apimachinery/pkg/util/managedfields/internal`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fields::Fields;

/// How many managers that update are kept apart; the oldest of more are lumped together.
const UPDATERS_MAX: usize = 10;

/// The name of the lump.
const ANCIENT: &str = "ancient-changes";

/// Which manager, by which kind of write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerId {
    /// `Apply` or `Update`.
    pub(super) operation: &'static str,
    pub(super) manager: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl ManagerId {
    pub(super) fn apply(manager: &str, api_version: &str, subresource: Option<&str>) -> Self {
        Self::new("Apply", manager, api_version, subresource)
    }

    pub(super) fn update(manager: &str, api_version: &str, subresource: Option<&str>) -> Self {
        Self::new("Update", manager, api_version, subresource)
    }

    fn new(operation: &'static str, manager: &str, api_version: &str, subresource: Option<&str>) -> Self {
        Self {
            operation,
            manager: manager.to_owned(),
            api_version: api_version.to_owned(),
            subresource: subresource.unwrap_or_default().to_owned(),
        }
    }

    /// True for the same manager; one that applies is the same in every version.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == "Apply" || self.api_version == other.api_version)
    }

    /// The manager as messages about conflicts show it.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == "Update" {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// What a manager owns, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) fields: Fields,
    /// RFC 3339; empty where it is not known.
    pub(super) time: String,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers(pub(super) BTreeMap<ManagerId, Ownership>);

impl Managers {
    /// Reads `metadata.managedFields`; `None` when the list holds something else.
    pub(super) fn read(list: &Value) -> Option<Self> {
        let mut managers = BTreeMap::new();
        for entry in list.as_array()? {
            if entry.as_object().is_some_and(Map::is_empty) {
                continue;
            }
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            let subresource = Some(text("subresource"));
            let id = match text("operation") {
                "Apply" => ManagerId::apply(text("manager"), text("apiVersion"), subresource),
                "Update" => ManagerId::update(text("manager"), text("apiVersion"), subresource),
                _ => return None,
            };
            if text("fieldsType") != "FieldsV1" {
                return None;
            }
            let fields = Fields::from_value(entry.get("fieldsV1").unwrap_or(&json!({})))?;
            let time = text("time").to_owned();
            managers.insert(id, Ownership { fields, time });
        }
        Some(Self(managers))
    }

    /// Writes `metadata.managedFields`: those that apply first, then by time, name, version and subresource.
    pub(super) fn write(&self) -> Value {
        let mut entries: Vec<(&ManagerId, &Ownership)> = self.0.iter().collect();
        entries.sort_by(|(a, at), (b, bt)| {
            let key = |id: &ManagerId, time: &str| {
                (
                    id.operation,
                    time.to_owned(),
                    id.manager.clone(),
                    id.api_version.clone(),
                    id.subresource.clone(),
                )
            };
            key(a, &at.time).cmp(&key(b, &bt.time))
        });
        entries
            .into_iter()
            .map(|(id, ownership)| entry(id, ownership))
            .collect()
    }

    /// The entry of a manager, in whichever version it stands.
    pub(super) fn take(&mut self, id: &ManagerId) -> Option<Ownership> {
        let key = self.0.keys().find(|have| have.is_same(id))?.clone();
        self.0.remove(&key)
    }

    /// Everything that anyone owns.
    pub(super) fn everything(&self) -> Fields {
        let owned = self.0.values().map(|ownership| ownership.fields.clone());
        owned.fold(Fields::default(), Fields::union)
    }

    /// Takes fields from a manager; a manager without fields disappears.
    pub(super) fn take_from(&mut self, id: &ManagerId, fields: &Fields) {
        if let Some(ownership) = self.0.get_mut(id) {
            ownership.fields = ownership.fields.minus(fields);
            if ownership.fields.is_empty() {
                self.0.remove(id);
            }
        }
    }

    /// Lumps the oldest of too many managers that update together.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(String, ManagerId)> = self
            .0
            .iter()
            .filter(|(id, _)| id.operation == "Update" && id.subresource.is_empty())
            .map(|(id, ownership)| (ownership.time.clone(), id.clone()))
            .collect();
        updaters.sort();
        let mut excess = updaters.len().saturating_sub(UPDATERS_MAX);
        for (time, id) in updaters {
            if excess == 0 {
                break;
            }
            let lump = ManagerId::update(ANCIENT, &id.api_version, None);
            if id == lump {
                continue;
            }
            let Some(old) = self.0.remove(&id) else { continue };
            match self.0.remove(&lump) {
                Some(have) => {
                    let fields = have.fields.union(old.fields);
                    self.0.insert(lump, Ownership { fields, time });
                    excess -= 1;
                }
                // The lump takes the place of the first one.
                None => drop(self.0.insert(lump, old)),
            }
        }
    }
}

fn entry(id: &ManagerId, ownership: &Ownership) -> Value {
    let mut entry = json!({
        "operation": id.operation,
        "apiVersion": id.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": ownership.fields.to_value(),
    });
    for (name, text) in [
        ("manager", &id.manager),
        ("time", &ownership.time),
        ("subresource", &id.subresource),
    ] {
        if !text.is_empty() {
            entry[name] = text.as_str().into();
        }
    }
    entry
}
