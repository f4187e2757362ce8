//! The relay between a client and a server that the test plays itself.

mod ends;
mod gate;
mod passing;
mod restart;
mod robust;
mod support;
mod errands;
