//! Commands and their binary parameters.
//!
//! Input: capabilities, the number of parameters, a mask of long parameters, then the command.

#![no_main]

use interlock_fuzz::Input;
use interlock_fuzz::wire::binary::{Execute, Param, ParamType, bulk_execute, execute};
use interlock_fuzz::wire::command::*;
use interlock_fuzz::wire::response::Kind;
use libfuzzer_sys::fuzz_target;

/// The number of parameters is the prepared statement's, or there are none.
fn check(read: Option<&Execute<'_>>, body: &[u8], count: u16) {
    let Some(read) = read else { return };
    assert_eq!(Some(read.id), statement_id(body));
    assert!(read.params.is_empty() || read.params.len() == usize::from(count));
    let bytes = body.as_ptr_range();
    for param in &read.params {
        if let Param::Text(value) | Param::Bytes(value) | Param::Decimal(value) = param {
            let value = value.as_ptr_range();
            assert!(bytes.start <= value.start && value.end <= bytes.end, "the value lies in the packet");
        }
    }
}

fn executions(body: &[u8], capabilities: u32, count: u16, long: u8) {
    let is_long = |at: u16| at < 8 && long >> at & 1 == 1;
    let mut types: Vec<ParamType> = Vec::new();
    let first = execute(body, capabilities, count, &mut types, is_long);
    check(first.as_ref(), body, count);
    if let Some(first) = first {
        // The types are remembered: the same packet reads the same again.
        assert_eq!(
            format!("{:?}", execute(body, capabilities, count, &mut types, is_long)),
            format!("{:?}", Some(first))
        );
    }
    let _ = execute(body, capabilities, count.wrapping_add(1), &mut types, is_long);
    check(bulk_execute(body, count, &mut types).as_ref(), body, count);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let capabilities = input.word();
    let count = u16::from_le_bytes([input.byte(), input.byte() & 3]);
    let long = input.byte();
    let code = input.byte();
    let body = input.0;
    needs_body(code);
    Kind::of(code);
    match code {
        COM_STMT_EXECUTE | COM_STMT_BULK_EXECUTE => executions(body, capabilities, count, long),
        COM_CHANGE_USER => {
            change_user(body, capabilities);
        }
        COM_STMT_SEND_LONG_DATA => {
            long_data_target(body);
        }
        COM_PROCESS_KILL => {
            process_kill_id(body);
        }
        _ => {
            if let Some(text) = query_text(body, capabilities) {
                assert!(body.ends_with(text), "the text is the end of the packet");
            }
        }
    }
});
