//! What people and programs look at: the JSON API, the console on a MySQL port, the page.

pub mod http;
pub mod view;
