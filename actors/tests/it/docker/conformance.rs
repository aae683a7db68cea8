//! The suite that every runtime passes.

use std::path::PathBuf;

use async_trait::async_trait;
use dogwatch_actors::id::{AttemptKey, InstallationId};
use dogwatch_actors::runtime::conformance::{Harness, Script};
use dogwatch_actors::runtime::{Plan, Runtime};

use super::{IMAGE, Rig, docker, name_of};

#[async_trait]
impl Harness for Rig {
    fn runtime(&self) -> &dyn Runtime {
        &self.docker
    }

    fn installation(&self) -> InstallationId {
        self.installation
    }

    fn log_path(&self, _: AttemptKey) -> PathBuf {
        "/nowhere".into()
    }

    fn script(&self, plan: &mut Plan, script: Script) {
        plan.image = Some(IMAGE.into());
        plan.args = match script.shell() {
            Some(text) => vec!["sh".into(), "-c".into(), text],
            None => vec!["no-such-command".into()],
        };
    }

    async fn make_foreign(&self, key: AttemptKey) {
        Self::make_foreign(self, key);
    }

    async fn foreign_is_untouched(&self, key: AttemptKey) -> bool {
        docker(&["inspect", "--format", "{{.State.Status}}", &name_of(key)]) == "created"
    }
}

dogwatch_actors::runtime_conformance!(Rig::new().await);
