//! What an agent says about its pods, as Events.

use rota_agent::Recorder as AgentRecorder;
use rota_api::Object;
use rota_cluster::Recorder;
use rota_cluster::events::correlate::Saying;
use rota_podlife::Note;
use rota_reconcile::plan::{NoteKind, Regarding};

/// The recorder of one node.
pub(crate) struct NodeRecorder {
    node: String,
    recorder: Recorder,
}

impl NodeRecorder {
    /// Speaks for `node`.
    pub(crate) fn new(node: &str, recorder: Recorder) -> Self {
        Self {
            node: node.to_owned(),
            recorder,
        }
    }
}

impl AgentRecorder for NodeRecorder {
    fn record(&self, regarding: &Object, note: &Note) {
        let mut about = Regarding::object(regarding);
        about.field_path.clone_from(&note.field_path);
        self.recorder.record(Saying {
            source: "kubelet".to_owned(),
            host: self.node.clone(),
            kind: if note.warning {
                NoteKind::Warning
            } else {
                NoteKind::Normal
            },
            regarding: about,
            reason: note.reason.to_string(),
            message: note.message.clone(),
        });
    }
}
