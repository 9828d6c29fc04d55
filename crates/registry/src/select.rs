//! Which objects of a kind a reader wants.

use rota_api::selector::{FieldSelector, LabelSelector};
use rota_api::{ApiError, Object, Resource};

/// A namespace, a label selector and a field selector, read and ready to be asked.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only this namespace; `None`: all of them.
    pub namespace: Option<String>,
    /// What the labels must be.
    pub labels: LabelSelector,
    /// What the fields must be.
    pub fields: FieldSelector,
}

/// How the watch hub and the cache can find the selected objects without looking at all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// One object: the key inside its kind.
    Object(String),
    /// The pods of one node.
    Node(String),
    /// The objects of one namespace.
    Namespace(String),
    /// Everything.
    Kind,
}

impl Selection {
    /// Reads the selectors of a request.
    ///
    /// Errors: 400 for a selector that cannot be read or names a field that the kind does not offer.
    pub fn parse(
        resource: &'static Resource,
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels: LabelSelector::parse(labels).map_err(|e| ApiError::bad_request(e.to_string()))?,
            fields: FieldSelector::parse(resource, fields).map_err(|e| ApiError::bad_request(e.to_string()))?,
        })
    }

    /// True when the object is selected.
    pub fn matches(&self, object: &Object) -> bool {
        let meta = object.meta();
        self.namespace.as_ref().is_none_or(|ns| *ns == meta.namespace)
            && self.labels.matches(&meta.labels)
            && self.fields.matches(object)
    }

    /// True when labels and fields select everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The narrowest index that holds everything selected.
    pub(crate) fn interest(&self, resource: &'static Resource) -> Interest {
        let name = self.fields.exact("metadata.name");
        match (&self.namespace, name) {
            (Some(namespace), Some(name)) => return Interest::Object(format!("{namespace}/{name}")),
            (None, Some(name)) if !resource.is_namespaced() => return Interest::Object(name.to_owned()),
            _ => {}
        }
        if let Some(node) = self.fields.exact("spec.nodeName")
            && !node.is_empty()
            && resource == rota_api::resource::PODS
        {
            return Interest::Node(node.to_owned());
        }
        match &self.namespace {
            Some(namespace) if resource.is_namespaced() => Interest::Namespace(namespace.clone()),
            _ => Interest::Kind,
        }
    }
}
