//! The console's gate and its answers.

#[path = "../../../src/admin/console/gate.rs"]
pub mod gate;
#[path = "../../../src/admin/console/query.rs"]
pub mod query;

/// Why a question was not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault;

impl Fault {
    fn unknown_column(_name: &str) -> Fault {
        Fault
    }

    fn unknown_variable(_name: &str) -> Fault {
        Fault
    }

    fn beyond(_text: &str) -> Fault {
        Fault
    }
}
