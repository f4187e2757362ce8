//! As much of the room as comments and the file of signatures need.

#[path = "../../../src/admission/comment.rs"]
pub mod comment;
#[path = "../../../src/admission/document.rs"]
pub mod document;
#[path = "../../../src/admission/tag_value.rs"]
mod tag_value;
