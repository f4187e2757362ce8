//! The statements that another one runs: the bodies of triggers, a called procedure.
//!
//! Their locks are the outer statement's, behind its own. Each is read, bound and asked about like any
//! statement; `OLD` and `NEW` come from WHERE, SET and VALUES, or from the rows once they were looked at.

use std::sync::Arc;

use super::super::serve::Shared;
use super::inquiry::plan_key;
use super::tables::find;
use crate::catalog::Table;
use crate::intent::changed_row::changed_rows;
use crate::intent::known::{Known, Plan};
use crate::intent::{self, Context, Intent, Values};
use crate::lock::mode::Certainty;
use crate::sql::access::{Predicate, TableName, Test};
use crate::sql::binding::Binding;
use crate::sql::cache::Analysed;
use crate::sql::lexer::Reading;
use crate::sql::program::{Frame, Inner, Program, Running, Step};
use crate::sql::statement::{Argument, Runs, SqlMode, Statement};
use crate::sql::value::{Scalar, Value};

/// How deep statements that run statements are followed.
pub(super) const MAX_DEPTH: u8 = 3;
/// Statements of one that are followed.
const MAX_RUNS: usize = 64;

/// Who asks for locks, and under what.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) schema: Option<&'a str>,
    pub(super) context: Context,
    pub(super) reading: Reading,
}

/// A statement that another one runs.
pub(super) struct Run {
    pub(super) running: Running,
    /// The schema that its names belong to.
    pub(super) schema: Arc<str>,
    pub(super) sure: bool,
}

impl<'a> Asker<'a> {
    /// What a statement asks for, with all that it runs.
    pub(super) fn intent(&self, statement: &Statement, values: &dyn Values, known: &Known) -> Intent {
        self.nested(statement, values, known, 0)
    }

    fn nested(&self, statement: &Statement, values: &dyn Values, known: &Known, depth: u8) -> Intent {
        let table = |name: &TableName| find(self.shared, self.schema, name);
        let mut intent = intent::requests_knowing(statement, values, &self.context, &table, known);
        if intent.triggers || procedure(statement).is_some() {
            self.add(statement, values, known, depth, &mut intent);
        }
        intent
    }

    /// Adds what the statement runs.
    fn add(&self, statement: &Statement, values: &dyn Values, known: &Known, depth: u8, intent: &mut Intent) {
        let (runs, unread) = self.runs(statement, values, known);
        intent.unknown = intent.unknown.or(unread);
        if depth >= MAX_DEPTH {
            intent.unknown = intent.unknown.or(Some("routine"));
            return;
        }
        let own = intent.requests.len();
        for (at, run) in runs.iter().enumerate() {
            let inner = &run.running.inner;
            let statement = &inner.analysed.plan.statement;
            if inner.reads && !self.context.locks_gaps() {
                continue;
            }
            let values = inner.analysed.bind(&inner.text, &run.running.params).at(values.moment());
            let asker = Asker { schema: Some(&run.schema), ..*self };
            let one = asker.known(inner, &values, known.inner.get(at), depth + 1);
            // Where a value that it looks for is not known, it looks somewhere.
            let most = match () {
                () if is_blind(statement, &values) => Certainty::Unknown,
                () if !run.sure => Certainty::Likely,
                () => Certainty::Certain,
            };
            let mut reaches = one.reaches.into_iter();
            for mut request in one.requests {
                request.certainty = request.certainty.min(most);
                intent.add(request, reaches.next().flatten());
            }
            intent.unknown = intent.unknown.or(one.unknown);
            intent.exact &= one.exact;
            intent.may_pass_over |= one.may_pass_over;
        }
        intent.inner = intent.requests.len() - own;
    }

    fn known(&self, inner: &Inner, values: &Binding<'_>, known: Option<&Known>, depth: u8) -> Intent {
        let statement = &inner.analysed.plan.statement;
        if let Some(known) = known {
            return self.nested(statement, values, known, depth);
        }
        let first = self.nested(statement, values, &Known::default(), depth);
        match first.needs_plan.then(|| self.known_plan(&inner.analysed)).flatten() {
            Some(plan) => self.nested(statement, values, &Known { plan, ..Known::default() }, depth),
            None => first,
        }
    }

    fn known_plan(&self, analysed: &Analysed) -> Option<Plan> {
        let knowledge = self.shared.knowledge.as_ref()?;
        let key = plan_key(self.shared, self.schema, analysed)?;
        Some(knowledge.explainer.known(&key)?.map_or(Plan::Unavailable, Plan::Steps))
    }

    /// The statements that a statement runs, and why that may not be all.
    pub(super) fn runs(
        &self,
        statement: &Statement,
        values: &dyn Values,
        known: &Known,
    ) -> (Vec<Run>, Option<&'static str>) {
        match procedure(statement) {
            Some((name, arguments)) => self.called(name, arguments, values),
            None => self.triggered(statement, values, known),
        }
    }

    fn called(
        &self,
        name: &TableName,
        arguments: &[Argument],
        values: &dyn Values,
    ) -> (Vec<Run>, Option<&'static str>) {
        const UNREAD: Option<&str> = Some("routine");
        let Some((program, parameters, schema)) = self.procedure(name) else { return (Vec::new(), UNREAD) };
        let argument = |argument: &Argument| match argument {
            Argument::Scalar(scalar) => intent::scalar(scalar, values, 0).map(|value| value.outliving()),
            Argument::Variable(_) => None,
        };
        let given = arguments.iter().map(|one| argument(one).unwrap_or(Value::Unknown));
        let parameters = parameters.iter().map(|name| name.to_lowercase()).zip(given).collect();
        let frame = Frame { old: &|_| None, new: &|_| None, parameters };
        let runs = program.run(&frame).into_iter().map(|running| {
            let sure = running.inner.sure;
            Run { running, schema: schema.clone(), sure }
        });
        (runs.collect(), UNREAD.filter(|_| program.unread))
    }

    fn procedure(&self, name: &TableName) -> Option<(Arc<Program>, Vec<String>, Arc<str>)> {
        let knowledge = self.shared.knowledge.as_ref()?;
        let schema = name.schema.as_deref().or(self.schema)?;
        let procedure = knowledge.procedures.get(schema, &name.name)??;
        let program = knowledge.programs.procedure(&procedure, self.server());
        Some((program, procedure.parameters.clone(), schema.into()))
    }

    fn triggered(
        &self,
        statement: &Statement,
        values: &dyn Values,
        known: &Known,
    ) -> (Vec<Run>, Option<&'static str>) {
        const UNREAD: Option<&str> = Some("trigger");
        let Some(knowledge) = &self.shared.knowledge else { return (Vec::new(), UNREAD) };
        let table = |name: &TableName| find(self.shared, self.schema, name);
        let (rows, all) = changed_rows(statement, values, &self.context, &table, known);
        let (mut runs, mut unread) = (Vec::new(), !all);
        for row in &rows {
            let schema: Arc<str> = row.table.schema.as_str().into();
            let triggers = knowledge.programs.triggers(&row.table, self.server());
            for (_, program) in triggers.iter().filter(|(event, _)| *event == row.event) {
                // What it makes of an indexed column, the statement's own locks do not know.
                unread |= program.unread || program.sets_columns().any(|name| row.table.keys_hang_on(name));
                let frame = Frame {
                    old: &|column| row.before(column),
                    new: &|column| row.after(column),
                    parameters: Default::default(),
                };
                runs.extend(program.run(&frame).into_iter().map(|running| {
                    let sure = row.sure && running.inner.sure;
                    Run { running, schema: schema.clone(), sure }
                }));
            }
        }
        unread |= runs.len() > MAX_RUNS;
        runs.truncate(MAX_RUNS);
        (runs, UNREAD.filter(|_| unread))
    }

    /// Bodies are read under the server's default mode.
    fn server(&self) -> Reading {
        Reading { mode: SqlMode::default(), ..self.reading }
    }

    /// The columns of a table that its triggers look at.
    pub(super) fn row_columns(&self, table: &Table) -> Vec<usize> {
        let Some(knowledge) = self.shared.knowledge.as_ref().filter(|_| !table.triggers.is_empty()) else {
            return Vec::new();
        };
        let triggers = knowledge.programs.triggers(table, self.server());
        let named = triggers.iter().flat_map(|(_, program)| program.row_columns());
        let mut columns: Vec<usize> = named.filter_map(|column| table.column(column)).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The tables, with their schema, that a table's triggers name.
    pub(super) fn trigger_tables(&self, table: &Table) -> Vec<(String, String)> {
        let Some(knowledge) = self.shared.knowledge.as_ref().filter(|_| !table.triggers.is_empty()) else {
            return Vec::new();
        };
        let triggers = knowledge.programs.triggers(table, self.server());
        triggers.iter().flat_map(|(_, program)| tables(program, &table.schema)).collect()
    }

    /// The tables that a procedure names, if it is known.
    pub(super) fn procedure_tables(&self, name: &TableName) -> Vec<(String, String)> {
        self.procedure(name).map(|(program, _, schema)| tables(&program, &schema)).unwrap_or_default()
    }
}

fn tables(program: &Program, schema: &str) -> Vec<(String, String)> {
    let statements = program.steps.iter().filter_map(|step| match step {
        Step::Run(inner) => Some(&inner.analysed.plan.statement),
        Step::Set { .. } => None,
    });
    let names = statements.flat_map(intent::tables);
    names.map(|name| (name.schema.clone().unwrap_or_else(|| schema.to_owned()), name.name.clone())).collect()
}

/// The procedure that a statement calls.
pub(super) fn procedure(statement: &Statement) -> Option<(&TableName, &[Argument])> {
    match statement {
        Statement::Routine { runs: Some(runs), .. } => match &**runs {
            Runs::Procedure { name, arguments } => Some((name, arguments)),
            Runs::Prepared { .. } | Runs::Text { .. } => None,
        },
        _ => None,
    }
}

/// Does the statement look for a value that is not known?
fn is_blind(statement: &Statement, values: &dyn Values) -> bool {
    statement.accesses().iter().any(|access| looks_for_unknown(&access.predicate, values))
}

fn looks_for_unknown(predicate: &Predicate, values: &dyn Values) -> bool {
    let unknown = |wanted: &Scalar| match wanted {
        Scalar::Slot(slot) | Scalar::Negative(slot) => values.value(*slot) == Value::Unknown,
        Scalar::ListSlot(slot) => values.list(*slot).contains(&Value::Unknown),
        Scalar::Computed(_) => intent::scalar(wanted, values, 0).is_none(),
        Scalar::Unknown => true,
        Scalar::Null | Scalar::Default => false,
    };
    predicate.conditions.iter().any(|condition| match &condition.test {
        Test::Eq(scalar) | Test::Like(scalar) => unknown(scalar),
        Test::In(list) => list.iter().any(unknown),
        Test::Range { low, high } => low.iter().chain(high).any(|(scalar, _)| unknown(scalar)),
        Test::IsNull | Test::EqColumn(..) | Test::Other => false,
    })
}
