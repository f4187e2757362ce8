//! What people and programs look at: the JSON API, the console on a MySQL port, the page.

pub mod api;
pub mod console;
mod crowd;
pub mod events;
pub mod guard;
pub mod http;
pub mod openapi;
pub mod operator;
pub mod page;
pub mod turns;
pub mod view;
