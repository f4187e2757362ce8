//! As much of the room as the console's packets and questions need.

#[path = "console.rs"]
pub mod console;
#[path = "view.rs"]
pub mod view;
