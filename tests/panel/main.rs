//! What can be looked at and done from outside, against real work on both servers: the JSON API, the console
//! on a MySQL port, the page in a browser.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod browser;
mod console;
mod page;
mod shop;
