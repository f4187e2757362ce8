//! The store with a scripted source, in virtual time.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::catalog::{ForeignKey, ReferentialAction, TableKind, Trigger, TriggerEvent};

/// Answers after 10 ms with what the script says, or never.
struct Script {
    answer: Mutex<Answer>,
    loads: AtomicUsize,
    lower_case: u8,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    /// A table, without or with triggers: two definitions that differ.
    Table(bool),
    Absent,
    Fail,
    Never,
    Panic,
}

const LATENCY: Duration = Duration::from_millis(10);
const SHORT: Duration = Duration::from_millis(100);

impl Source for Script {
    fn load(
        self: Arc<Self>,
        schema: String,
        name: String,
    ) -> Pin<Box<dyn Future<Output = Result<Loaded, ControlError>> + Send>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let answer = *self.answer.lock();
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            match answer {
                Answer::Table(has_triggers) => Ok(Loaded::Table(Box::new(table(schema, name, has_triggers)))),
                Answer::Absent => Ok(Loaded::Absent),
                Answer::Fail => Err(ControlError::Unreachable),
                Answer::Never => std::future::pending().await,
                Answer::Panic => panic!("a bug of the source"),
            }
        })
    }

    fn changed(&self, _schema: &str) {}

    fn lower_case_table_names(&self) -> Option<u8> {
        Some(self.lower_case)
    }
}

fn trigger() -> Trigger {
    let (body, sql_mode) = ("SET @a = 1".to_owned(), String::new());
    Trigger { event: TriggerEvent::Insert, before: true, body, sql_mode }
}

/// A table; one that is called `child` has a key to `parent`, of which the parent does not know.
fn table(schema: String, name: String, has_triggers: bool) -> Table {
    let key = ForeignKey {
        name: "fk".to_owned(),
        child: (schema.clone(), name.clone()),
        child_columns: vec!["p".to_owned()],
        parent: (schema.clone(), "parent".to_owned()),
        parent_columns: vec!["id".to_owned()],
        on_delete: ReferentialAction::Cascade,
        on_update: ReferentialAction::Restrict,
    };
    Table {
        id: TableId(0),
        generation: 0,
        kind: TableKind::InnoDb,
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: if name == "child" { vec![key] } else { Vec::new() },
        referenced_by: Vec::new(),
        partitioned: false,
        definition: None,
        triggers: if has_triggers { vec![trigger()] } else { Vec::new() },
        schema,
        name,
    }
}

struct Fixture {
    catalog: Arc<Catalog>,
    script: Arc<Script>,
    ends: Arc<Mutex<Vec<LoadEnd>>>,
}

impl Fixture {
    fn new(answer: Answer) -> Fixture {
        Fixture::with(answer, 0, CatalogOptions::default())
    }

    fn with(answer: Answer, lower_case: u8, options: CatalogOptions) -> Fixture {
        let script = Arc::new(Script { answer: Mutex::new(answer), loads: AtomicUsize::new(0), lower_case });
        let ends = Arc::new(Mutex::new(Vec::new()));
        let (source, seen) = (Arc::clone(&script), Arc::clone(&ends));
        let catalog = Catalog::new(Some(source), options, move |end, _| seen.lock().push(end));
        Fixture { catalog, script, ends }
    }

    fn says(&self, answer: Answer) {
        *self.script.answer.lock() = answer;
    }

    fn loads(&self) -> usize {
        self.script.loads.load(Ordering::SeqCst)
    }

    async fn fresh(&self, not_older_than: Duration) -> Option<Arc<Table>> {
        self.catalog.fresh("s", "t", not_older_than, SHORT).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_loads_in_the_background_once() {
    let f = Fixture::new(Answer::Table(false));
    assert!(f.catalog.get("s", "t").is_none());
    f.catalog.request("s", "t");
    f.catalog.request("s", "t");
    assert!(f.catalog.get("s", "t").is_none());
    tokio::time::sleep(LATENCY * 2).await;
    let table = f.catalog.get("s", "t").unwrap();
    assert_eq!((table.id, table.generation), (TableId(1), 1));
    f.catalog.request("s", "t");
    tokio::time::sleep(LATENCY * 2).await;
    assert_eq!((f.loads(), f.catalog.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_share_one_load() {
    let f = Fixture::new(Answer::Table(false));
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let catalog = Arc::clone(&f.catalog);
            tokio::spawn(async move { catalog.fresh("s", "t", Duration::ZERO, SHORT).await })
        })
        .collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_some());
    }
    // The first load may have begun before the last asker asked; then there is one more for all the others.
    assert!(f.loads() <= 2, "{}", f.loads());
}

#[tokio::test(start_paused = true)]
async fn young_enough_is_not_loaded_again() {
    let f = Fixture::new(Answer::Table(false));
    let second = Duration::from_secs(1);
    let first = f.fresh(second).await.unwrap();
    tokio::time::sleep(second / 2).await;
    assert!(Arc::ptr_eq(&first, &f.fresh(second).await.unwrap()));
    assert_eq!(f.loads(), 1);
    tokio::time::sleep(second).await;
    assert!(Arc::ptr_eq(&first, &f.fresh(second).await.unwrap()), "nothing changed: the same definition");
    assert_eq!((f.loads(), f.ends.lock().clone()), (2, vec![LoadEnd::Loaded, LoadEnd::Unchanged]));
}

#[tokio::test(start_paused = true)]
async fn a_new_definition_keeps_its_id() {
    let f = Fixture::new(Answer::Table(false));
    let first = f.fresh(Duration::ZERO).await.unwrap();
    f.says(Answer::Table(true));
    f.catalog.invalidate("s", "t");
    assert!(f.catalog.get("s", "t").is_none());
    let second = f.fresh(Duration::from_secs(60)).await.unwrap();
    assert_eq!((second.id, second.generation, second.triggers.len()), (first.id, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_began_before_the_change_does_not_count() {
    let f = Fixture::new(Answer::Table(false));
    f.catalog.request("s", "t");
    tokio::time::sleep(LATENCY / 2).await;
    f.catalog.invalidate_schema("s");
    f.says(Answer::Table(true));
    let table = f.fresh(Duration::from_secs(60)).await.unwrap();
    assert!(!table.triggers.is_empty());
    assert_eq!(*f.ends.lock(), [LoadEnd::Outdated, LoadEnd::Loaded]);
}

#[tokio::test(start_paused = true)]
async fn absence_is_believed_for_a_short_time() {
    let f = Fixture::new(Answer::Absent);
    assert!(f.fresh(Duration::from_secs(1)).await.is_none());
    f.catalog.request("s", "t");
    tokio::time::sleep(LATENCY * 2).await;
    assert_eq!(f.loads(), 1);
    tokio::time::sleep(CatalogOptions::default().absent_life).await;
    f.says(Answer::Table(false));
    f.catalog.request("s", "t");
    tokio::time::sleep(LATENCY * 2).await;
    assert!(f.catalog.get("s", "t").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_pauses_and_forgets_nothing() {
    let f = Fixture::new(Answer::Table(false));
    f.fresh(Duration::ZERO).await.unwrap();
    f.says(Answer::Fail);
    tokio::time::sleep(SHORT).await;
    for _ in 0..10 {
        assert!(f.fresh(Duration::ZERO).await.is_none());
    }
    assert_eq!(f.loads(), 2, "the pause holds");
    assert!(f.catalog.get("s", "t").is_some(), "the last definition is the best guess");
    tokio::time::sleep(CatalogOptions::default().retry_pause).await;
    f.says(Answer::Table(true));
    assert!(!f.fresh(Duration::ZERO).await.unwrap().triggers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_costs_one_wait() {
    let f = Fixture::new(Answer::Never);
    let begin = Instant::now();
    assert!(f.fresh(Duration::ZERO).await.is_none());
    assert_eq!(begin.elapsed(), SHORT);
    for _ in 0..10 {
        assert!(f.fresh(Duration::ZERO).await.is_none());
    }
    assert_eq!(begin.elapsed(), SHORT, "later statements do not wait for the same load");
}

#[tokio::test(start_paused = true)]
async fn a_bug_of_the_source_ends_as_a_failed_load() {
    let f = Fixture::new(Answer::Panic);
    assert!(f.fresh(Duration::ZERO).await.is_none());
    f.says(Answer::Table(false));
    tokio::time::sleep(CatalogOptions::default().retry_pause).await;
    assert!(f.fresh(Duration::ZERO).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_timer_loads_what_is_used_and_drops_what_is_not() {
    let f = Fixture::new(Answer::Table(false));
    let minute = CatalogOptions::default().refresh;
    f.fresh(Duration::ZERO).await.unwrap();
    f.catalog.fresh("s", "unused", Duration::ZERO, SHORT).await.unwrap();
    let timer = tokio::spawn(Arc::clone(&f.catalog).run());
    f.says(Answer::Table(true));
    tokio::time::sleep(minute + SHORT).await;
    assert!(!f.catalog.get("s", "t").unwrap().triggers.is_empty(), "loaded again");
    tokio::time::sleep(minute).await;
    assert!(f.catalog.get("s", "unused").is_none(), "nobody used it for a whole term");
    assert!(f.catalog.get("s", "t").is_some());
    timer.abort();
}

#[tokio::test(start_paused = true)]
async fn the_store_is_bounded_and_ids_outlive_eviction() {
    let options = CatalogOptions { max_tables: 20, ..CatalogOptions::default() };
    let f = Fixture::with(Answer::Table(false), 0, options);
    let first = f.catalog.fresh("s", "t0", Duration::ZERO, SHORT).await.unwrap();
    for n in 1..100 {
        f.catalog.fresh("s", &format!("t{n}"), Duration::ZERO, SHORT).await.unwrap();
        assert!(f.catalog.len() <= 20);
    }
    let again = f.catalog.fresh("s", "t0", Duration::ZERO, SHORT).await.unwrap();
    assert_eq!(again.id, first.id);
}

#[tokio::test(start_paused = true)]
async fn names_are_folded_as_the_server_does() {
    let exact = Fixture::new(Answer::Table(false));
    exact.catalog.fresh("S", "T", Duration::ZERO, SHORT).await.unwrap();
    assert!(exact.catalog.get("s", "t").is_none());
    let folded = Fixture::with(Answer::Table(false), 1, CatalogOptions::default());
    let table = folded.catalog.fresh("S", "Tä", Duration::ZERO, SHORT).await.unwrap();
    assert_eq!((table.schema.as_str(), table.name.as_str()), ("s", "tä"));
    assert!(folded.catalog.get("s", "TÄ").is_some());
}

#[tokio::test(start_paused = true)]
async fn without_a_source_nothing_is_known_and_nothing_is_kept() {
    let catalog = Catalog::new(None, CatalogOptions::default(), |_, _| {});
    catalog.request("s", "t");
    assert!(catalog.fresh("s", "t", Duration::ZERO, SHORT).await.is_none());
    assert!(catalog.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_child_makes_its_parent_load_again_once() {
    let f = Fixture::new(Answer::Table(false));
    let load = async |name: &str| f.catalog.fresh("s", name, Duration::ZERO, SHORT).await;
    load("parent").await.unwrap();
    load("other").await.unwrap();
    load("child").await.unwrap();
    assert!(f.catalog.get("s", "parent").is_none(), "it does not know its child");
    assert!(f.catalog.get("s", "other").is_some());
    load("parent").await.unwrap();
    load("child").await.unwrap();
    assert!(f.catalog.get("s", "parent").is_some(), "the child has told nothing new");
}
