//! What can be done from outside: release a hold, kill a session, set the action, read the configuration.
//!
//! The console and the API do it through here, so both log it in the same way.

use std::sync::Arc;

use tracing::info;

use crate::admission::Admission;
use crate::id::{SessionId, Token};

/// Why something was not done; one sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Sets the action by its name.
pub type SetAction = Arc<dyn Fn(&str) -> Result<(), Refused> + Send + Sync>;

/// Reads the configuration again; says what came of it.
pub type Reload = Arc<dyn Fn() -> Result<String, Refused> + Send + Sync>;

/// The hands. What they do is logged with the name of who asked.
#[derive(Clone)]
pub struct Operator {
    /// Holds and sessions.
    pub admission: Arc<Admission>,
    /// Kills the thread at the server, as far as the control account may.
    pub kill_at_server: Arc<dyn Fn(u32) + Send + Sync>,
    /// Sets the action by its name.
    pub set_action: SetAction,
    /// Reads the configuration again; says what came of it. It reads files.
    pub reload: Reload,
}

impl Operator {
    /// Lets a held statement go on. False: there is no such hold (any more).
    pub fn release_hold(&self, hold: u64, who: &str) -> bool {
        let done = self.admission.release(Token(hold));
        info!(hold, who, done, "an operator releases a hold");
        done
    }

    /// Closes a session; the server rolls its transaction back. False: there is no such session.
    pub fn kill_session(&self, session: u64, who: &str) -> bool {
        let entry = self.admission.registry.session(SessionId(session));
        info!(session, who, done = entry.is_some(), "an operator kills a session");
        let Some(entry) = entry else { return false };
        entry.kill();
        (self.kill_at_server)(entry.server_thread);
        true
    }

    /// Sets the action: `flag`, `reorder` or `reject`.
    pub fn set_action(&self, action: &str, who: &str) -> Result<(), Refused> {
        let done = (self.set_action)(action);
        info!(action, who, done = done.is_ok(), "an operator sets the action");
        done
    }

    /// Reads the configuration again.
    pub fn reload(&self, who: &str) -> Result<String, Refused> {
        let done = (self.reload)();
        info!(who, done = done.is_ok(), "an operator has the configuration read again");
        done
    }
}
