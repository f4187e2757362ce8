//! One connection of the console, as opensrv-mysql sees it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlShim, Column as Wire, ColumnFlags, ColumnType, InitWriter, OkResponse, ParamParser,
    QueryResultWriter, StatementMetaWriter,
};
use rand::RngExt;
use serde_json::Value;
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

use super::account::Role;
use super::answer::{Answer, Asker};
use super::gate::Turn;
use super::query::Table;
use super::{Console, Fault, Whose};
use crate::admin::view::tables::{Column, ColumnKind};

/// Prepared statements of one connection.
const MAX_PREPARED: usize = 100;

/// A connection.
pub(super) struct Shim {
    console: Console,
    number: u32,
    scramble: [u8; 20],
    peer: SocketAddr,
    turn: Arc<Turn>,
    /// Set by the login.
    asker: parking_lot::Mutex<Asker>,
    logged_in: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
    prepared: HashMap<u32, String>,
    next: u32,
}

/// What a proof of a password is made with. Without zero bytes, which would end the text on its way.
pub(super) fn scramble() -> [u8; 20] {
    std::array::from_fn(|_| rand::rng().random_range(b'%'..b'~'))
}

impl Shim {
    /// A connection without a login; the receiver hears of it.
    pub(super) fn new(whose: Whose, turn: Arc<Turn>) -> (Shim, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let Whose { console, number, peer, scramble } = whose;
        let asker = Asker { user: String::new(), role: Role::Reader, schema: None, number };
        let shim = Shim {
            console,
            number,
            scramble,
            peer,
            turn,
            asker: parking_lot::Mutex::new(asker),
            logged_in: parking_lot::Mutex::new(Some(sender)),
            prepared: HashMap::new(),
            next: 1,
        };
        (shim, receiver)
    }

    async fn run<W: AsyncWrite + Send + Unpin>(
        &self,
        text: &str,
        results: QueryResultWriter<'_, W>,
    ) -> io::Result<()> {
        let (console, mut asker, text) = (self.console.clone(), self.asker.lock().clone(), text.to_owned());
        let look = move || (super::answer::answer(&console, &mut asker, &text), asker);
        // A panic in there ends this connection only, like one out here.
        let (answer, asker) = self.console.turns.take(look).await.map_err(io::Error::other)?;
        *self.asker.lock() = asker;
        match answer {
            Ok(Answer::Done(info)) => results.completed(OkResponse { info, ..OkResponse::default() }).await,
            Ok(Answer::Rows(table)) => write(table, results).await,
            Err(fault) => results.error(fault.kind(), fault.text.as_bytes()).await,
        }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    fn version(&self) -> String {
        super::variables::version()
    }

    fn connect_id(&self) -> u32 {
        self.number
    }

    fn salt(&self) -> [u8; 20] {
        self.scramble
    }

    async fn authenticate(&self, _plugin: &str, user: &[u8], salt: &[u8], proof: &[u8]) -> bool {
        let user = String::from_utf8_lossy(user).into_owned();
        let role = self.console.accounts.load().check(&user, salt, proof);
        tracing::info!(user, peer = %self.peer, granted = role.is_some(), "login on the console");
        if let Some(role) = role {
            let mut asker = self.asker.lock();
            asker.user = user;
            asker.role = role;
            self.turn.logged_in();
            if let Some(sender) = self.logged_in.lock().take() {
                // The receiver lives as long as the connection.
                let _ = sender.send(());
            }
        }
        role.is_some()
    }

    async fn on_prepare<'a>(
        &'a mut self,
        query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        if self.prepared.len() >= MAX_PREPARED {
            let fault = Fault::beyond("too many prepared statements");
            return info.error(fault.kind(), fault.text.as_bytes()).await;
        }
        if query.contains('?') {
            let fault = Fault::beyond("the console takes no parameters");
            return info.error(fault.kind(), fault.text.as_bytes()).await;
        }
        let id = self.next;
        self.next += 1;
        self.prepared.insert(id, query.to_owned());
        info.reply(id, &[], &[]).await
    }

    async fn on_execute<'a>(
        &'a mut self,
        id: u32,
        _params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        match self.prepared.get(&id) {
            Some(text) => self.run(text, results).await,
            None => results.error(Fault::new(1105, "").kind(), b"there is no such statement").await,
        }
    }

    async fn on_close<'a>(&'a mut self, id: u32)
    where
        W: 'async_trait,
    {
        self.prepared.remove(&id);
    }

    async fn on_query<'a>(&'a mut self, query: &'a str, results: QueryResultWriter<'a, W>) -> io::Result<()> {
        self.run(query, results).await
    }

    async fn on_init<'a>(&'a mut self, schema: &'a str, writer: InitWriter<'a, W>) -> io::Result<()> {
        match super::schema::find_schema(schema) {
            Some(known) => {
                self.asker.lock().schema = Some(known);
                writer.ok().await
            }
            None => {
                let fault = Fault::new(1049, format!("Unknown database '{schema}'"));
                writer.error(fault.kind(), fault.text.as_bytes()).await
            }
        }
    }
}

async fn write<W: AsyncWrite + Send + Unpin>(
    table: Table,
    results: QueryResultWriter<'_, W>,
) -> io::Result<()> {
    let columns: Vec<Wire> = table.columns.iter().map(wire).collect();
    let mut rows = results.start(&columns).await?;
    for row in table.rows {
        for (value, column) in row.into_iter().zip(&table.columns) {
            // Each in the type of its column: the writer insists on it.
            match (value, column.kind) {
                (Value::Null, _) => rows.write_col(None::<String>)?,
                (Value::Bool(truth), _) => rows.write_col(i64::from(truth))?,
                (value, ColumnKind::Integer | ColumnKind::Boolean) => {
                    rows.write_col(value.as_i64().unwrap_or_default())?;
                }
                (value, ColumnKind::Double) => rows.write_col(value.as_f64().unwrap_or_default())?,
                (Value::String(text), ColumnKind::Text) => rows.write_col(text)?,
                (value, ColumnKind::Text) => rows.write_col(value.to_string())?,
            }
        }
        rows.end_row().await?;
    }
    rows.finish().await
}

fn wire(column: &Column) -> Wire {
    let coltype = match column.kind {
        ColumnKind::Integer | ColumnKind::Boolean => ColumnType::MYSQL_TYPE_LONGLONG,
        ColumnKind::Double => ColumnType::MYSQL_TYPE_DOUBLE,
        ColumnKind::Text => ColumnType::MYSQL_TYPE_VAR_STRING,
    };
    Wire { table: String::new(), column: column.name.clone(), coltype, colflags: ColumnFlags::empty() }
}
