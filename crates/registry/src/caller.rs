//! Who makes a change, and how it is to be made.

use std::collections::BTreeMap;

use rota_api::codec::FieldValidation;

/// The group of nodes. Source: kubernetes `pkg/auth/nodeidentifier`.
pub const NODES: &str = "system:nodes";
/// What the user name of a node begins with; the node's name follows.
pub const NODE_PREFIX: &str = "system:node:";

/// The identity and the options of a request. Whether the identity may do it was decided before the registry is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub user: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// The user's uid, if it has one.
    pub uid: String,
    /// What else is known of the user, by key.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Under whose name the changed fields are recorded.
    pub field_manager: String,
    /// Objects that the caller creates begin without owners of their fields, and get some when somebody applies to them.
    ///
    /// For the control plane, which makes thousands of pods, events and leases that nobody applies to: their records would
    /// be as large as the objects and cost a comparison at each write. Whoever applies to one finds all of its fields with
    /// the manager `before-first-apply`. Objects that others create are recorded whoever changes them.
    pub creates_unowned: bool,
    /// Do everything except the commit.
    pub dry_run: bool,
    /// Take fields over from other managers (server-side apply only).
    pub force: bool,
    /// How the result of a patch is brought into the form of its type; `None`: the author is known to write the right
    /// fields, and the result is taken as it is.
    pub field_validation: Option<FieldValidation>,
    /// The fields that the text of a patch repeats, as its reader reported them.
    pub repeated_fields: Vec<String>,
}

impl Caller {
    /// A part of the control plane, such as `system:kube-scheduler`, or a node. Its changes are recorded under the name of
    /// the program that upstream runs in its place.
    pub fn system(user: impl Into<String>) -> Self {
        let user = user.into();
        Self {
            field_manager: program_of(&user).to_owned(),
            user,
            groups: vec!["system:authenticated".to_owned()],
            creates_unowned: true,
            ..Self::default()
        }
    }

    /// The name of the node that the caller is; `None` for everybody else.
    pub fn node(&self) -> Option<&str> {
        let is_node = self.groups.iter().any(|group| group == NODES);
        self.user
            .strip_prefix(NODE_PREFIX)
            .filter(|name| is_node && !name.is_empty())
    }

    /// The same caller, who only wants to see what would happen.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

fn program_of(user: &str) -> &str {
    match user.strip_prefix("system:").unwrap_or(user) {
        "apiserver" => "kube-apiserver",
        node if node.starts_with("node") => "kubelet",
        program => program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_the_control_plane_are_recorded_under_its_programs() {
        let manager = |user: &str| Caller::system(user).field_manager;
        assert_eq!(manager("system:kube-controller-manager"), "kube-controller-manager");
        assert_eq!(manager("system:node:n"), "kubelet");
        assert_eq!(manager("system:nodes"), "kubelet");
        assert_eq!(manager("system:apiserver"), "kube-apiserver");
    }
}
