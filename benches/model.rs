//! What the lock model costs per statement: `cargo bench --bench model`.
//!
//! * `digest and lookup`: a known statement of 100 bytes, from its text to its plan.
//! * `requests and conflict check`: from a bound plan to noted locks and back, in an index with N locks.
//! * `lock table`: the same without the statement, over five orders of magnitude: no faster than log n.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use interlock::catalog::{Column, Family, Flavour, Index, KeyPart, Table, TableKind};
use interlock::id::{IndexId, TableId, TxnId};
use interlock::intent::{self, Context};
use interlock::lock::key::Key;
use interlock::lock::mode::{Certainty, Mode};
use interlock::lock::range::Range;
use interlock::lock::request::{Kind, Origin, Request, Settled};
use interlock::lock::table::{LockRefs, LockTable};
use interlock::sql::access::TableName;
use interlock::sql::cache::PlanCache;
use interlock::sql::statement::{Isolation, SqlMode};

/// 100 bytes.
const STATEMENT: &str =
    "SELECT id, code, litres, bin FROM shop.tank WHERE id = 1000001 AND litres > 10 AND bin <> 3 FOR UPDATE";

const INDEX: IndexId = IndexId { table: TableId(1), index: 0 };

/// The locks that are there have even keys; the statement asks for an odd one in the middle.
const PLACE: i128 = 1_000_001;

fn tank() -> Arc<Table> {
    let column = |name: &str| Column::plain(name, Family::Integer, false);
    let primary = Index {
        name: "PRIMARY".to_owned(),
        unique: true,
        parts: vec![KeyPart { column: Some(0), prefix: None, descending: false }],
        btree: true,
    };
    Arc::new(Table {
        id: INDEX.table,
        generation: 1,
        schema: "shop".to_owned(),
        name: "tank".to_owned(),
        kind: TableKind::InnoDb,
        columns: ["id", "code", "litres", "bin"].map(column).to_vec(),
        indexes: vec![primary],
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
        partitioned: false,
        definition: None,
        triggers: Vec::new(),
    })
}

fn request(place: i128) -> Request {
    let mut key = Key::default();
    key.push_int(place, false);
    let (kind, certainty) = (Kind::Record, Certainty::Certain);
    Request { index: INDEX, mode: Mode::X, range: Range::entries(&key), kind, certainty, rule: "bench" }
}

/// A table with this many granted locks around [`PLACE`], each of a transaction of its own.
fn held(count: usize) -> LockTable {
    let table = LockTable::new(1000);
    let first = PLACE - 1 - 2 * (count as i128 / 2);
    for n in 0..count {
        let asked = [request(first + 2 * n as i128)];
        let (refs, met) = table.enter(TxnId(n as u64 + 10), &asked, Origin::default(), true, 0);
        assert!(met.conflicts.is_empty());
        table.settle(refs, &[Settled::Kept], 0);
    }
    table
}

fn ask(table: &LockTable, requests: &[Request]) -> LockRefs {
    let (refs, met) = table.enter(TxnId(1), requests, Origin::default(), true, 0);
    assert!(met.conflicts.is_empty());
    refs
}

fn digest(bench: &mut Criterion) {
    let text = &STATEMENT.as_bytes()[..100];
    let mut cache = PlanCache::default();
    cache.analyse(text, SqlMode::default());
    bench.bench_function("digest and lookup, 100 bytes", |b| {
        b.iter(|| cache.analyse(black_box(text), SqlMode::default()));
    });
}

fn requests(bench: &mut Criterion) {
    let mut cache = PlanCache::default();
    let analysed = cache.analyse(STATEMENT.as_bytes(), SqlMode::default());
    let tank = tank();
    let find = |_: &TableName| Some(tank.clone());
    let context = Context {
        isolation: Isolation::RepeatableRead,
        flavour: Flavour::MySql,
        in_transaction: true,
        foreign_keys: true,
        parents_first: true,
        ranges_keys: false,
        autoinc_lock_mode: 2,
    };
    let table = held(10_000);
    bench.bench_function("requests and conflict check, 10000 locks", |b| {
        b.iter(|| {
            let values = analysed.bind(STATEMENT.as_bytes(), &[]);
            let intent = intent::requests(&analysed.plan.statement, &values, &context, &find);
            assert_eq!(intent.requests.len(), 1);
            let refs = ask(&table, black_box(&intent.requests));
            table.withdraw(&refs);
        });
    });
}

fn lock_table(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("lock table, enter and release");
    group.sample_size(50);
    for count in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let table = held(count);
        let asked = [request(PLACE)];
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let refs = ask(&table, black_box(&asked));
                table.withdraw(&refs);
            });
        });
    }
    group.finish();
}

criterion_group!(model, digest, requests, lock_table);
criterion_main!(model);
