//! `/api/events`: the state as server-sent events, for the page.
//!
//! Each event `state` holds all that the page shows, bounded, so a reader that misses some, or comes back after a
//! restart, has missed nothing. One task looks for all readers, only while there are any, and never uses
//! more than a few per cent of a core: the longer a look takes, the longer the pause after it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::view::View;

/// Readers at one time; the next one is refused.
pub(super) const MAX_READERS: usize = 64;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause is at least so many times as long as the look before it.
const SHARE: u32 = 30;

/// The one task's news.
#[derive(Clone)]
pub struct Events {
    news: watch::Receiver<Arc<str>>,
    readers: Arc<AtomicUsize>,
}

/// A reader; counted while it lives.
struct Reader(watch::Receiver<Arc<str>>, Arc<AtomicUsize>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Events {
    /// Starts the task; it ends when nobody holds this or a reader of it any more.
    pub fn start(view: View) -> Events {
        let (sender, news) = watch::channel(Arc::from(""));
        let readers = Arc::new(AtomicUsize::new(0));
        tokio::spawn(look(view, sender, readers.clone()));
        Events { news, readers }
    }

    /// A new reader's answer.
    pub fn read(&self) -> Response {
        if self.readers.fetch_add(1, Ordering::Relaxed) >= MAX_READERS {
            self.readers.fetch_sub(1, Ordering::Relaxed);
            return super::http::error(axum::http::StatusCode::SERVICE_UNAVAILABLE, "too many readers");
        }
        let mut reader = Reader(self.news.clone(), self.readers.clone());
        reader.0.mark_changed();
        let events = stream::unfold(reader, async |mut reader| {
            loop {
                reader.0.changed().await.ok()?;
                let state = reader.0.borrow_and_update().clone();
                if !state.is_empty() {
                    let event = Event::default().event("state").data(&*state);
                    return Some((Ok::<_, Infallible>(event), reader));
                }
            }
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))).into_response()
    }
}

async fn look(view: View, sender: watch::Sender<Arc<str>>, readers: Arc<AtomicUsize>) {
    while !sender.is_closed() {
        let begun = Instant::now();
        if readers.load(Ordering::Relaxed) > 0 {
            let state = serde_json::to_string(&view.snapshot()).unwrap_or_default();
            sender.send_replace(state.into());
        }
        tokio::time::sleep(PAUSE.max(begun.elapsed() * SHARE)).await;
    }
}
