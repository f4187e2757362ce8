//! Worker threads: each has a single-threaded runtime and serves the connections that it was given to
//! their end. A session never crosses threads.
//!
//! The runtime is tokio's `LocalRuntime`: it runs tasks that may not cross threads itself. With a `LocalSet`
//! each packet would wake two schedulers, and the thread's main task with them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_util::future::LocalBoxFuture;
use tokio::runtime::{self, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::warn;

use super::config::Config;
use super::welcome::{Accepted, Welcome};
use crate::backend::stream::{Peer, Stream};

/// Serves one connection to its end. Each worker thread has its own.
pub type Handler = Rc<dyn Fn(Stream, Peer) -> LocalBoxFuture<'static, ()>>;

/// Makes the handler of a worker thread, on that thread; called with the thread's number.
pub type HandlerFactory = Arc<dyn Fn(usize) -> Handler + Send + Sync>;

/// The running worker threads.
pub struct Workers {
    threads: Vec<Worker>,
    next: AtomicUsize,
}

/// What a worker is asked to do.
enum Task {
    /// Serve a client.
    Serve(Accepted),
    /// Say that the thread's loop turns.
    Beat(oneshot::Sender<()>),
}

/// Tells whether the worker threads live; it does not keep them.
pub struct Pulse(Vec<mpsc::WeakUnboundedSender<Task>>);

impl Pulse {
    /// Waits until every thread has answered. Threads that have ended need not; true then too.
    pub async fn beat(&self) -> bool {
        let mut answers = Vec::new();
        for inbox in self.0.iter().filter_map(mpsc::WeakUnboundedSender::upgrade) {
            let (answer, answered) = oneshot::channel();
            if inbox.send(Task::Beat(answer)).is_ok() {
                answers.push(answered);
            }
        }
        futures_util::future::join_all(answers).await.iter().all(Result::is_ok)
    }
}

struct Worker {
    inbox: mpsc::UnboundedSender<Task>,
    /// Fires when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Workers {
    /// Starts the threads that the configuration asks for.
    pub fn start(config: &Config, factory: HandlerFactory) -> io::Result<Self> {
        let count = match config.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let threads = (0..count).map(|number| Worker::start(number, config, Arc::clone(&factory)));
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, next: AtomicUsize::new(0) })
    }

    /// Gives a connection to the next thread in turn.
    pub(super) fn assign(&self, accepted: Accepted) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        if self.threads[turn].inbox.send(Task::Serve(accepted)).is_err() {
            warn!(worker = turn, "worker thread is gone, connection dropped");
        }
    }

    /// The life signs of the threads.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.threads.iter().map(|worker| worker.inbox.downgrade()).collect())
    }

    /// Takes no more connections, and waits until those that are open have ended.
    pub async fn join(self) {
        let ended: Vec<_> = self.threads.into_iter().map(|worker| worker.ended).collect();
        for thread in ended {
            // An error means that the thread ended by a panic: it has ended all the same.
            let _ = thread.await;
        }
    }
}

impl Worker {
    fn start(number: usize, config: &Config, factory: HandlerFactory) -> io::Result<Self> {
        let (inbox, assigned) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let welcome = Welcome::new(config);
        // It lives and dies on its thread, and the thread tells whether it could be made.
        let (starting, started) = std::sync::mpsc::sync_channel(1);
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let runtime = match local_runtime() {
                Ok(runtime) => runtime,
                Err(error) => return starting.send(Err(error)).unwrap_or_default(),
            };
            let _ = starting.send(Ok(()));
            runtime.block_on(serve(assigned, factory(number), Rc::new(welcome)));
            let _ = ending.send(());
        })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self { inbox, ended })
    }
}

fn local_runtime() -> io::Result<LocalRuntime> {
    runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

async fn serve(mut assigned: mpsc::UnboundedReceiver<Task>, handler: Handler, welcome: Rc<Welcome>) {
    let mut sessions = JoinSet::new();
    loop {
        let task = tokio::select! {
            task = assigned.recv() => task,
            // One that has ended is forgotten. It may have panicked: the others go on.
            Some(_) = sessions.join_next() => continue,
        };
        let accepted = match task {
            Some(Task::Serve(accepted)) => accepted,
            Some(Task::Beat(answer)) => {
                // Nobody waits any more: it took too long.
                let _ = answer.send(());
                continue;
            }
            None => break,
        };
        let (handler, welcome) = (Rc::clone(&handler), Rc::clone(&welcome));
        sessions.spawn_local(async move {
            // Boxed, so that its state is given back before the session begins.
            let welcomed = Box::pin(welcome.receive(accepted)).await;
            drop(welcome);
            if let Some((stream, peer, _place)) = welcomed {
                handler(stream, peer).await;
            }
        });
    }
    // No more will come; the sessions that are left end by themselves.
    while sessions.join_next().await.is_some() {}
}
