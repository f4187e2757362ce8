//! Looks take turns: the rows of a hundred thousand locks take memory and time, and both are bounded by how
//! many are made at once. They are made on a thread that serves nobody else.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// Looks at one time. Others wait; they are short.
const AT_ONCE: usize = 2;

/// Whose turn it is to look.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Turns {
        Turns(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Runs `look` when it is its turn. The error is its panic, or the end of the process.
    pub async fn take<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // The semaphore is never closed, so there is always a permit; without one it would only be early.
        let permit = self.0.clone().acquire_owned().await.ok();
        spawn_blocking(move || {
            let _permit = permit;
            look()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_than_two_look_at_once_and_a_panic_gives_its_turn_back() {
        let (turns, now, most) =
            (Turns::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut looks = Vec::new();
        for number in 0..12 {
            let (turns, now, most) = (turns.clone(), now.clone(), most.clone());
            looks.push(tokio::spawn(async move {
                let look = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                    assert_ne!(number, 3, "a panic that this test wants");
                };
                turns.take(look).await.is_err()
            }));
        }
        let mut failed = 0;
        for look in looks {
            failed += usize::from(look.await.unwrap());
        }
        assert_eq!((failed, most.load(Ordering::SeqCst)), (1, AT_ONCE));
    }
}
