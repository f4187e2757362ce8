//! Comment tags: what the author of a statement asks interlock to do.

/// What a comment asks interlock to do: `/* interlock:off */`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tag {
    /// Forward without a look.
    Off,
    /// Report, but never hold or reject.
    Flag,
    /// Hold where that helps.
    Reorder,
    /// Reject where that helps.
    Reject,
}

impl Tag {
    /// The tag in a comment's body, if it is one.
    pub(super) fn of(body: &[u8]) -> Option<Tag> {
        match body.trim_ascii().strip_prefix(b"interlock:")?.trim_ascii() {
            b"off" => Some(Tag::Off),
            b"flag" => Some(Tag::Flag),
            b"reorder" => Some(Tag::Reorder),
            b"reject" => Some(Tag::Reject),
            _ => None,
        }
    }
}
